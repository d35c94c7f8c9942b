//! A table of users, and a user at Nudj for each of its rows, though a tenth of the calls there fail and some answers are lost.
//!
//! `cargo run -p nudj-sync --features cdc-sqlite --example cdc`
//!
//! Over PostgreSQL it is `PostgresSource` or `LogicalSource`, and `PostgresState` (features `cdc-postgres`, `cdc-logical`): the rest
//! stays as it is.

use std::time::Duration;

use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_sync::{
    BoxError,
    cdc::{Pipeline, SqliteSource, SqliteState, UserMapping},
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let nudj = MockNudj::start().await?;
    nudj.inject(Fault::lost_answer().probability(0.05, 1));
    nudj.inject(Fault::status(503).probability(0.10, 2));
    let mut config = Config::with_endpoints([nudj.url()]);
    config.circuit_breaker.failure_threshold = 0;
    let client = Client::builder().config(config).token(nudj.token()).build()?;

    // Your database, with rows from before.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.db");
    let yours = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file).create_if_missing(true)).await?;
    let run = async |sql: &'static str| sqlx::raw_sql(sql).execute(&yours).await.map(drop);
    run("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT)").await?;
    run("INSERT INTO users VALUES (1, 'ada@example.com', 'Ada'), (2, 'bob@example.com', 'Bob')").await?;

    let source = SqliteSource::open(&file, ["users"]).await?;
    let state = SqliteState::open(folder.path().join("nudj-cdc.db"), "app").await?;
    let users = UserMapping::new().display_name("name");
    let pipeline = Pipeline::builder(source, state, client).map("users", users).start()?;
    pipeline.wait_for(|status| status.caught_up).await;
    println!("snapshot: {} users at Nudj", nudj.users_count());

    run("INSERT INTO users VALUES (3, 'eve@example.com', 'Eve'), (4, 'no address', 'Mallory')").await?;
    run("UPDATE users SET name = 'Ada Lovelace' WHERE id = 1; DELETE FROM users WHERE id = 2").await?;
    // Four changes more than the two of the snapshot: three got through, one is a dead letter.
    pipeline.wait_for(|status| status.applied >= 5 && status.buried >= 1 && status.caught_up).await;
    for user in nudj.users() {
        println!("  {} {}", user["externalUserId"], user["displayName"]);
    }
    for letter in pipeline.state().dead_letters(10).await? {
        println!("  put aside: {}: {}", letter.id, letter.reason);
    }
    println!("{} attempts were repeated", pipeline.status().retries);
    pipeline.stop(Duration::from_secs(10)).await;
    Ok(())
}
