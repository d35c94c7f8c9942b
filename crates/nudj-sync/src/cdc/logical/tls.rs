//! How the replication connection is encrypted: as sqlx encrypts the other one, by the same words of the address.

use pgwire_replication::{SslMode, TlsConfig};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{address::parameter, error::LogicalError};

/// The words for a file, as sqlx spells them, and the variable for where the address has none.
struct File {
    names: &'static [&'static str],
    variable: &'static str,
}

const ROOTS: File = File { names: &["sslrootcert", "ssl-root-cert", "ssl-ca"], variable: "PGSSLROOTCERT" };
const CERTIFICATE: File = File { names: &["sslcert", "ssl-cert"], variable: "PGSSLCERT" };
const KEY: File = File { names: &["sslkey", "ssl-key"], variable: "PGSSLKEY" };

pub(super) fn encryption(url: &str, options: &PgConnectOptions) -> Result<TlsConfig, LogicalError> {
    let mode = options.get_ssl_mode();
    if matches!(mode, PgSslMode::Disable | PgSslMode::Allow) {
        return Ok(TlsConfig::disabled());
    }
    if cfg!(not(feature = "cdc-logical-tls")) {
        if matches!(mode, PgSslMode::Prefer) {
            return Ok(TlsConfig::disabled());
        }
        return Err(LogicalError::Address {
            problem: "sslmode asks for TLS, which the feature cdc-logical-tls of nudj-sync brings",
        });
    }
    let roots = ROOTS.path(url)?;
    let tls = match mode {
        // As sqlx does without any wish: encrypted where the server can, and whoever it is.
        PgSslMode::Prefer => TlsConfig { mode: SslMode::Prefer, ..TlsConfig::require() },
        // An address in numbers is looked for in the certificate only if it is said to be the name. By the signature alone, anybody who has a
        // certificate of an authority that is trusted would pass: `verify-ca` is no less than this here.
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => TlsConfig::verify_full(roots).with_sni_hostname(host(options)),
        // libpq would look at the signature then, and neither connection does here.
        _ if roots.is_some() => {
            return Err(LogicalError::Address {
                problem: "it has an sslrootcert; with that, sslmode must be verify-full",
            });
        }
        _ => TlsConfig::require(),
    };
    match (CERTIFICATE.path(url)?, KEY.path(url)?) {
        (Some(certificate), Some(key)) => Ok(tls.with_client_cert(certificate, key)),
        (None, None) => Ok(tls),
        _ => Err(LogicalError::Address { problem: "sslcert and sslkey belong together; give both or neither" }),
    }
}

/// The host, an IPv6 address without brackets.
pub(super) fn host(options: &PgConnectOptions) -> &str {
    options.get_host().trim_matches(['[', ']'])
}

impl File {
    fn path(&self, url: &str) -> Result<Option<std::path::PathBuf>, LogicalError> {
        let Some(path) = parameter(url, self.names).or_else(|| std::env::var(self.variable).ok()) else {
            return Ok(None);
        };
        if path.trim_start().starts_with("-----BEGIN") {
            return Err(LogicalError::Address {
                problem: "sslrootcert, sslcert and sslkey must be paths of PEM files",
            });
        }
        Ok(Some(path.into()))
    }
}

#[cfg(all(test, feature = "cdc-logical-tls"))]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(url: &str) -> Result<TlsConfig, LogicalError> {
        encryption(url, &url.parse()?)
    }

    #[test]
    fn each_mode_is_what_the_other_connection_takes_it_for() {
        let mode = |mode: &str| read(&format!("postgres://user@db.example/app?sslmode={mode}")).unwrap().mode;
        let modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"].map(mode);
        assert_eq!(
            modes,
            [
                SslMode::Disable,
                SslMode::Disable,
                SslMode::Prefer,
                SslMode::Require,
                SslMode::VerifyFull,
                SslMode::VerifyFull
            ]
        );
    }

    #[test]
    fn files_are_read_from_the_address_however_they_are_spelt() {
        let whole =
            "postgres://user@[::1]/app?sslmode=verify-full&ssl-ca=%2Fetc%2Fca%20s.pem&sslcert=c.pem&ssl-key=k.pem";
        let tls = read(whole).unwrap();
        assert_eq!(tls.ca_pem_path.as_deref(), Some(Path::new("/etc/ca s.pem")));
        assert_eq!(tls.client_cert_pem_path.as_deref(), Some(Path::new("c.pem")));
        assert_eq!(tls.client_key_pem_path.as_deref(), Some(Path::new("k.pem")));
        assert_eq!(tls.sni_hostname.as_deref(), Some("::1"));
        let roots = read("postgres://user@host/app?sslmode=verify-ca&sslrootcert=ca.pem").unwrap().ca_pem_path;
        assert_eq!(roots.as_deref(), Some(Path::new("ca.pem")));
    }

    #[test]
    fn what_would_be_left_out_or_read_in_another_way_is_refused_without_being_shown() {
        let inline = "sslrootcert=-----BEGIN%20CERTIFICATE-----x-----";
        for query in ["sslcert=c.pem", "sslkey=k.pem", "sslrootcert=ca.pem", inline] {
            let error = read(&format!("postgres://user:secret@host/app?sslmode=require&{query}")).unwrap_err();
            assert!(matches!(error, LogicalError::Address { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
