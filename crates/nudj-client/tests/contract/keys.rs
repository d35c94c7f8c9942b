//! Keys that outlive the process: the same work asked for again after a restart is known by the server.

use std::sync::Arc;

use http::Method;
use nudj_client::{
    Client,
    keys::KeyFuture,
    model::{Direction, NewPointsTransaction},
};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::{classify::TransportError, idempotency::KeyStore};

use super::quick;

fn fifty() -> NewPointsTransaction {
    NewPointsTransaction {
        amount: 50.0,
        direction: Direction::Credit,
        external_transaction_reference: String::new(),
        community_id: None,
    }
}

async fn user(client: &Client) -> String {
    let new = nudj_client::model::NewUser { email: Some("points@example.org".into()), ..Default::default() };
    client.admin().users().create(&new).await.unwrap().id
}

fn references(mock: &MockNudj) -> Vec<String> {
    let bodies = mock.requests().into_iter().filter(|request| request.path.ends_with("/points-transaction"));
    bodies
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            body["externalTransactionReference"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Books points whose answer is lost, and once more by a client that `start`ed anew: one booking.
async fn books_once(start: impl Fn(&MockNudj) -> Client) {
    let mock = MockNudj::start().await.unwrap();
    let client = start(&mock);
    let id = user(&client).await;
    mock.inject(Fault::lost_answer().path("/api/v2/admin/users/{id}/points-transaction").times(1));
    client.admin().users().points_transaction_for(&id, "order-42", &fifty()).await.unwrap_err();
    drop(client);

    let client = start(&mock);
    let error = client.admin().users().points_transaction_for(&id, "order-42", &fifty()).await.unwrap_err();
    assert_eq!(error.code(), Some("CONFLICT"), "the server knows it: {error}");
    assert_eq!(mock.transactions_count(), 1, "one booking");
    let sent = references(&mock);
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));

    client.admin().users().points_transaction_for(&id, "order-43", &fifty()).await.unwrap();
    assert_eq!(mock.transactions_count(), 2, "another order is another booking");
}

#[tokio::test]
async fn a_derived_reference_books_once_after_a_lost_answer_and_a_restart() {
    books_once(|mock| Client::builder().config(quick(mock)).token(mock.token()).build().unwrap()).await;
}

#[tokio::test]
async fn a_store_that_gives_no_key_is_no_failure_of_the_api_and_nothing_was_sent() {
    struct Down;
    impl nudj_tower::idempotency::KeyStore for Down {
        type Future = nudj_client::keys::KeyFuture;
        fn get_or_insert(&self, _: String, _: String) -> Self::Future {
            let open =
                nudj_tower::Rejection::CircuitOpen { endpoint: None, retry_after: Some(std::time::Duration::MAX) };
            Box::pin(std::future::ready(Err(open.into())))
        }
    }
    let mock = MockNudj::builder().service().unwrap();
    let mut config = nudj_client::Config::with_endpoints(["http://localhost"]);
    config.retry.idempotency_keys = true;
    let builder = Client::builder().config(config).token(mock.token()).key_store(std::sync::Arc::new(Down));
    let client = builder.build_over(mock.clone()).unwrap();
    let error = client.request(Method::POST, "/").business_key("user-1").send().await.unwrap_err();
    assert_eq!((error.kind().name(), error.was_sent(), error.is_retryable()), ("idempotency_key", false, true));
    assert_eq!((error.retry_after(), mock.request_count()), (None, 0));
    assert!(error.to_string().contains("key store"), "{error}");
}

#[tokio::test]
async fn a_business_key_gives_the_same_idempotency_key_in_every_client_and_none_a_new_one() {
    let mock = MockNudj::builder().idempotency(true).start().await.unwrap();
    let mut config = quick(&mock);
    config.retry.idempotency_keys = true;
    let start = || Client::builder().config(config.clone()).token(mock.token()).build().unwrap();
    let create = |client: &Client, email: &str| {
        let body = serde_json::json!({ "email": email });
        client.request(Method::POST, "/api/v2/admin/users").body_json(&body)
    };
    for _ in 0..2 {
        create(&start(), "ada@example.org").business_key("user-1").send().await.unwrap();
    }
    create(&start(), "bob@example.org").send().await.unwrap();
    let keys: Vec<_> =
        mock.requests().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    // And the reference of points is the same key.
    let client = start();
    let id = user(&client).await;
    client.admin().users().points_transaction_for(&id, "order-42", &fifty()).await.unwrap();
    let last = mock.requests().pop().unwrap();
    assert_eq!(last.header("idempotency-key").unwrap(), references(&mock)[0]);
}

