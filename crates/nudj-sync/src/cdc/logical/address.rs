//! The database's address, for both kinds of connection.

use std::fmt;

use percent_encoding::percent_decode_str;
use pgwire_replication::{ReplicationConfig, TlsConfig};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    error::LogicalError,
    tls::{encryption, host},
};

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
    tls: TlsConfig,
}

impl Address {
    pub(super) fn read(url: &str) -> Result<Self, LogicalError> {
        if parameter(url, &["sslpassword"]).is_some() {
            // sqlx does not know the word, and would log it with its value.
            return Err(LogicalError::Address { problem: "it has an sslpassword; give a key that is not encrypted" });
        }
        // Its errors are left out: who knows how much of the address they quote.
        let unreadable = |_| LogicalError::Address { problem: "it is not like postgres://user:password@host/database" };
        let options: PgConnectOptions = url.parse().map_err(unreadable)?;
        let tls = encryption(url, &options)?;
        let options = match options.get_ssl_mode() {
            // As the other connection, which looks at the name as well.
            PgSslMode::VerifyCa => options.ssl_mode(PgSslMode::VerifyFull),
            _ => options,
        };
        let password = password(url).or_else(|| std::env::var("PGPASSWORD").ok()).unwrap_or_default();
        Ok(Self { options: options.options(SESSION), password, tls })
    }

    pub(super) fn sql(&self) -> PgConnectOptions {
        self.options.clone()
    }

    pub(super) fn role(&self) -> &str {
        self.options.get_username()
    }

    pub(super) fn replication(&self, slot: &str, publication: &str) -> ReplicationConfig {
        let (user, port) = (self.options.get_username(), self.options.get_port());
        let database = self.options.get_database().unwrap_or(user);
        let socket = self.options.get_socket().map(|folder| folder.to_string_lossy().into_owned());
        let host = socket.unwrap_or_else(|| host(&self.options).to_owned());
        ReplicationConfig::new(host, user, self.password.as_str(), database, slot, publication)
            .with_port(port)
            .with_tls(self.tls.clone())
            // The address's own, and ours behind them.
            .with_options(self.options.get_options().unwrap_or_default())
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
    parameter(url, &["password"]).or_else(|| {
        let (_, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?;
        Some(decoded(authority.rsplit_once('@')?.0.split_once(':')?.1))
    })
}

/// The query's parameter that has one of these names; the last of several, as sqlx takes it.
pub(super) fn parameter(url: &str, names: &[&str]) -> Option<String> {
    let pairs = url.split_once('?')?.1.split('&').rev();
    let mut pairs = pairs.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (spaced(name), value));
    pairs.find_map(|(name, value)| names.contains(&&*name).then(|| spaced(value)))
}

/// As forms are written: `+` is a space.
fn spaced(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
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
        assert_eq!(password("postgres://user:a+b@host/app"), Some("a+b".to_owned()));
    }

    #[test]
    fn parameters_are_read_as_sqlx_reads_them() {
        let url = "postgres://user@host/app?password=first&ssl-ca=a&sslrootcert=b+c%2Bd&pass%77ord=last&x";
        assert_eq!(password(url).as_deref(), Some("last"));
        assert_eq!(parameter(url, &["sslrootcert", "ssl-ca"]).as_deref(), Some("b c+d"));
        assert_eq!(parameter(url, &["x"]), None);
    }

    #[test]
    fn options_of_the_address_hold_on_both_connections() {
        let address = Address::read("postgres://user@host/app?options=-c%20search_path%3Dtenant").unwrap();
        let (sql, stream) = (address.sql(), address.replication("s", "p"));
        let options = sql.get_options().unwrap();
        assert!(options.starts_with("-c search_path=tenant") && options.contains("-c timezone=UTC"), "{options}");
        assert_eq!(stream.options.as_deref(), Some(options));
    }

    #[test]
    fn who_is_to_be_verified_is_verified_by_name_on_both_connections() {
        let mode = |mode: &str| {
            let read = Address::read(&format!("postgres://user@host/app?sslmode={mode}"));
            read.map(|address| (address.sql().get_ssl_mode(), address.tls.mode.verifies_certificate()))
        };
        if cfg!(feature = "cdc-logical-tls") {
            for asked in ["verify-ca", "verify-full"] {
                assert!(matches!(mode(asked), Ok((PgSslMode::VerifyFull, true))), "{asked}");
            }
        }
        assert!(matches!(mode("prefer"), Ok((PgSslMode::Prefer, false))));
    }

    #[test]
    fn address_that_cannot_be_used_is_refused_without_being_shown() {
        for url in [
            "postgres://user:secret@host:port/app",
            "postgres://user:secret@host/app?sslmode=maybe",
            "secret",
            "postgres://user@host/app?sslpassword=secret",
        ] {
            let error = Address::read(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[cfg(not(feature = "cdc-logical-tls"))]
    #[test]
    fn address_that_asks_for_tls_is_refused_without_it() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let error = Address::read(&format!("postgres://user:secret@host/app?sslmode={mode}")).unwrap_err();
            assert!(error.to_string().contains("cdc-logical-tls"), "{error}");
        }
        assert!(Address::read("postgres://user:secret@host/app?sslmode=prefer").is_ok());
    }

    #[test]
    fn host_may_be_a_number_or_a_socket() {
        let host = |url| Address::read(url).unwrap().replication("s", "p").host;
        assert_eq!(host("postgres://user@[::1]:1/app"), "::1");
        assert_eq!(host("postgres://user@localhost/app?host=/run/postgresql"), "/run/postgresql");
    }
}
