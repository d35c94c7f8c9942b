//! Pipelines that are stopped while rows keep coming, and rows that cannot be mapped among many that can.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nudj_mock::{Fault, MockNudj};
use nudj_sync::cdc::{Pipeline, UserMapping};
use tokio::time::Instant;

use super::fixture::{builder, caught_up, users};

const GRACE: Duration = Duration::from_secs(10);

/// Each row is sent once however often pipelines take turns: a stop leaves nothing in doubt and nothing to be done again.
async fn stopped_over_and_over(start: impl AsyncFn(&MockNudj) -> Pipeline, insert: impl AsyncFn(u64)) {
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    mock.inject(Fault::latency(Duration::from_millis(5)));
    let end = AtomicBool::new(false);
    let writer = async {
        let mut rows = 0;
        while !end.load(Ordering::SeqCst) {
            rows += 1;
            insert(rows).await;
        }
        rows
    };
    let stopper = async {
        for _ in 0..5 {
            let pipeline = start(&mock).await;
            let at_work = pipeline.wait_for(|status| status.applied >= 50);
            assert_eq!(
                tokio::time::timeout(Duration::from_secs(60), at_work).await,
                Ok(true),
                "{:?}",
                pipeline.status()
            );
            let begun = Instant::now();
            assert!(pipeline.stop(GRACE).await, "calls under way came to their end");
            assert!(begun.elapsed() < GRACE + Duration::from_secs(1));
        }
        end.store(true, Ordering::SeqCst);
    };
    let (rows, ()) = tokio::join!(writer, stopper);
    let pipeline = start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len() as u64, rows);
    let created = mock.received().count("POST".parse().unwrap(), "/api/v2/admin/users");
    assert_eq!(created as u64, rows, "what was settled before a stop was sent again");
    assert!(pipeline.stop(GRACE).await);
}

/// One row in a hundred has no address where the mapping looks; then somebody mends the mapping and replays them.
///
/// A thousand rows, or as many as `NUDJ_TEST_ROWS` says.
async fn poison_among_many(start: impl AsyncFn(&MockNudj, UserMapping) -> Pipeline, run: impl AsyncFn(String)) {
    let rows: usize = std::env::var("NUDJ_TEST_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1000);
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    run("ALTER TABLE users ADD COLUMN contact TEXT".into()).await;
    let pipeline = start(&mock, UserMapping::new()).await;
    for hundred in 0..rows / 100 {
        let values = (1..=100).map(|number| {
            let (id, email) = (hundred * 100 + number, if number == 50 { "NULL" } else { "'u@example.org'" });
            format!("({id}, {email}, 'c@example.org')")
        });
        let values = values.collect::<Vec<_>>().join(", ");
        run(format!("INSERT INTO users (id, email, contact) VALUES {values}")).await;
    }
    let wait = pipeline.wait_for(|status| status.applied + status.buried >= rows as u64 && status.caught_up);
    assert_eq!(tokio::time::timeout(Duration::from_secs(300), wait).await, Ok(true), "{:?}", pipeline.status());
    let letters = pipeline.state().dead_letters(rows).await.unwrap();
    assert_eq!((users(&mock).len(), letters.len()), (rows - rows / 100, rows / 100));
    assert!(letters.iter().all(|letter| letter.reason.contains("column `email` is empty")), "{letters:?}");
    assert!(pipeline.stop(GRACE).await);

    let pipeline = start(&mock, UserMapping::new().email("contact")).await;
    for letter in letters {
        assert!(pipeline.state().replay(&letter.id).await.unwrap(), "{}", letter.id);
    }
    let replayed = async {
        while pipeline.state().dead_letter_count().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), replayed).await.is_ok(), "{:?}", pipeline.status());
    assert_eq!((users(&mock).len(), mock.users_count()), (rows, rows), "each once");
    assert!(pipeline.stop(GRACE).await);
}

fn user(id: u64) -> String {
    format!("INSERT INTO users (id, email, display_name) VALUES ({id}, 'u{id}@example.org', 'first {id}')")
}

#[cfg(feature = "cdc-sqlite")]
mod sqlite {
    use super::{super::sqlite::Database, *};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stops_under_load_lose_nothing_and_leave_nothing_to_be_done_again() {
        let database = Database::new().await;
        let start =
            async |mock: &MockNudj| builder(database.source().await, database.state().await, mock).start().unwrap();
        stopped_over_and_over(start, async |id| database.run(user(id)).await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn poison_rows_are_put_aside_listed_and_replayed() {
        let database = Database::new().await;
        let start = async |mock: &MockNudj, mapping: UserMapping| {
            builder(database.source().await, database.state().await, mock).map("users", mapping).start().unwrap()
        };
        poison_among_many(start, async |sql| database.run(sql).await).await;
    }
}

#[cfg(feature = "cdc-postgres")]
mod postgres {
    use super::{
        super::postgres::{Database, cursor, run},
        *,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stops_under_load_lose_nothing_and_leave_nothing_to_be_done_again() {
        let Some(database) = Database::new("cdc::under_load::stops").await else { return };
        let start = async |mock: &MockNudj| {
            let (source, state) = cursor(&database.url).await;
            builder(source, state, mock).start().unwrap()
        };
        stopped_over_and_over(start, async |id| run(&database.pool, &user(id)).await).await;
        database.remove().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn poison_rows_are_put_aside_listed_and_replayed() {
        let Some(database) = Database::new("cdc::under_load::poison").await else { return };
        let start = async |mock: &MockNudj, mapping: UserMapping| {
            let (source, state) = cursor(&database.url).await;
            builder(source, state, mock).map("users", mapping).start().unwrap()
        };
        poison_among_many(start, async |sql| run(&database.pool, &sql).await).await;
        database.remove().await;
    }
}
