//! What an SQLite file remembers after a restart.

use nudj_sync::bidirectional::{
    Bidirectional, Conflict, Link, MemorySide, MemoryState, Policy, SqliteState, State, Synced, Winner, fields,
};

async fn keeps_what_it_is_given(state: &impl State) {
    let link = Link { local: fields([("bio", "x")]), remote_id: Some("7".to_owned()), ..Link::default() };
    let conflict = |at| Conflict {
        key: "a".to_owned(),
        local: None,
        remote: Some(fields([("bio", "y")])),
        outcome: None,
        winner: Winner::Deletion,
        at,
    };
    assert_eq!(state.link("a").await.unwrap(), None);
    for key in ["a", "b", "c"] {
        state.save(key, &Link::default(), None).await.unwrap();
    }
    state.save("a", &link, Some(&conflict(1))).await.unwrap();
    state.save("a", &link, Some(&conflict(2))).await.unwrap();
    assert_eq!(state.link("a").await.unwrap(), Some(link));
    assert_eq!(state.conflicts(1).await.unwrap(), [conflict(2)]);
    assert_eq!(state.conflicts(9).await.unwrap(), [conflict(2), conflict(1)]);
    assert_eq!(state.keys("", 2).await.unwrap(), ["a", "b"]);
    assert_eq!(state.keys("b", 2).await.unwrap(), ["c"]);
    state.forget("a").await.unwrap();
    assert_eq!(state.link("a").await.unwrap(), None);
}

#[tokio::test]
async fn both_states_keep_what_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_it_is_given(&MemoryState::default()).await;
    keeps_what_it_is_given(&SqliteState::open(folder.path().join("state.db")).await.unwrap()).await;
}

#[tokio::test]
async fn a_deletion_between_two_runs_is_seen_by_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (MemorySide::default(), MemorySide::default());
    here.edit("k", |record| *record = fields([("bio", "x")]));
    for (run, expected) in
        [Synced { wrote_remote: true, ..Synced::default() }, Synced { wrote_local: true, ..Synced::default() }]
            .into_iter()
            .enumerate()
    {
        let state = SqliteState::open(folder.path().join("state.db")).await.unwrap();
        let sync = Bidirectional::new(here.clone(), there.clone(), state, Policy::LastWriterWins);
        assert_eq!(sync.sync("k").await.unwrap(), expected, "run {run}");
        assert_eq!(sync.sync("k").await.unwrap(), Synced::default());
        there.remove("k");
    }
    assert_eq!(here.get("k"), None);
}
