//! The database's address, for both kinds of connection.

use std::fmt;

use percent_encoding::percent_decode_str;
use pgwire_replication::ReplicationConfig;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::LogicalError;

/// How values are written, on both connections: a row must look the same in the snapshot and in the stream.
const SESSION: [(&str, &str); 6] = [
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    // What is quoted here must not be read in another way there.
    ("standard_conforming_strings", "on"),
];

/// Where the database is and how to get in.
#[derive(Clone)]
pub(super) struct Address {
    options: PgConnectOptions,
    /// sqlx does not give it back.
    password: String,
}

impl Address {
    pub(super) fn read(url: &str) -> Result<Self, LogicalError> {
        // Its errors are left out: who knows how much of the address they quote.
        let unreadable = |_| LogicalError::Address { problem: "it is not like postgres://user:password@host/database" };
        let options: PgConnectOptions = url.parse().map_err(unreadable)?;
        let is_plain = matches!(options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer);
        if !is_plain {
            return Err(LogicalError::Address {
                problem: "sslmode asks for TLS, which the replication connection does not have; use a local socket or a tunnel, \
                          or PostgresSource over a pool with TLS",
            });
        }
        let password = password(url).or_else(|| std::env::var("PGPASSWORD").ok()).unwrap_or_default();
        Ok(Self { options: options.options(SESSION), password })
    }

    pub(super) fn sql(&self) -> PgConnectOptions {
        self.options.clone()
    }

    pub(super) fn role(&self) -> &str {
        self.options.get_username()
    }

    pub(super) fn replication(&self, slot: &str, publication: &str) -> ReplicationConfig {
        let session: Vec<String> = SESSION.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        let (user, port) = (self.options.get_username(), self.options.get_port());
        let database = self.options.get_database().unwrap_or(user);
        let socket = self.options.get_socket().map(|folder| folder.to_string_lossy().into_owned());
        let host = socket.unwrap_or_else(|| self.options.get_host().trim_matches(['[', ']']).to_owned());
        ReplicationConfig::new(host, user, self.password.as_str(), database, slot, publication)
            .with_port(port)
            .with_options(session.join(" "))
            .with_application_name("nudj-sync")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        f.debug_struct("Address").field("host", &host).field("port", &port).finish_non_exhaustive()
    }
}

/// What stands between the first `:` and the last `@` before the host, or behind `password=`.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (front, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = front.split('/').next()?;
    let named = query.split('&').find_map(|pair| pair.strip_prefix("password="));
    let written = named.or_else(|| authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password))?;
    Some(percent_decode_str(written).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_read_and_never_shown() {
        let address = Address::read("postgres://user:s%40cr%2Fet@db.example:5433/app").unwrap();
        let config = address.replication("slot", "publication");
        assert_eq!((config.password.as_str(), config.host.as_str(), config.port), ("s@cr/et", "db.example", 5433));
        assert_eq!((config.user.as_str(), config.database.as_str()), ("user", "app"));
        assert!(!format!("{address:?}").contains("cr"), "{address:?}");
        assert_eq!(password("postgres:///app?host=/run&password=a%20b"), Some("a b".to_owned()));
        assert_eq!(password("postgres://user@host/app"), None);
    }

    #[test]
    fn address_that_cannot_be_used_is_refused_without_being_shown() {
        for url in
            ["postgres://user:secret@host:port/app", "postgres://user:secret@host/app?sslmode=verify-full", "secret"]
        {
            let error = Address::read(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn host_may_be_a_number_or_a_socket() {
        let host = |url| Address::read(url).unwrap().replication("s", "p").host;
        assert_eq!(host("postgres://user@[::1]:1/app"), "::1");
        assert_eq!(host("postgres://user@localhost/app?host=/run/postgresql"), "/run/postgresql");
    }
}
