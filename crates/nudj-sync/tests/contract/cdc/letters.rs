//! Dead letters that are hard to read, or not to be read at all.

use nudj_mock::MockNudj;
use nudj_sync::{
    Error,
    cdc::{Operation, SqliteState},
};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::{
    again::{Script, challenge},
    fixture::{builder, caught_up},
};

/// A row that was just shallow enough to be read is one level deeper in its letter.
#[tokio::test]
async fn letter_that_is_hard_to_read_stops_no_other() {
    let (mock, folder) = (MockNudj::start().await.unwrap(), tempfile::tempdir().unwrap());
    let pool = SqliteConnectOptions::new().filename(folder.path().join("state.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(pool).await.unwrap();
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(127), "]".repeat(127))).unwrap();
    let changes = [("a", deep), ("b", json!([])), ("c", json!([]))];
    let changes = changes.map(|(id, title)| challenge(Operation::Insert, json!({"id": id, "title": title})));
    let source = Script { changes: changes.to_vec(), next: 0 };
    let state = SqliteState::with_pool(pool.clone(), "test").await.unwrap();
    let pipeline = builder(source, state, &mock).start().unwrap();
    caught_up(&pipeline).await;
    // Somebody has edited it.
    sqlx::query("UPDATE nudj_cdc_dead_letters SET change = '?' WHERE record_key = 'b'").execute(&pool).await.unwrap();
    let letters = pipeline.state().dead_letters(10).await.unwrap();
    let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(ids, ["challenges/a", "challenges/b", "challenges/c"]);
    assert!(letters[1].reason.contains("cannot be read"), "{}", letters[1].reason);
    assert_eq!(letters[1].change.record.key, "b");

    assert!(pipeline.state().replay("challenges/a").await.unwrap());
    let refused = pipeline.state().replay("challenges/b").await;
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    assert!(pipeline.state().replay("challenges/c").await.unwrap());
    sqlx::query("UPDATE nudj_cdc_dead_letters SET asked = 1").execute(&pool).await.unwrap();
    let asked = pipeline.state().asked_for(10).await.unwrap();
    assert!(asked.iter().all(|letter| letter.id != "challenges/b"), "{asked:?}");
    assert!(pipeline.state().discard("challenges/b").await.unwrap());
}
