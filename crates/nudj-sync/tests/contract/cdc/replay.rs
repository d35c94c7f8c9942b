//! A dead letter that is replayed while a newer change of its record is under way: the newer one has the last word.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use nudj_mock::{Fault, MockNudj};
use nudj_sync::{
    Error,
    cdc::{
        Batch, CdcConfig, Change, ChangeSource, DeadLetter, Lag, MemoryState, Operation, Pipeline, Position, RecordKey,
        Resumed,
    },
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    fixture::{builder, caught_up, config, users},
    sqlite::named,
};

/// Each look lasts until it is told what it found.
struct Looks {
    begun: mpsc::UnboundedSender<()>,
    found: mpsc::UnboundedReceiver<Vec<Change>>,
}

/// The test's end of it.
struct Director {
    begun: mpsc::UnboundedReceiver<()>,
    found: mpsc::UnboundedSender<Vec<Change>>,
}

impl Director {
    async fn a_look_has_begun(&mut self) {
        let begun = tokio::time::timeout(Duration::from_secs(60), self.begun.recv()).await;
        assert_eq!(begun, Ok(Some(())));
    }

    /// Ends the look under way; returns in the middle of the next one, behind its question for dead letters.
    async fn finds(&mut self, changes: Vec<Change>) {
        self.found.send(changes).unwrap();
        self.a_look_has_begun().await;
    }
}

#[async_trait]
impl ChangeSource for Looks {
    async fn resume(&mut self, _: &Position) -> Result<Resumed, Error> {
        Ok(Resumed::Yes)
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn next(&mut self, _: usize) -> Result<Batch, Error> {
        let _ = self.begun.send(());
        let changes = self.found.recv().await.unwrap_or_default();
        Ok(Batch { changes, ..Batch::default() })
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<(), Error> {
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        Ok(Lag::default())
    }
}

fn user(operation: Operation, name: &str, position: &str) -> Change {
    let row = serde_json::from_value(json!({"id": "1", "email": "u1@example.org", "display_name": name})).unwrap();
    let (old, new) = if operation == Operation::Delete { (Some(row), None) } else { (None, Some(row)) };
    let record = RecordKey { table: "users".into(), key: "1".into() };
    Change { record, operation, old, new, position: Some(Position::new(position)) }
}

async fn start(mock: &MockNudj, config: CdcConfig) -> (Pipeline, Director) {
    let (begun_here, begun) = mpsc::unbounded_channel();
    let (found, found_here) = mpsc::unbounded_channel();
    let source = Looks { begun: begun_here, found: found_here };
    // Dead letters are asked for by every look.
    let config = CdcConfig { look_every: Duration::from_nanos(1), ..config };
    let pipeline = builder(source, MemoryState::default(), mock).config(config).start().unwrap();
    let mut director = Director { begun, found };
    director.a_look_has_begun().await;
    (pipeline, director)
}

async fn reached(pipeline: &Pipeline, position: &str) {
    let wait = pipeline.wait_for(|status| status.position == Some(Position::new(position)));
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), wait).await, Ok(true), "{:?}", pipeline.status());
}

/// The first row is refused, and replayed while Nudj is down and `newer` waits. Nudj comes back, answering creations with `then`
/// if with anything else than usual, and `newer` ends before the look does that was told of the letter.
async fn overtaken_by(newer: Change, then: Option<u16>) -> (MockNudj, Vec<DeadLetter>) {
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let (pipeline, mut director) = start(&mock, config()).await;
    let refuses = mock.inject(Fault::status(422).on(Method::POST, "/api/v2/admin/users"));
    director.finds(vec![user(Operation::Insert, "first", "1")]).await;
    reached(&pipeline, "1").await;
    mock.remove_fault(refuses);

    let down = mock.inject(Fault::status(503));
    director.finds(vec![newer]).await;
    assert!(pipeline.state().replay("users/1").await.unwrap());
    director.finds(Vec::new()).await;
    let refuses = then.map(|code| mock.inject(Fault::status(code).on(Method::POST, "/api/v2/admin/users")));
    mock.remove_fault(down);
    reached(&pipeline, "2").await;
    if let Some(refuses) = refuses {
        mock.remove_fault(refuses);
    }
    director.finds(Vec::new()).await;
    caught_up(&pipeline).await;
    let letters = pipeline.state().dead_letters(10).await.unwrap();
    (mock, letters)
}

#[tokio::test]
async fn deletion_is_not_undone_by_an_older_letter() {
    let (mock, letters) = overtaken_by(user(Operation::Delete, "first", "2"), None).await;
    assert_eq!((users(&mock), letters), (named(&[]), Vec::new()));
}

#[tokio::test]
async fn update_is_not_undone_by_an_older_letter() {
    let (mock, letters) = overtaken_by(user(Operation::Update, "second", "2"), None).await;
    assert_eq!((users(&mock), letters), (named(&[("1", "second")]), Vec::new()));
}

#[tokio::test]
async fn newer_letter_is_neither_overtaken_nor_removed_by_an_older_one() {
    let (mock, letters) = overtaken_by(user(Operation::Update, "second", "2"), Some(422)).await;
    assert_eq!((users(&mock), letters.len()), (named(&[]), 1));
    assert_eq!(letters[0].change.column("display_name"), Some(&json!("second")));
}

/// It was put aside and not yet written down when the next change of the record was read.
#[tokio::test]
async fn letter_goes_by_a_change_that_was_read_before_the_letter_was_written() {
    let mock = MockNudj::start().await.unwrap();
    let (pipeline, mut director) =
        start(&mock, CdcConfig { commit_every: Duration::from_millis(300), ..config() }).await;
    let refuses = mock.inject(Fault::status(422).on(Method::POST, "/api/v2/admin/users"));
    director.finds(vec![user(Operation::Insert, "first", "1")]).await;
    assert!(pipeline.wait_for(|status| status.buried == 1).await);
    mock.remove_fault(refuses);
    let down = mock.inject(Fault::status(503));
    director.finds(Vec::new()).await;
    director.finds(vec![user(Operation::Update, "second", "2")]).await;
    reached(&pipeline, "1").await;
    assert_eq!(pipeline.state().dead_letter_count().await.unwrap(), 1);
    mock.remove_fault(down);
    reached(&pipeline, "2").await;
    assert_eq!(pipeline.state().dead_letters(10).await.unwrap(), Vec::new());
}

/// A creation takes no text about oneself: it is sent by a second call, and what the first one made is noted in between.
#[tokio::test]
async fn letter_goes_by_a_change_that_takes_two_calls() {
    let mock = MockNudj::start().await.unwrap();
    let (pipeline, mut director) = start(&mock, config()).await;
    let with_bio = |operation, bio: &str, position| {
        let mut change = user(operation, "first", position);
        change.new.as_mut().unwrap().insert("bio".into(), bio.into());
        change
    };
    let refuses = mock.inject(Fault::status(422).on(Method::POST, "/api/v2/admin/users"));
    director.finds(vec![with_bio(Operation::Insert, "older", "1")]).await;
    reached(&pipeline, "1").await;
    assert_eq!(pipeline.state().dead_letter_count().await.unwrap(), 1);
    mock.remove_fault(refuses);
    director.finds(vec![with_bio(Operation::Update, "newer", "2")]).await;
    reached(&pipeline, "2").await;
    assert_eq!(pipeline.state().dead_letters(10).await.unwrap(), Vec::new());
    assert!(!pipeline.state().replay("users/1").await.unwrap());
    assert_eq!(mock.users()[0]["bio"], "newer");
}
