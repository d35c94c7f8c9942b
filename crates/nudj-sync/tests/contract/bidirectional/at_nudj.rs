//! Users of the mock, through the real client.

use nudj_client::Client;
use nudj_mock::MockNudj;
use nudj_sync::{
    Error,
    bidirectional::{Bidirectional, Conflict, MemorySide, MemoryState, NudjUsers, Policy, State as _, Synced, Winner},
};
use serde_json::json;

use crate::nudj::client;

type Sync = Bidirectional<MemorySide, NudjUsers<Client>, MemoryState>;

async fn both() -> (MockNudj, MemorySide, Sync) {
    let mock = MockNudj::start().await.unwrap();
    let local = MemorySide::default();
    local.edit("42", |fields| {
        fields.insert("email".to_owned(), "ada@example.com".to_owned());
        fields.insert("username".to_owned(), "ada".to_owned());
        fields.insert("displayName".to_owned(), "Ada".to_owned());
        fields.insert("bio".to_owned(), "counts".to_owned());
    });
    let sync =
        Bidirectional::new(local.clone(), NudjUsers::new(client(&mock)), MemoryState::default(), Policy::FieldMerge);
    let synced = sync.sync("42").await.unwrap();
    assert_eq!(synced, Synced { wrote_remote: true, ..Synced::default() });
    (mock, local, sync)
}

fn set<'f>(name: &'f str, value: &'f str) -> impl FnOnce(&mut nudj_sync::bidirectional::Fields) + 'f {
    move |fields| drop(fields.insert(name.to_owned(), value.to_owned()))
}

#[tokio::test]
async fn edits_go_both_ways_and_do_not_come_back() {
    let (mock, local, sync) = both().await;
    let user = mock.users()[0].clone();
    assert_eq!((&user["externalUserId"], &user["bio"]), (&json!("42"), &json!("counts")));
    assert_eq!(sync.sync("42").await.unwrap(), Synced::default(), "no echo");

    mock.edit_user(user["id"].as_str().unwrap(), &json!({"displayName": "Ada L."})).unwrap();
    local.edit("42", set("bio", ""));
    let synced = sync.sync("42").await.unwrap();
    assert_eq!((synced.wrote_local, synced.wrote_remote, synced.conflict), (true, true, None));
    assert_eq!(local.get("42").unwrap().fields["displayName"], "Ada L.");
    assert_eq!(mock.users()[0]["bio"], "", "taken away there too");
    assert_eq!(sync.sync_known().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn what_nudj_adds_by_itself_comes_here_at_once() {
    let mock = MockNudj::start().await.unwrap();
    let local = MemorySide::default();
    local.edit("1", set("email", "eve@example.com"));
    let sync =
        Bidirectional::new(local.clone(), NudjUsers::new(client(&mock)), MemoryState::default(), Policy::default());
    let synced = sync.sync("1").await.unwrap();
    assert!(synced.wrote_local && synced.wrote_remote);
    assert_eq!(local.get("1").unwrap().fields["username"], "eve");
    assert_eq!(sync.sync("1").await.unwrap(), Synced::default());
}

#[tokio::test]
async fn a_conflict_is_decided_and_recorded() {
    let (mock, local, sync) = both().await;
    let id = mock.users()[0]["id"].as_str().unwrap().to_owned();
    local.edit("42", set("bio", "mine"));
    mock.edit_user(&id, &json!({"bio": "theirs"})).unwrap();
    let conflict = sync.sync("42").await.unwrap().conflict.unwrap();
    let stands = mock.users()[0]["bio"].as_str().unwrap().to_owned();
    assert_eq!(local.get("42").unwrap().fields["bio"], stands);
    let kept: Vec<Conflict> = sync.state().conflicts(10).await.unwrap();
    assert_eq!(kept, std::slice::from_ref(&conflict));
    assert_eq!((conflict.local.unwrap()["bio"].as_str(), conflict.remote.unwrap()["bio"].as_str()), ("mine", "theirs"));
}

#[tokio::test]
async fn a_deletion_goes_both_ways_and_its_tombstone_stays() {
    let (mock, local, sync) = both().await;
    local.remove("42");
    assert!(sync.sync("42").await.unwrap().wrote_remote);
    assert_eq!(mock.users_count(), 0);
    // It shows up again, from a backup say: the tombstone takes it away.
    local.edit("42", set("email", "ada@example.com"));
    assert!(sync.sync("42").await.unwrap().wrote_local);
    assert_eq!(local.get("42"), None);
    // Unless it is to be.
    sync.state().forget("42").await.unwrap();
    local.edit("42", set("email", "ada@example.com"));
    assert!(sync.sync("42").await.unwrap().wrote_remote);
    assert_eq!(mock.users_count(), 1);

    let id = mock.users()[0]["id"].as_str().unwrap().to_owned();
    client(&mock).admin().users().delete(&id).await.unwrap();
    local.edit("42", set("bio", "an edit that is lost"));
    let conflict = sync.sync("42").await.unwrap().conflict.unwrap();
    assert_eq!((conflict.winner, conflict.outcome), (Winner::Deletion, None));
    assert_eq!(local.get("42"), None);
}

#[tokio::test]
async fn an_api_that_is_down_leaves_both_sides_and_the_next_sync_goes_on() {
    let (mock, local, sync) = both().await;
    let fault = mock.inject(nudj_mock::Fault::status(500));
    local.edit("42", set("bio", "later"));
    assert!(matches!(sync.sync("42").await, Err(Error::Remote(_))));
    assert_eq!(sync.sync_known().await.unwrap(), (0, 1));
    mock.remove_fault(fault);
    assert_eq!(sync.sync_known().await.unwrap(), (1, 0));
    assert_eq!(mock.users()[0]["bio"], "later");
}
