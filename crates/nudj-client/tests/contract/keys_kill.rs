//! A process that is killed while it waits for the answer of a booking, and another that makes the booking anew: it is made once.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nudj_client::{
    Client,
    keys::{KeysConfig, SharedKeys},
    model::{Direction, NewPointsTransaction, NewUser},
};
use nudj_mock::{Fault, MockNudj};

use super::quick;

/// Which store, where it is, which user: by these the child is told.
const STORE: &str = "NUDJ_CLIENT_KEYS_STORE";
const PLACE: &str = "NUDJ_CLIENT_KEYS_PLACE";
const NUDJ: &str = "NUDJ_CLIENT_KEYS_NUDJ";
const TOKEN: &str = "NUDJ_CLIENT_KEYS_TOKEN";
const USER: &str = "NUDJ_CLIENT_KEYS_USER";

const BOOKING: &str = "/api/v2/admin/users/{id}/points-transaction";

fn open(store: &str, place: &str) -> SharedKeys {
    let config = KeysConfig::default();
    match store {
        "sqlite" => Arc::new(nudj_client::keys::SqliteKeys::open(PathBuf::from(place), config).unwrap()),
        "postgres" => Arc::new(nudj_client::keys::PostgresKeys::new(place, config).unwrap()),
        "redis" => {
            let (url, prefix) = place.rsplit_once(' ').unwrap();
            Arc::new(nudj_client::keys::RedisKeys::new(url, config).unwrap().prefix(prefix))
        }
        other => panic!("{other} is no store"),
    }
}

/// Not a test of its own: the body of the child.
#[test]
fn booking_in_a_process_of_its_own() {
    let Ok(store) = std::env::var(STORE) else { return };
    let told = |variable| std::env::var(variable).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let booked = runtime.block_on(async {
        let keys = open(&store, &told(PLACE));
        let client = Client::builder().endpoint(told(NUDJ)).token(told(TOKEN)).key_store(keys).build().unwrap();
        let fifty = NewPointsTransaction {
            amount: 50.0,
            direction: Direction::Credit,
            external_transaction_reference: String::new(),
            community_id: None,
        };
        client.admin().users().points_transaction_for(&told(USER), "order-42", &fifty).await
    });
    match booked {
        Ok(_) => eprintln!("booked"),
        Err(error) => eprintln!("refused: {}", error.code().unwrap_or("without a code")),
    }
}

fn start(store: &str, place: &str, mock: &MockNudj, user: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "keys_kill::booking_in_a_process_of_its_own", "--nocapture"])
        .envs([(STORE, store), (PLACE, place), (NUDJ, &mock.url()), (TOKEN, mock.token()), (USER, user)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn books_once(store: &str, place: &str) {
    let mock = MockNudj::start().await.unwrap();
    let client = Client::builder().config(quick(&mock)).token(mock.token()).build().unwrap();
    let ada = NewUser { email: Some("ada@example.org".into()), ..NewUser::default() };
    let user = client.admin().users().create(&ada).await.unwrap().id;
    // Booked, and the answer comes a byte a minute.
    mock.inject(Fault::drip(1, Duration::from_secs(60)).path(BOOKING).times(1));
    let mut first = start(store, place, &mock, &user);
    let booked = async {
        while mock.transactions_count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), booked).await.unwrap();
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = start(store, place, &mock, &user);
    let said = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(second.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<_> = lines.filter(|line| line == "booked" || line.starts_with("refused")).collect();
        second.wait().unwrap();
        said
    });
    assert_eq!(said.await.unwrap(), ["refused: CONFLICT"], "{store}: the server knows it");
    assert_eq!(mock.transactions_count(), 1, "{store}");
    let references: Vec<String> = mock
        .requests()
        .iter()
        .filter_map(|request| serde_json::from_slice::<serde_json::Value>(&request.body).ok())
        .filter_map(|body| body["externalTransactionReference"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(references.len(), 2, "{store}");
    assert_eq!(references[0], references[1], "{store}");
}

fn left_out(what: &str, variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must set {variable}");
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: {what}: set {variable} or run cargo xtask test\n"),
        );
    }
    url
}

#[tokio::test]
async fn a_key_in_sqlite_outlives_a_kill_and_books_once() {
    let folder = tempfile::tempdir().unwrap();
    books_once("sqlite", folder.path().join("keys.db").to_str().unwrap()).await;
}

#[tokio::test]
async fn a_key_in_postgres_outlives_a_kill_and_books_once() {
    use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

    let Some(url) = left_out("kills over keys in PostgreSQL", "NUDJ_TEST_POSTGRES_URL") else { return };
    let server: PgConnectOptions = url.parse().unwrap();
    let admin = sqlx::PgPool::connect_with(server.clone()).await.unwrap();
    let name = format!("keys_{:016x}", fastrand::u64(..));
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.unwrap();
    books_once("postgres", server.database(&name).to_url_lossy().as_ref()).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&admin).await.unwrap();
}

#[tokio::test]
async fn a_key_in_redis_outlives_a_kill_and_books_once() {
    let Some(url) = left_out("kills over keys in Redis", "NUDJ_TEST_REDIS_URL") else { return };
    let prefix = format!("nudj-test:{:016x}:", fastrand::u64(..));
    books_once("redis", &format!("{url} {prefix}")).await;
    let mut link = redis::Client::open(&*url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let names: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut link).await.unwrap();
    let _: i64 = redis::cmd("DEL").arg(names).query_async(&mut link).await.unwrap();
}
