//! The outbox in an SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use nudj_sync::event::{AfterDeadLetter, EventBus, OutboxConfig, SqliteOutbox};
use tempfile::TempDir;

use super::conformance::{Engine, conformance};
use super::harness::event;
use super::outbox::outbox_tests;

struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    async fn outbox(&self, policy: AfterDeadLetter) -> SqliteOutbox {
        let config = OutboxConfig { after_dead_letter: policy, ..OutboxConfig::default() };
        SqliteOutbox::open(self.folder.path().join("outbox.db"), config).await.unwrap()
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn bus(&self, policy: AfterDeadLetter) -> Arc<dyn EventBus> {
        Arc::new(self.outbox(policy).await)
    }
}

async fn engine() -> Option<Sqlite> {
    Some(Sqlite { folder: tempfile::tempdir().unwrap() })
}

conformance!(engine, 3);
outbox_tests!(engine, SqliteOutbox, nudj_sync::event::SqliteProcessed);

#[tokio::test]
async fn what_was_published_is_there_after_the_file_is_opened_again() {
    let place = engine().await.unwrap();
    let first = place.outbox(AfterDeadLetter::Hold).await;
    first.publish(&event("k", 0)).await.unwrap();
    first.pool().close().await;
    let second = place.outbox(AfterDeadLetter::Hold).await;
    assert_eq!(second.lag().await.unwrap().waiting, 1);
}

/// What SQLite's machine does for one claim: the number does not depend on how fast ours is.
async fn steps_of_a_claim(outbox: &SqliteOutbox) -> (usize, Vec<nudj_sync::event::Claimed>) {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    let steps = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&steps);
    // The pool has one connection.
    let mut connection = outbox.pool().acquire().await.unwrap();
    connection.lock_handle().await.unwrap().set_progress_handler(1, move || {
        count.fetch_add(1, Relaxed);
        true
    });
    drop(connection);
    let claimed = outbox.claim(16, std::time::Duration::from_secs(60)).await.unwrap();
    outbox.pool().acquire().await.unwrap().lock_handle().await.unwrap().remove_progress_handler();
    (steps.load(Relaxed), claimed)
}

/// Every claim went over all that waited behind a dead letter, or behind the first of a key.
#[tokio::test]
async fn claim_takes_no_longer_for_what_waits_behind_others() {
    let mut of = Vec::new();
    for waiting in [100, 3000] {
        let place = engine().await.unwrap();
        let outbox = place.outbox(AfterDeadLetter::Hold).await;
        let mut transaction = outbox.begin().await.unwrap();
        for (key, count) in [("dead", waiting), ("long", waiting), ("other", 1)] {
            for number in 0..count {
                outbox.publish_in(&mut transaction, &event(key, number)).await.unwrap();
            }
        }
        transaction.commit().await.unwrap();
        let mut claimed = Vec::new();
        while claimed.len() < 3 {
            claimed.extend(steps_of_a_claim(&outbox).await.1);
        }
        let is_dead = claimed.iter().position(|claimed| claimed.event.key == "dead").unwrap();
        let dead = nudj_sync::event::Settlement::Dead { reason: "poison".to_owned() };
        assert!(outbox.settle(&claimed.remove(is_dead), &dead).await.unwrap());
        // The others that are behind are seen once.
        for _ in 0..10 {
            steps_of_a_claim(&outbox).await;
        }
        let nothing = steps_of_a_claim(&outbox).await;
        assert_eq!(nothing.1, []);
        let first = claimed.into_iter().find(|claimed| claimed.event.key == "long").unwrap();
        assert!(outbox.settle(&first, &nudj_sync::event::Settlement::Done(Vec::new())).await.unwrap());
        let next = steps_of_a_claim(&outbox).await;
        assert_eq!((next.1.len(), next.1[0].event.id.as_str()), (1, "long-1"));
        of.push((nothing.0, next.0));
    }
    assert!(
        of[1].0 < of[0].0 * 2 && of[1].1 < of[0].1 * 2,
        "steps for nothing and for one, of 100 and of 3000: {of:?}"
    );
}

/// As earlier versions made it.
const OLD: &str = "CREATE TABLE nudj_sync_outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, event_id TEXT NOT NULL,
    topic TEXT NOT NULL, event_key TEXT NOT NULL, payload TEXT NOT NULL, occurred_at INTEGER NOT NULL, published_at INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, claims INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', settled_at INTEGER, UNIQUE (queue, event_id));
INSERT INTO nudj_sync_outbox (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at)
    VALUES ('nudj', 'k-0', 'test.numbered', 'k', '0', 0, 0, 0), ('nudj', 'k-1', 'test.numbered', 'k', '1', 0, 0, 0);";

#[tokio::test]
async fn table_of_an_earlier_version_gets_what_it_lacks_and_keeps_its_rows() {
    let place = engine().await.unwrap();
    let file = place.folder.path().join("outbox.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(OLD).execute(&old).await.unwrap();
    let (first, second) = tokio::join!(place.outbox(AfterDeadLetter::Hold), place.outbox(AfterDeadLetter::Hold));
    for number in 0..2 {
        let claimed = [&first, &second][number].claim(10, std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!((claimed.len(), &claimed[0].event.id), (1, &format!("k-{number}")));
        // One of before, which knows nothing of the new column, may still publish.
        let insert = "INSERT INTO nudj_sync_outbox (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at)
            VALUES ('nudj', 'k-2', 'test.numbered', 'k', '2', 0, 0, 0) ON CONFLICT (queue, event_id) DO NOTHING";
        sqlx::raw_sql(insert).execute(&old).await.unwrap();
        assert!(second.settle(&claimed[0], &nudj_sync::event::Settlement::Done(Vec::new())).await.unwrap());
    }
    assert_eq!(second.lag().await.unwrap().waiting, 1);
}
