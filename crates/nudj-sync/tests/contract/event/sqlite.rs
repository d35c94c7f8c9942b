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