/// What is amiss is the store, be its own trouble a connection: neither the API nor an argument.
#[tokio::test]
async fn a_store_that_has_no_key_to_give_is_said_to_and_the_call_may_come_again() {
    struct Down;
    impl KeyStore for Down {
        type Future = KeyFuture;

        fn get_or_insert(&self, _: String, _: String) -> KeyFuture {
            Box::pin(std::future::ready(Err(TransportError::Closed("of the store's server".into()).into())))
        }
    }
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick(&mock);
    config.retry.idempotency_keys = true;
    let client = Client::builder().config(config).token(mock.token()).key_store(Arc::new(Down)).build().unwrap();
    let create = client.request(Method::POST, "/api/v2/admin/users").body_json(&serde_json::json!({}));
    for error in [
        create.business_key("user-1").send().await.unwrap_err(),
        client.admin().users().points_transaction_for("u", "order-42", &fifty()).await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind().name(), error.is_retryable(), error.was_sent()),
            ("idempotency_key", true, false),
            "{error:?}"
        );
        assert!(error.to_string().contains("nothing was sent"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(mock.request_count(), 0);
}

#[cfg(any(feature = "keys-postgres", feature = "keys-redis", feature = "keys-sqlite"))]
mod stores {
    use std::time::Duration;

    use futures_util::future::join_all;
    use nudj_client::keys::{KeysConfig, KeysError, SharedKeys};

    use super::*;

    async fn ask(store: &SharedKeys, name: &str, new: &str) -> String {
        store.get_or_insert(name.to_owned(), new.to_owned()).await.unwrap()
    }

    /// What each store must do. `open` opens the same one anew, as a process does that has just started.
    async fn keeps_its_contract(open: impl Fn() -> SharedKeys) {
        let first = open();
        assert_eq!(ask(&first, "canary-name", "a").await, "a");
        assert_eq!(ask(&first, "canary-name", "b").await, "a");
        assert_eq!(ask(&first, "another", "c").await, "c");
        drop(first);
        assert_eq!(ask(&open(), "canary-name", "d").await, "a", "after a restart");

        // Of many that ask at once, in two processes, all get the same.
        let (one, other) = (open(), open());
        let asked = (0..20).map(|n| {
            let (store, new) = (if n % 2 == 0 { &one } else { &other }, n.to_string());
            async move { ask(store, "at once", &new).await }
        });
        let got = join_all(asked).await;
        assert!(got.iter().all(|key| *key == got[0]), "{got:?}");
    }

    fn left_out(what: &str, variable: &str) {
        assert!(std::env::var_os("CI").is_none(), "CI must set {variable}");
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: {what}: set {variable} or run cargo xtask test\n"),
        );
    }

    #[cfg(feature = "keys-sqlite")]
    #[tokio::test]
    async fn an_sqlite_file_keeps_keys_until_they_expire_and_books_points_once() {
        use nudj_client::keys::SqliteKeys;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let open = || -> SharedKeys { Arc::new(SqliteKeys::open(&path, KeysConfig::default()).unwrap()) };
        keeps_its_contract(open).await;
        let pool = sqlx::SqlitePool::connect(path.to_str().unwrap()).await.unwrap();
        let life: i64 =
            sqlx::query_scalar("SELECT max(expires_at) - unixepoch() FROM nudj_keys").fetch_one(&pool).await.unwrap();
        assert!((604_700..=604_800).contains(&life), "a week: {life}");
        let clear: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_keys WHERE name LIKE '%canary%'")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(clear, 0);
        sqlx::query("UPDATE nudj_keys SET expires_at = unixepoch()").execute(&pool).await.unwrap();
        let store = open();
        assert_eq!(ask(&store, "canary-name", "new").await, "new", "what has expired is gone");
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_keys").fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 1, "and so are the others");

        let path = folder.path().join("points.db");
        books_once(|mock| {
            let store = Arc::new(SqliteKeys::open(&path, KeysConfig::default()).unwrap());
            Client::builder().config(quick(mock)).token(mock.token()).key_store(store).build().unwrap()
        })
        .await;
    }

    #[cfg(feature = "keys-sqlite")]
    #[tokio::test]
    async fn an_sqlite_file_that_another_is_making_is_waited_for() {
        use nudj_client::keys::SqliteKeys;
        use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let other = SqlitePool::connect_with(options).await.unwrap();
        let making = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let store: SharedKeys = Arc::new(SqliteKeys::open(&path, KeysConfig::default()).unwrap());
        let asking = ask(&store, "name", "new");
        tokio::pin!(asking);
        let refused = tokio::time::timeout(Duration::from_millis(200), &mut asking).await;
        assert!(refused.is_err(), "it ended while the file was locked");
        making.rollback().await.unwrap();
        assert_eq!(asking.await, "new");
    }

    #[cfg(feature = "keys-sqlite")]
    #[tokio::test]
    async fn a_timeout_that_a_driver_cannot_count_is_refused() {
        use nudj_client::keys::SqliteKeys;

        let folder = tempfile::tempdir().unwrap();
        let config = KeysConfig { timeout: Duration::MAX, ..KeysConfig::default() };
        let error = SqliteKeys::open(folder.path().join("keys.db"), config.clone()).unwrap_err();
        assert!(error.to_string().starts_with("timeout: "), "{error}");
        let longest = KeysConfig { timeout: Duration::from_secs(3600), ..config };
        let store: SharedKeys = Arc::new(SqliteKeys::open(folder.path().join("keys.db"), longest).unwrap());
        assert_eq!(ask(&store, "name", "new").await, "new");
    }

    #[cfg(feature = "keys-postgres")]
    #[tokio::test]
    async fn postgres_keeps_keys_until_they_expire_and_books_points_once() {
        use nudj_client::keys::PostgresKeys;
        use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

        let Ok(url) = std::env::var("NUDJ_TEST_POSTGRES_URL") else {
            return left_out("keys in PostgreSQL", "NUDJ_TEST_POSTGRES_URL");
        };
        let server: PgConnectOptions = url.parse().unwrap();
        let admin = sqlx::PgPool::connect_with(server.clone()).await.unwrap();
        let name = format!("keys_{:016x}", fastrand::u64(..));
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.unwrap();
        let own = server.database(&name).to_url_lossy().to_string();
        let open = || -> SharedKeys { Arc::new(PostgresKeys::new(&own, KeysConfig::default()).unwrap()) };
        keeps_its_contract(open).await;
        let pool = sqlx::PgPool::connect(&own).await.unwrap();
        let clear: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_keys WHERE name LIKE '%canary%'")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(clear, 0);
        sqlx::query("UPDATE nudj_keys SET expires_at = clock_timestamp()").execute(&pool).await.unwrap();
        assert_eq!(ask(&open(), "canary-name", "new").await, "new", "what has expired is gone");
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_keys").fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 1, "and so are the others");
        books_once(|mock| {
            let store = Arc::new(PostgresKeys::new(&own, KeysConfig::default()).unwrap());
            Client::builder().config(quick(mock)).token(mock.token()).key_store(store).build().unwrap()
        })
        .await;
        pool.close().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&admin).await.unwrap();
    }

    #[cfg(feature = "keys-redis")]
    #[tokio::test]
    async fn redis_keeps_keys_for_as_long_as_asked_and_books_points_once() {
        use nudj_client::keys::RedisKeys;

        let Ok(url) = std::env::var("NUDJ_TEST_REDIS_URL") else {
            return left_out("keys in Redis", "NUDJ_TEST_REDIS_URL");
        };
        let prefix = format!("nudj-test:{:016x}:", fastrand::u64(..));
        let make = || Arc::new(RedisKeys::new(&url, KeysConfig::default()).unwrap().prefix(&*prefix));
        keeps_its_contract(|| make()).await;
        books_once(|mock| Client::builder().config(quick(mock)).token(mock.token()).key_store(make()).build().unwrap())
            .await;
        let mut link = redis::Client::open(&*url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let names: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut link).await.unwrap();
        assert_eq!(names.len(), 5, "{names:?}");
        assert!(names.iter().all(|name| !name.contains("canary")), "{names:?}");
        for name in names {
            let life: i64 = redis::cmd("PTTL").arg(&name).query_async(&mut link).await.unwrap();
            assert!((604_700_000..=604_800_000).contains(&life), "a week: {life}");
            let _: i64 = redis::cmd("DEL").arg(&name).query_async(&mut link).await.unwrap();
        }
    }

    #[cfg(all(feature = "keys-postgres", feature = "keys-redis"))]
    #[tokio::test]
    async fn a_store_that_is_down_is_named_and_nothing_is_sent() {
        use nudj_client::keys::{PostgresKeys, RedisKeys};

        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = KeysConfig { timeout: Duration::from_millis(300), ..KeysConfig::default() };
        let stores: [(SharedKeys, _); 2] = [
            (Arc::new(RedisKeys::new(&format!("redis://:canary@{free}"), config.clone()).unwrap()), "Redis server"),
            (
                Arc::new(PostgresKeys::new(&format!("postgres://u:canary@{free}/db"), config.clone()).unwrap()),
                "PostgreSQL table",
            ),
        ];
        for (store, expected) in stores {
            let mock = MockNudj::start().await.unwrap();
            let client =
                Client::builder().config(quick(&mock)).token(mock.token()).key_store(store.clone()).build().unwrap();
            let error = client.admin().users().points_transaction_for("u", "order-42", &fifty()).await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap();
            assert!(cause.downcast_ref::<KeysError>().is_some() && cause.to_string().contains(expected), "{cause}");
            assert!(!format!("{error:?} {cause:?}").contains("canary"), "{error:?}");
            assert_eq!(error.kind().name(), "idempotency_key");
            assert_eq!(mock.request_count(), 0);
            let error = store.get_or_insert("n".into(), "k".into()).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        for bad in ["canary", "redis//canary", ""] {
            for error in
                [RedisKeys::new(bad, config.clone()).unwrap_err(), PostgresKeys::new(bad, config.clone()).unwrap_err()]
            {
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
        }
    }
}
