//! A stop while the state is busy.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nudj_mock::MockNudj;
use nudj_sync::{
    Error,
    cdc::{
        Beginning, CdcConfig, CdcState, DeadLetter, Known, MemoryState, Operation, Progress, RecordKey, Shown, Standing,
    },
};
use serde_json::json;
use tokio::sync::{Mutex, Notify};

use super::{
    again::{Script, challenge},
    fixture::{builder, config},
};

/// State by one connection. What begins the second record has it for ever, and a write waits for it.
#[derive(Default)]
struct OneConnection {
    state: MemoryState,
    connection: Mutex<u32>,
    writes: Arc<Notify>,
}

#[async_trait]
impl CdcState for OneConnection {
    async fn standing(&self) -> Result<Standing, Error> {
        self.state.standing().await
    }

    async fn begin_snapshot(&self) -> Result<Standing, Error> {
        self.state.begin_snapshot().await
    }

    async fn begin(&self, records: &[Beginning], generation: i64) -> Result<Vec<Known>, Error> {
        let mut times = self.connection.lock().await;
        *times += 1;
        if *times == 2 {
            std::future::pending::<()>().await;
        }
        self.state.begin(records, generation).await
    }

    async fn commit(&self, progress: &Progress) -> Result<(), Error> {
        self.writes.notify_one();
        let _connection = self.connection.lock().await;
        self.state.commit(progress).await
    }

    async fn owner(&self, table: &str, remote_id: &str) -> Result<Option<String>, Error> {
        self.state.owner(table, remote_id).await
    }

    async fn unseen(&self, generation: i64, after: Option<&RecordKey>, limit: usize) -> Result<Vec<RecordKey>, Error> {
        self.state.unseen(generation, after, limit).await
    }

    async fn shown(&self, generation: i64) -> Result<Vec<Shown>, Error> {
        self.state.shown(generation).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.state.dead_letters(limit).await
    }

    async fn dead_letter_count(&self) -> Result<u64, Error> {
        self.state.dead_letter_count().await
    }

    async fn replay(&self, id: &str) -> Result<bool, Error> {
        self.state.replay(id).await
    }

    async fn discard(&self, id: &str) -> Result<bool, Error> {
        self.state.discard(id).await
    }

    async fn asked_for(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.state.asked_for(limit).await
    }
}

#[tokio::test]
async fn read_under_way_does_not_hold_up_what_a_stop_writes() {
    let mock = MockNudj::start().await.unwrap();
    let row = |id: &str| challenge(Operation::Insert, json!({"id": id, "title": id}));
    let state = OneConnection::default();
    let writes = Arc::clone(&state.writes);
    let source = Script { changes: vec![row("a"), row("b")], next: 0 };
    let pipeline = builder(source, state, &mock).config(CdcConfig { batch: 1, ..config() }).start().unwrap();
    let writes = tokio::time::timeout(Duration::from_secs(60), writes.notified()).await;
    assert!(writes.is_ok(), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
}

/// Deletions are written at once all the same: what comes next of their record waits for that.
#[tokio::test]
async fn position_that_is_never_written_by_itself_is_written_by_the_stop() {
    let mock = MockNudj::start().await.unwrap();
    let row = |operation| challenge(operation, json!({"id": "a", "title": "Alpha"}));
    let changes = [Operation::Insert, Operation::Delete, Operation::Insert].map(row).to_vec();
    let seldom = CdcConfig { commit_every: Duration::MAX, ..config() };
    let source = Script { changes, next: 0 };
    let pipeline = builder(source, MemoryState::default(), &mock).config(seldom).start().unwrap();
    let made = pipeline.wait_for(|status| status.applied == 3);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), made).await, Ok(true), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
}
