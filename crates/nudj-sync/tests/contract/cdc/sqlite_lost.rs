//! From an SQLite file to the mock, when what was noted has been lost: a snapshot makes up for it.

use std::time::Duration;

use nudj_mock::Fault;
use nudj_sync::cdc::MemoryState;

use super::{
    fixture::{builder, caught_up, users},
    sqlite::{Database, mock, named},
};

#[tokio::test]
async fn state_that_was_lost_begins_a_snapshot_that_creates_nothing_twice() {
    let (database, mock) = (Database::new().await, mock().await);
    for id in 1..=20 {
        database.user(id).await;
    }
    let pipeline = builder(database.source().await, MemoryState::default(), &mock).start().unwrap();
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    let pipeline = builder(database.source().await, MemoryState::default(), &mock).start().unwrap();
    caught_up(&pipeline).await;
    assert_eq!((users(&mock).len(), pipeline.status().snapshots), (20, 1));
}

#[tokio::test]
async fn change_table_that_was_lost_is_made_up_for_by_a_snapshot_that_also_deletes() {
    let (database, mock) = (Database::new().await, mock().await);
    for id in 1..=10 {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    for trigger in ["insert", "update", "delete"] {
        database.run(format!("DROP TRIGGER nudj_cdc_users_{trigger}")).await;
    }
    database.run("DROP TABLE nudj_changes").await;
    database.run("DROP TRIGGER nudj_cdc_challenges_insert").await;
    // Nobody notes any of this.
    database.run("DELETE FROM users WHERE id <= 5; UPDATE users SET display_name = 'second' WHERE id = 6").await;
    database.user(11).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    let found = users(&mock);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["10", "11", "6", "7", "8", "9"]);
    assert_eq!(found["6"], "second");
}

/// What is left of it is a record that no change will ever name again.
#[tokio::test]
async fn deletion_found_by_a_snapshot_is_made_though_the_process_dies_before_it_got_through() {
    let (database, mock) = (Database::new().await, mock().await);
    database.user(1).await;
    database.user(2).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.run("DROP TABLE nudj_changes; DROP TRIGGER nudj_cdc_users_delete; DELETE FROM users WHERE id = 2").await;
    let down = mock.inject(Fault::status(503).on("DELETE".parse().unwrap(), "/api/v2/admin/users/{id}"));
    let pipeline = database.start(&mock).await;
    assert!(pipeline.wait_for(|status| status.retries > 0 && status.position.is_some()).await);
    drop(pipeline);
    let pipeline = database.start(&mock).await;
    assert!(pipeline.wait_for(|status| status.retries > 0 || status.caught_up).await);
    mock.remove_fault(down);
    caught_up(&pipeline).await;
    assert_eq!(users(&mock), named(&[("1", "first 1")]));
    assert_eq!(pipeline.status().snapshots, 0, "it went on where the other died");
}
