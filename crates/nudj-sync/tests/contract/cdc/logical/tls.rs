//! A server that takes encrypted connections only.

use std::path::PathBuf;

use nudj_sync::{
    Error,
    cdc::{ChangeSource as _, LogicalSource},
};
use sqlx::PgPool;
use tempfile::TempDir;

use super::{super::postgres::run, read, snapshot};
use crate::postgres_server::{Authority, PostgresServer};

/// The server, and who signed its certificate.
struct Encrypted {
    server: PostgresServer,
    authority: Authority,
    files: TempDir,
}

impl Encrypted {
    async fn new(test: &str) -> Option<Self> {
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let Some(server) = PostgresServer::encrypted(&authority) else {
            crate::left_out(&format!("cdc::logical::tls::{test}"), "up PostgreSQL's programs, /usr/lib/postgresql");
            return None;
        };
        let encrypted = Self { server, authority, files };
        let pool = encrypted.pool().await;
        run(&pool, "CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT)").await;
        run(&pool, "CREATE ROLE certified SUPERUSER LOGIN").await;
        pool.close().await;
        Some(encrypted)
    }

    fn url(&self, user: &str, host: &str, parameters: &str) -> String {
        format!("postgres://{user}@{host}:{}/postgres?{parameters}", self.server.port())
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url("postgres", "127.0.0.1", "sslmode=require")).await.unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn source(&self, user: &str, host: &str, parameters: &str) -> Result<LogicalSource, Error> {
        LogicalSource::connect(&self.url(user, host, parameters), format!("nudj_{:016x}", fastrand::u64(..)), ["users"])
            .await
    }
}

/// Reads a snapshot and a change, and asks the server how it sends them.
async fn replicates_encrypted(encrypted: &Encrypted, user: &str, host: &str, parameters: &str) {
    let pool = encrypted.pool().await;
    run(&pool, "TRUNCATE users").await;
    run(&pool, "INSERT INTO users VALUES (1, 'ada@example.org')").await;
    let mut source = encrypted.source(user, host, parameters).await.unwrap();
    assert_eq!(snapshot(&mut source).await.len(), 1, "{parameters}");
    run(&pool, "INSERT INTO users VALUES (2, 'grace@example.org')").await;
    assert_eq!(read(&mut source, 10, |changes, _| !changes.is_empty()).await.len(), 1, "{parameters}");
    let how = "SELECT ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE usename = $1";
    let senders: Vec<bool> = sqlx::query_scalar(how).bind(user).fetch_all(&pool).await.unwrap();
    assert_eq!(senders, [true], "{parameters}");
    // The server must have seen that the stream is gone.
    source.begin_snapshot().await.unwrap();
    source.remove().await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn what_sslmode_asks_for_holds_on_both_connections() {
    let Some(encrypted) = Encrypted::new("modes").await else { return };
    let roots = encrypted.file("roots.pem", &encrypted.authority.pem());
    let verified = |mode: &str| format!("sslmode={mode}&sslrootcert={roots}");
    replicates_encrypted(&encrypted, "postgres", "127.0.0.1", "").await;
    replicates_encrypted(&encrypted, "postgres", "127.0.0.1", "sslmode=require").await;
    for (mode, host) in [("verify-ca", "localhost"), ("verify-full", "localhost"), ("verify-full", "127.0.0.1")] {
        replicates_encrypted(&encrypted, "postgres", host, &verified(mode)).await;
    }
    assert!(encrypted.source("postgres", "127.0.0.1", "sslmode=disable").await.is_err(), "it takes none in the clear");
    assert!(encrypted.source("postgres", "127.0.0.2", &verified("verify-full")).await.is_err(), "another name");
    let others = encrypted.file("others.pem", &Authority::new().pem());
    for mode in ["verify-ca", "verify-full"] {
        let stranger = format!("sslmode={mode}&sslrootcert={others}");
        assert!(encrypted.source("postgres", "localhost", &stranger).await.is_err(), "{mode}: signed by somebody else");
    }
}

#[tokio::test]
async fn a_certificate_lets_in_whom_it_names() {
    let Some(encrypted) = Encrypted::new("certificates").await else { return };
    let (certificate, key) = encrypted.authority.sign(&["certified"]);
    let (certificate, key) = (encrypted.file("client.crt", &certificate), encrypted.file("client.key", &key));
    let with = format!("sslmode=require&sslcert={certificate}&sslkey={key}");
    replicates_encrypted(&encrypted, "certified", "127.0.0.1", &with).await;
    assert!(encrypted.source("certified", "127.0.0.1", "sslmode=require").await.is_err());
}
