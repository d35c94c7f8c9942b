//! Users of the mock, through the real client.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Method;
use nudj_client::Client;
use nudj_mock::{Fault, FaultId, MockNudj};
use nudj_sync::{
    Error, SystemClock, WallClock,
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
async fn a_side_that_has_lost_nearly_all_takes_nothing_along() {
    let (mock, local, sync) = both().await;
    for number in 0..9 {
        let key = format!("user-{number}");
        local.edit(&key, set("email", &format!("{number}@example.com")));
        sync.sync(&key).await.unwrap();
    }
    // As another organisation's token shows it.
    let gone = mock.inject(Fault::status(404).on(Method::GET, "/api/v2/admin/users/*"));
    let error = sync.sync_known().await.unwrap_err();
    assert!(matches!(error, Error::TooManyGone { gone: 10, of: 10 }), "{error}");
    assert!(local.get("42").is_some() && mock.users_count() == 10);
    mock.remove_fault(gone);
    assert_eq!(sync.sync_known().await.unwrap(), (0, 0));

    // One or two may go.
    for number in 0..2 {
        local.remove(&format!("user-{number}"));
    }
    assert_eq!(sync.sync_known().await.unwrap(), (2, 0));
    for number in 2..6 {
        local.remove(&format!("user-{number}"));
    }
    let error = sync.sync_known().await.unwrap_err();
    assert!(matches!(error, Error::TooManyGone { gone: 4, of: 8 }), "{error}");
    // Whoever means it says so.
    for number in 2..6 {
        assert!(sync.sync(&format!("user-{number}")).await.unwrap().wrote_remote);
    }
    assert_eq!(sync.sync_known().await.unwrap(), (0, 0));
}

/// Tombstones are kept for ever, and a record whose sync fails was not looked at: with them a few live records seemed a small share.
#[tokio::test]
async fn only_records_that_are_there_count_for_the_share_that_may_be_gone() {
    let (mock, local, sync) = both().await;
    for number in 0..139 {
        let key = format!("user-{number:03}");
        local.edit(&key, set("email", &format!("{number}@example.com")));
        sync.sync(&key).await.unwrap();
    }
    // More than the keys of one read.
    for number in 0..120 {
        let key = format!("user-{number:03}");
        local.remove(&key);
        assert!(sync.sync(&key).await.unwrap().wrote_remote);
    }
    let failing = sync.state().link("42").await.unwrap().unwrap().remote_id.unwrap();
    let fails = mock.inject(Fault::status(500).on(Method::GET, &format!("/api/v2/admin/users/{failing}")));
    let gone = mock.inject(Fault::status(404).on(Method::GET, "/api/v2/admin/users/*"));
    let error = sync.sync_known().await.unwrap_err();
    assert!(matches!(error, Error::TooManyGone { gone: 19, of: 19 }), "{error}");
    assert!((120..139).all(|number| local.get(&format!("user-{number:03}")).is_some()));
    mock.remove_fault(gone);
    assert_eq!(sync.sync_known().await.unwrap(), (0, 1));
    mock.remove_fault(fails);
    assert_eq!(sync.sync_known().await.unwrap(), (0, 0));
}

/// `sync_known` goes through the keys after the empty one.
#[tokio::test]
async fn an_empty_key_is_refused_for_nothing_would_find_it_again() {
    let (_mock, local, sync) = both().await;
    local.edit("", set("email", "nobody@example.com"));
    assert!(matches!(sync.sync("").await, Err(Error::Config { field: "key", .. })));
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

const USER: &str = "/api/v2/admin/users/{id}";

/// A record that was edited yesterday, and a sync of it that was cut off after the POST.
async fn half_done() -> (MockNudj, MemorySide, Sync, FaultId) {
    let mock = MockNudj::start().await.unwrap();
    let patches = mock.inject(Fault::status(500).on(Method::PATCH, USER));
    let local = MemorySide::with_clock(Arc::new(Yesterday));
    local.edit("42", |fields| {
        fields.insert("email".to_owned(), "ada@example.com".to_owned());
        fields.insert("bio".to_owned(), "counts".to_owned());
    });
    let sync =
        Bidirectional::new(local.clone(), NudjUsers::new(client(&mock)), MemoryState::default(), Policy::default());
    assert!(matches!(sync.sync("42").await, Err(Error::Remote(_))));
    assert_eq!(mock.users_count(), 1);
    (mock, local, sync, patches)
}

#[derive(Debug)]
struct Yesterday;

impl WallClock for Yesterday {
    fn now(&self) -> SystemTime {
        SystemClock.now() - Duration::from_secs(86_400)
    }
}

/// The POST was done and the PATCH was not. Nothing was noted, so the next sync took the whole record at Nudj for a later edit, and
/// erased here what the PATCH was to write.
#[tokio::test]
async fn a_first_write_that_was_cut_off_halfway_is_finished_and_erases_nothing() {
    let (mock, local, sync, patches) = half_done().await;
    assert!(matches!(sync.sync("42").await, Err(Error::Remote(_))), "still down");
    mock.remove_fault(patches);
    let synced = sync.sync("42").await.unwrap();
    assert_eq!((synced.wrote_local, synced.wrote_remote, synced.conflict), (true, true, None));
    let (here, there) = (local.get("42").unwrap().fields, mock.users()[0].clone());
    assert_eq!((here["bio"].as_str(), &there["bio"]), ("counts", &json!("counts")));
    assert_eq!((here["username"].as_str(), mock.users_count()), ("ada", 1), "what Nudj added came here");
    assert_eq!(sync.sync("42").await.unwrap(), Synced::default());
}

/// The process died before it could note anything.
#[tokio::test]
async fn a_first_write_that_nobody_noted_is_finished_and_erases_nothing() {
    let (mock, local, _, patches) = half_done().await;
    mock.remove_fault(patches);
    let sync =
        Bidirectional::new(local.clone(), NudjUsers::new(client(&mock)), MemoryState::default(), Policy::default());
    assert_eq!(sync.sync("42").await.unwrap().conflict, None);
    assert_eq!(
        (local.get("42").unwrap().fields["bio"].as_str(), &mock.users()[0]["bio"]),
        ("counts", &json!("counts"))
    );
}

#[tokio::test]
async fn a_first_write_that_was_cut_off_halfway_is_known_to_be_ours() {
    let (mock, local, sync, _) = half_done().await;
    // An edit since then meets what we wrote ourselves, not an edit of another.
    local.edit("42", set("email", "ada.l@example.com"));
    local.edit("42", set("bio", ""));
    let synced = sync.sync("42").await.unwrap();
    assert_eq!((synced.conflict, local.get("42").unwrap().fields["email"].as_str()), (None, "ada.l@example.com"));
    // And a record that is deleted does not come back.
    local.remove("42");
    sync.sync("42").await.unwrap();
    assert_eq!((local.get("42"), mock.users_count()), (None, 0));
}

/// A changed email cannot be sent. It was noted as if it had been, and a conflict over another field took it back here.
#[tokio::test]
async fn a_change_that_nudj_cannot_take_is_kept_here() {
    let (mock, local, _) = both().await;
    let sync =
        Bidirectional::new(local.clone(), NudjUsers::new(client(&mock)), MemoryState::default(), Policy::PreferRemote);
    assert_eq!(sync.sync("42").await.unwrap(), Synced::default());
    local.edit("42", set("email", "ada.l@example.com"));
    assert_eq!(sync.sync("42").await.unwrap(), Synced::default(), "nothing was sent");
    local.edit("42", set("bio", "mine"));
    mock.edit_user(mock.users()[0]["id"].as_str().unwrap(), &json!({"bio": "theirs"})).unwrap();
    assert_eq!(sync.sync("42").await.unwrap().conflict.unwrap().winner, Winner::Remote);
    let here = local.get("42").unwrap().fields;
    assert_eq!((here["bio"].as_str(), here["email"].as_str()), ("theirs", "ada.l@example.com"));
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
    let fault = mock.inject(Fault::status(500));
    local.edit("42", set("bio", "later"));
    assert!(matches!(sync.sync("42").await, Err(Error::Remote(_))));
    assert_eq!(sync.sync_known().await.unwrap(), (0, 1));
    mock.remove_fault(fault);
    assert_eq!(sync.sync_known().await.unwrap(), (1, 0));
    assert_eq!(mock.users()[0]["bio"], "later");
}
