use std::sync::Arc;

use super::{super::side::fields, *};

const TIMES: Times = Times { now: 1_000_000, skew: Duration::from_secs(2) };

fn version(pairs: &[(&str, &str)], updated_at: i64) -> Version {
    Version { fields: fields(pairs.iter().copied()), updated_at: Some(updated_at), id: None }
}

fn link(pairs: &[(&str, &str)]) -> Link {
    let fields = fields(pairs.iter().copied());
    Link { local: fields.clone(), remote: fields, ..Link::default() }
}

fn decide(local: &Version, remote: &Version, link: Option<&Link>, policy: &Policy) -> (Fields, Fields, Option<Winner>) {
    match plan("k", Some(local), Some(remote), link, policy, TIMES) {
        Plan::Write { local: to_local, remote: to_remote, conflict } => (
            to_local.unwrap_or_else(|| local.fields.clone()),
            to_remote.unwrap_or_else(|| remote.fields.clone()),
            conflict,
        ),
        Plan::Delete { .. } => panic!("nothing was deleted"),
    }
}

#[test]
fn the_side_that_changed_wins_whatever_the_clocks_say() {
    let link = link(&[("bio", "old")]);
    let (old, new) = (version(&[("bio", "old")], 900_000), version(&[("bio", "new")], 5));
    for policy in [Policy::LastWriterWins, Policy::FieldMerge, Policy::PreferLocal, Policy::PreferRemote] {
        for (local, remote) in [(&old, &new), (&new, &old)] {
            let (here, there, conflict) = decide(local, remote, Some(&link), &policy);
            assert_eq!((&here, &there, conflict), (&new.fields, &new.fields, None), "{policy:?}");
        }
    }
}

#[test]
fn the_later_of_two_edits_wins_and_within_the_skew_the_higher_hash() {
    let link = link(&[("bio", "old")]);
    let (a, b) = ("a", "b");
    let winner = |here_at, there_at, mine, theirs| {
        let (local, remote) = (version(&[("bio", mine)], here_at), version(&[("bio", theirs)], there_at));
        decide(&local, &remote, Some(&link), &Policy::LastWriterWins).2.unwrap()
    };
    assert_eq!(winner(10_000, 12_001, a, b), Winner::Remote);
    assert_eq!(winner(12_001, 10_000, a, b), Winner::Local);
    // A tie gives the same value, whichever side has it.
    let tie = |here_at, there_at| {
        (winner(here_at, there_at, a, b) == Winner::Local, winner(there_at, here_at, b, a) == Winner::Remote)
    };
    for (here_at, there_at) in [(10_000, 12_000), (12_000, 10_000), (10_000, 10_000)] {
        let (one, other) = tie(here_at, there_at);
        assert_eq!(one, other);
        assert_eq!(one, winner(10_000, 10_000, a, b) == Winner::Local, "by the hash, not by the time");
    }
    // Both beyond the clock: neither is later.
    assert_eq!(winner(2_000_000, 9_000_000, a, b), winner(9_000_000, 2_000_000, a, b));
    // One that is far ahead counts as now, and a real edit of now is no earlier.
    assert_eq!(winner(9_000_000, 1_000_000, a, b), winner(1_000_000, 9_000_000, a, b));
}

#[test]
fn fields_that_one_side_changed_are_all_kept() {
    let link = link(&[("bio", "old"), ("displayName", "Ada"), ("gone", "x")]);
    let local = version(&[("bio", "new"), ("displayName", "Ada"), ("gone", "x")], 1);
    let remote = version(&[("bio", "old"), ("displayName", "Ada L.")], 500_000);
    let merged = fields([("bio", "new"), ("displayName", "Ada L.")]);
    assert_eq!(decide(&local, &remote, Some(&link), &Policy::FieldMerge), (merged.clone(), merged, None));
    // As a whole record, one side's edit is lost, and that is told.
    assert_eq!(
        decide(&local, &remote, Some(&link), &Policy::LastWriterWins),
        (remote.fields.clone(), remote.fields.clone(), Some(Winner::Remote))
    );
}

#[test]
fn each_policy_has_its_say_when_both_changed() {
    let link = link(&[("bio", "old")]);
    let (local, remote) = (version(&[("bio", "l")], 1), version(&[("bio", "r")], 500_000));
    let said = |policy: Policy| decide(&local, &remote, Some(&link), &policy).0["bio"].clone();
    assert_eq!(said(Policy::PreferLocal), "l");
    assert_eq!(said(Policy::PreferRemote), "r");
    assert_eq!(said(Policy::LastWriterWins), "r");
    assert_eq!(said(Policy::FieldMerge), "r");
    let both = |_: &str, l: &Version, r: &Version| {
        fields([("bio", format!("{}{}", l.fields["bio"], r.fields["bio"]).as_str())])
    };
    assert_eq!(said(Policy::Callback(Arc::new(both))), "lr");
}

#[test]
fn a_first_meeting_joins_what_each_has_alone() {
    let (local, remote) = (version(&[("bio", "b")], 1), version(&[("displayName", "d")], 2));
    let joined = fields([("bio", "b"), ("displayName", "d")]);
    let callback = Policy::Callback(Arc::new(|_: &str, _: &Version, _: &Version| panic!("there is no conflict")));
    for policy in [Policy::LastWriterWins, Policy::FieldMerge, Policy::PreferLocal, Policy::PreferRemote, callback] {
        assert_eq!(decide(&local, &remote, None, &policy), (joined.clone(), joined.clone(), None), "{policy:?}");
    }
    // Where they differ in a field, that is decided, and the rest is joined all the same.
    let (local, remote) = (version(&[("bio", "b"), ("x", "l")], 1), version(&[("displayName", "d"), ("x", "r")], 2));
    let (here, there, conflict) = decide(&local, &remote, None, &Policy::PreferRemote);
    let joined = fields([("bio", "b"), ("displayName", "d"), ("x", "r")]);
    assert_eq!((here, there, conflict), (joined.clone(), joined, Some(Winner::Remote)));
}

#[test]
fn what_one_side_cannot_take_is_not_lost_to_a_conflict_over_another_field() {
    let mut link = link(&[("bio", "old")]);
    link.local.insert("email".to_owned(), "new@example.com".to_owned());
    link.remote.insert("email".to_owned(), "old@example.com".to_owned());
    let local = version(&[("bio", "l"), ("email", "new@example.com")], 1);
    let remote = version(&[("bio", "r"), ("email", "old@example.com")], 500_000);
    for policy in [Policy::LastWriterWins, Policy::FieldMerge, Policy::PreferLocal, Policy::PreferRemote] {
        let (here, there, conflict) = decide(&local, &remote, Some(&link), &policy);
        assert_eq!((here["email"].as_str(), there["email"].as_str()), ("new@example.com", "old@example.com"));
        assert_eq!(here["bio"], there["bio"]);
        assert!(conflict.is_some());
    }
}

#[test]
fn a_deletion_wins_over_an_edit_and_over_coming_back() {
    let edited = version(&[("bio", "new")], 900_000);
    let mut link = link(&[("bio", "old")]);
    let policy = Policy::PreferLocal;
    assert_eq!(plan("k", Some(&edited), None, Some(&link), &policy, TIMES), Plan::Delete { conflict: true });
    let same = version(&[("bio", "old")], 1);
    assert_eq!(plan("k", None, Some(&same), Some(&link), &policy, TIMES), Plan::Delete { conflict: false });
    link.deleted = true;
    assert_eq!(plan("k", Some(&edited), Some(&edited), Some(&link), &policy, TIMES), Plan::Delete { conflict: false });
}
