//! What a change comes to at Nudj, where Nudj's answer leaves room for more than one meaning.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderValue, Method};
use nudj_mock::{Fault, MockNudj, Records};
use nudj_sync::cdc::{CdcConfig, Change, MemoryState, Operation, Position, RecordKey, Row, Status};
use serde_json::{Value, json};

use super::{
    again::Script,
    fixture::{builder, caught_up, challenges, config},
};

const USERS: &str = "/api/v2/admin/users";
const USER: &str = "/api/v2/admin/users/{id}";
const CHALLENGE: &str = "/api/v2/admin/challenges/{id}";

fn change(table: &str, operation: Operation, row: Value) -> Change {
    let row: Row = serde_json::from_value(row).unwrap();
    let record = RecordKey { table: table.into(), key: row["id"].as_str().unwrap().into() };
    let (old, new) = if operation == Operation::Delete { (Some(row), None) } else { (None, Some(row)) };
    Change { record, operation, old, new, position: Some(Position::new("1")) }
}

fn user(operation: Operation, name: &str) -> Change {
    change("users", operation, json!({"id": "1", "email": "u1@example.org", "display_name": name}))
}

fn inserted_and_updated() -> Vec<Change> {
    vec![user(Operation::Insert, "first"), user(Operation::Update, "second")]
}

/// A mock that takes two users of one external id: what keeps them apart is ours.
async fn mock() -> MockNudj {
    MockNudj::builder().duplicate_users(true).start().await.unwrap()
}

/// Makes these changes, each of which is given up after a few tries where it may be its own fault.
async fn made(mock: &MockNudj, changes: Vec<Change>) -> Status {
    let source = Script { changes, next: 0 };
    let give_up = CdcConfig { max_attempts: 3, give_up_after: Duration::ZERO, ..config() };
    let pipeline = builder(source, MemoryState::default(), mock).config(give_up).start().unwrap();
    caught_up(&pipeline).await;
    pipeline.status()
}

/// Else its personal data would stay at Nudj for good: the record is unlinked, and nothing names it any more.
#[tokio::test]
async fn page_of_a_proxy_is_not_taken_for_a_user_that_is_erased_already() {
    let mock = mock().await;
    for code in [404, 410] {
        mock.inject(Fault::html(code).on(Method::DELETE, USER).times(1));
    }
    let status = made(&mock, vec![user(Operation::Insert, "first"), user(Operation::Delete, "first")]).await;
    assert_eq!((mock.users_count(), status.applied, status.buried), (0, 2, 0));
}

#[tokio::test]
async fn page_of_a_proxy_is_not_taken_for_a_challenge_that_is_gone() {
    let mock = mock().await;
    mock.inject(Fault::html(404).on(Method::POST, CHALLENGE).times(1));
    let row = json!({"id": "a", "title": "Alpha"});
    let life = [Operation::Insert, Operation::Delete].map(|operation| change("challenges", operation, row.clone()));
    made(&mock, life.to_vec()).await;
    assert_eq!(challenges(&mock).await, BTreeMap::new());
}

#[tokio::test]
async fn user_that_is_erased_already_need_not_be_erased() {
    let mock = mock().await;
    mock.inject(Fault::status(404).on(Method::DELETE, USER));
    let status = made(&mock, vec![user(Operation::Insert, "first"), user(Operation::Delete, "first")]).await;
    assert_eq!((status.applied, status.buried), (2, 0));
}

/// A list in which no user stands.
fn nobody_listed() -> Fault {
    let json = HeaderValue::from_static("application/json");
    Fault::answer(200, json, r#"{"totalCount":0,"edges":[]}"#).on(Method::GET, USERS)
}

/// The real API shows no call that updates a user; one that it does not know may be answered as a user that it does not know.
#[tokio::test]
async fn user_whose_update_is_not_found_though_it_is_there_is_not_created_again() {
    let mock = mock().await;
    mock.inject(Fault::status(404).on(Method::PATCH, USER));
    let status = made(&mock, inserted_and_updated()).await;
    assert_eq!((mock.users_count(), status.applied, status.buried), (1, 1, 1));
}

#[tokio::test]
async fn user_that_the_list_does_not_show_yet_is_not_created_again() {
    let mock = mock().await;
    mock.inject(Fault::status(404).on(Method::PATCH, USER));
    mock.inject(nobody_listed());
    let status = made(&mock, inserted_and_updated()).await;
    assert_eq!((mock.users_count(), status.applied, status.buried), (1, 1, 1));
}

#[tokio::test]
async fn user_that_is_nowhere_to_be_found_is_created_again() {
    let mock = mock().await;
    mock.inject(Fault::status(404).on(Method::PATCH, USER));
    mock.inject(Fault::status(404).on(Method::GET, USER));
    mock.inject(nobody_listed());
    let status = made(&mock, inserted_and_updated()).await;
    assert_eq!((mock.users_count(), status.applied, status.buried), (2, 2, 0));
}

#[tokio::test]
async fn challenge_whose_update_is_not_found_though_it_is_there_is_not_created_again() {
    let mock = mock().await;
    mock.inject(Fault::status(404).on(Method::POST, CHALLENGE));
    let row = |title: &str| json!({"id": "a", "title": title});
    let changes = [(Operation::Insert, "Alpha"), (Operation::Update, "Beta")];
    let changes = changes.map(|(operation, title)| change("challenges", operation, row(title)));
    let status = made(&mock, changes.to_vec()).await;
    assert_eq!((mock.records_count(Records::Challenges), status.applied, status.buried), (1, 1, 1));
}

/// Also where somebody wants it gone: a text about oneself that was taken back here stayed at Nudj for ever.
#[tokio::test]
async fn column_that_became_null_empties_its_field_and_one_that_is_missing_leaves_it() {
    let mock = mock().await;
    let row = |bio: Value, picture: Value| json!({"id": "1", "email": "u1@example.org", "bio": bio, "display_name": "Ada", "profile_picture_url": picture});
    let mut without = row(Value::Null, json!("https://example.org/2.png"));
    without.as_object_mut().unwrap().remove("display_name");
    let changes = vec![
        change("users", Operation::Insert, row(json!("a text"), json!("https://example.org/1.png"))),
        change("users", Operation::Update, without),
    ];
    made(&mock, changes).await;
    let user = &mock.users()[0];
    assert_eq!((&user["bio"], &user["displayName"]), (&json!(""), &json!("Ada")));
    assert_eq!(user["profilePictureUrl"], "https://example.org/2.png");
}

#[tokio::test]
async fn row_of_nulls_is_created_by_one_call() {
    let mock = mock().await;
    let row = json!({"id": "1", "email": "u1@example.org", "bio": null, "display_name": null});
    made(&mock, vec![change("users", Operation::Insert, row)]).await;
    assert_eq!((mock.users_count(), mock.request_count()), (1, 1));
}
