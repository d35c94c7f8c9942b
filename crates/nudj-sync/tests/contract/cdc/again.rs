//! Changes that are made a second time, because a process died before it wrote its position.

use std::collections::BTreeMap;

use async_trait::async_trait;
use nudj_mock::{Fault, MockNudj};
use nudj_sync::{
    Error,
    cdc::{Batch, Change, ChangeSource, Lag, MemoryState, Operation, Position, RecordKey, Resumed, Row},
};
use serde_json::{Value, json};

use super::fixture::{builder, caught_up, challenges};

/// Hands out these changes, from the first one on whenever it is opened.
pub(super) struct Script {
    pub(super) changes: Vec<Change>,
    pub(super) next: usize,
}

#[async_trait]
impl ChangeSource for Script {
    async fn resume(&mut self, _: &Position) -> Result<Resumed, Error> {
        self.next = 0;
        Ok(Resumed::Yes)
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        self.next = 0;
        Ok(())
    }

    async fn next(&mut self, limit: usize) -> Result<Batch, Error> {
        let changes: Vec<Change> = self.changes.iter().skip(self.next).take(limit).cloned().collect();
        self.next += changes.len();
        if changes.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        Ok(Batch { changes, ..Batch::default() })
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<(), Error> {
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        Ok(Lag::default())
    }
}

pub(super) fn challenge(operation: Operation, row: Value) -> Change {
    let row: Row = serde_json::from_value(row).unwrap();
    let record = RecordKey { table: "challenges".into(), key: row["id"].as_str().unwrap().into() };
    let (old, new) = if operation == Operation::Delete { (Some(row), None) } else { (None, Some(row)) };
    Change { record, operation, old, new, position: Some(Position::new("1")) }
}

/// A pipeline from an earlier position, that is one that knows nothing of what the deletions in `changes` already ended.
async fn made(mock: &MockNudj, changes: &[Change]) {
    let source = Script { changes: changes.to_vec(), next: 0 };
    let pipeline = builder(source, MemoryState::default(), mock).start().unwrap();
    caught_up(&pipeline).await;
    assert_eq!(pipeline.status().applied, changes.len() as u64);
}

fn lose_the_next_creation(mock: &MockNudj) {
    mock.inject(Fault::lost_answer().on("POST".parse().unwrap(), "/api/v2/admin/challenges").times(1));
}

#[tokio::test]
async fn deletion_made_again_ends_what_the_creation_before_it_made_though_an_archived_one_is_there() {
    let mock = MockNudj::start().await.unwrap();
    let row = json!({"id": "a", "title": "Alpha"});
    let life = [challenge(Operation::Insert, row.clone()), challenge(Operation::Delete, row)];
    made(&mock, &life).await;
    lose_the_next_creation(&mock);
    made(&mock, &life).await;
    assert_eq!(challenges(&mock).await, BTreeMap::new());
}

#[tokio::test]
async fn row_of_a_title_that_was_archived_gets_a_challenge_that_is_not() {
    let mock = MockNudj::start().await.unwrap();
    let row = json!({"id": "a", "title": "Alpha"});
    let [insert, delete] = [Operation::Insert, Operation::Delete].map(|operation| challenge(operation, row.clone()));
    made(&mock, &[insert.clone(), delete]).await;
    lose_the_next_creation(&mock);
    let renamed = challenge(Operation::Update, json!({"id": "a", "title": "Beta"}));
    made(&mock, &[insert, renamed]).await;
    assert_eq!(challenges(&mock).await, BTreeMap::from([("Beta".into(), 1)]));
}

#[tokio::test]
async fn archived_challenge_is_the_rows_own_where_the_row_says_its_status() {
    let mock = MockNudj::start().await.unwrap();
    lose_the_next_creation(&mock);
    let row = json!({"id": "a", "title": "Alpha", "status": "archived"});
    let update = json!({"id": "a", "title": "Alpha", "status": "live"});
    made(&mock, &[challenge(Operation::Insert, row), challenge(Operation::Update, update)]).await;
    assert_eq!(challenges(&mock).await, BTreeMap::from([("Alpha".into(), 1)]));
    assert_eq!(mock.records_count(nudj_mock::Records::Challenges), 1, "found, not created again");
}
