use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cdc::logical::{decode::Column, table::Table};

fn tables() -> Arc<Tables> {
    let key = vec![("id".to_owned(), "bigint".to_owned())];
    let columns = [("id", 20), ("name", 25), ("bio", 25)].map(|(name, kind)| (name.to_owned(), kind)).into();
    Arc::new(Tables::from([(7, Table { name: "users".into(), key, columns, print: 11 })]))
}

fn relation(columns: &[(&str, u32, bool)]) -> Message<'static> {
    let columns =
        columns.iter().map(|(name, kind, is_key)| Column { is_key: *is_key, name: (*name).into(), kind: *kind });
    let (schema, name) = ("public".into(), "users".into());
    Message::Relation(Relation { id: 7, schema, name, identity: b'd', columns: columns.collect() })
}

fn users() -> Message<'static> {
    relation(&[("id", 20, true), ("name", 25, false), ("bio", 25, false)])
}

fn started(at: Place) -> Assembler {
    let mut assembler = Assembler::new(tables(), at);
    assembler.take(users()).unwrap();
    assembler
}

const fn text(text: &str) -> Cell<'_> {
    Cell::Text(text.as_bytes())
}

fn place(after: u64, commit: u64, told: u64) -> Option<Position> {
    Some(Place { after, within: Some((commit, told)) }.position("0000000b"))
}

fn between(after: u64) -> Option<Position> {
    Some(Place::between(after).position("0000000b"))
}

#[test]
fn transaction_is_its_changes_and_the_place_behind_them() {
    let mut assembler = started(Place::between(10));
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("1"), text("Ada"), Cell::Null] }).unwrap();
    assembler.take(Message::Delete { relation: 7, old: Old::Key(vec![text("2"), Cell::Null, Cell::Null]) }).unwrap();
    let (batch, gaps) = assembler.give(10);
    assert_eq!(gaps, []);
    assert_eq!(batch.position, None, "a commit is missing");
    assert_eq!(batch.changes[0].new, Some(json!({"id": 1, "name": "Ada", "bio": null}).as_object().unwrap().clone()));
    assert_eq!(batch.changes[0].position, place(10, 20, 1));
    // Of the other columns it was not told that they are null.
    assert_eq!(batch.changes[1].old, Some(json!({"id": 2}).as_object().unwrap().clone()));
    assert_eq!(batch.changes[1].record.to_string(), "users/2");
    assert_eq!(batch.changes[1].position, place(10, 20, 2));
    assembler.take(Message::Commit { end: 30 }).unwrap();
    assert_eq!(assembler.give(10).0.position, between(30));
}

#[test]
fn what_was_done_of_a_transaction_is_left_out_and_nothing_of_the_next() {
    let mut assembler = started(Place { after: 10, within: Some((20, 2)) });
    for commit in [20, 40] {
        assembler.take(Message::Begin { commit }).unwrap();
        for id in ["1", "2", "3"] {
            assembler.take(Message::Insert { relation: 7, new: vec![text(id), Cell::Null, Cell::Null] }).unwrap();
        }
        assembler.take(Message::Commit { end: commit + 5 }).unwrap();
    }
    let (batch, _) = assembler.give(10);
    let keys: Vec<_> = batch.changes.iter().map(|change| change.record.key.as_str()).collect();
    assert_eq!(keys, ["3", "1", "2", "3"]);
    assert_eq!(batch.changes[0].position, place(10, 20, 3));
    assert_eq!(batch.changes[1].position, place(25, 40, 1));
}

#[test]
fn another_transaction_than_the_one_that_was_begun_is_told_in_full() {
    let mut assembler = started(Place { after: 10, within: Some((20, 2)) });
    assembler.take(Message::Begin { commit: 21 }).unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("1"), Cell::Null, Cell::Null] }).unwrap();
    assert_eq!(assembler.give(10).0.changes.len(), 1);
}

#[test]
fn row_that_moves_to_another_key_is_a_deletion_and_an_insertion() {
    let mut assembler = started(Place::default());
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    let old = Some(Old::Key(vec![text("1"), Cell::Null, Cell::Null]));
    assembler.take(Message::Update { relation: 7, old, new: vec![text("5"), text("Ada"), Cell::Unchanged] }).unwrap();
    let (batch, gaps) = assembler.give(10);
    let told: Vec<_> = batch
        .changes
        .iter()
        .map(|change| (change.operation, change.record.key.as_str(), change.new.is_some()))
        .collect();
    assert_eq!(told, [(Operation::Delete, "1", false), (Operation::Insert, "5", true)]);
    assert_eq!(gaps, [Gap { at: 1, columns: vec!["bio".into()] }]);
}

#[test]
fn column_that_was_not_told_comes_from_the_row_before_where_that_is_whole() {
    let mut assembler = started(Place::default());
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    let old = Some(Old::Full(vec![text("1"), text("Ada"), text("long")]));
    assembler.take(Message::Update { relation: 7, old, new: vec![text("1"), text("Eve"), Cell::Unchanged] }).unwrap();
    let (batch, gaps) = assembler.give(10);
    assert_eq!((batch.changes.len(), gaps.len()), (1, 0));
    assert_eq!(batch.changes[0].new.as_ref().unwrap()["bio"], "long");
    assert_eq!(batch.changes[0].old.as_ref().unwrap()["name"], "Ada");
}

#[test]
fn table_changes_its_columns_in_the_middle_of_the_stream() {
    let mut assembler = started(Place::default());
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    assembler.take(relation(&[("id", 20, true), ("title", 25, false)])).unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("1"), text("Dr")] }).unwrap();
    // The key too may get another name.
    assembler.take(relation(&[("number", 20, true)])).unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("2")] }).unwrap();
    let (batch, _) = assembler.give(10);
    assert_eq!(batch.changes[0].column("title"), Some(&json!("Dr")));
    assert_eq!(batch.changes[1].record.key, "2");
}

#[test]
fn row_of_another_key_ends_the_stream_whatever_it_is() {
    let old = || Old::Key(vec![Cell::Null, text("5")]);
    let new = || vec![text("1"), text("5")];
    for message in [
        Message::Insert { relation: 7, new: new() },
        Message::Update { relation: 7, old: None, new: new() },
        Message::Update { relation: 7, old: Some(old()), new: new() },
        Message::Delete { relation: 7, old: old() },
    ] {
        let mut assembler = started(Place::default());
        assembler.take(Message::Begin { commit: 20 }).unwrap();
        assembler.take(relation(&[("id", 20, false), ("code", 20, true)])).unwrap();
        assert_eq!(assembler.take(message), Err(Broken::Keyless("users".into())));
    }
}

#[test]
fn column_of_a_domain_is_read_as_what_it_is_made_of() {
    let kind = |id, schema: &str, name: &str| Message::Type { id, schema: schema.into(), name: name.into() };
    let mut assembler = started(Place::default());
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    // One of this name that somebody has made is no number.
    for kind in [kind(90_000, "", "int8"), kind(90_001, "public", "int8"), kind(90_002, "", "text")] {
        assembler.take(kind).unwrap();
    }
    assembler
        .take(relation(&[("id", 20, true), ("a", 90_000, false), ("b", 90_001, false), ("c", 90_002, false)]))
        .unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("1"); 4] }).unwrap();
    let row = json!({"id": 1, "a": 1, "b": "1", "c": "1"});
    assert_eq!(assembler.give(1).0.changes[0].new.as_ref(), row.as_object());
}

#[test]
fn emptied_table_ends_a_batch() {
    let mut assembler = started(Place::default());
    assembler.take(Message::Begin { commit: 20 }).unwrap();
    assembler.take(Message::Insert { relation: 7, new: vec![text("1"), Cell::Null, Cell::Null] }).unwrap();
    assembler.take(Message::Truncate { relations: vec![7] }).unwrap();
    assert!(assembler.is_ready(100));
    assembler.take(Message::Insert { relation: 7, new: vec![text("2"), Cell::Null, Cell::Null] }).unwrap();
    let (batch, _) = assembler.give(10);
    assert_eq!((batch.changes.len(), batch.emptied, batch.position), (1, vec!["users".to_owned()], place(0, 20, 2)));
    assert_eq!(assembler.give(10).0.changes[0].position, place(0, 20, 3));
}

#[test]
fn place_is_given_out_between_transactions_only_and_not_for_every_little_thing() {
    let mut assembler = started(Place::between(10));
    assembler.passed(20);
    assert!(!assembler.is_ready(1));
    assembler.take(Message::Begin { commit: 90 }).unwrap();
    assembler.passed(100 + QUIET_STEP);
    assert!(!assembler.is_ready(1), "in the middle of a transaction");
    assembler.take(Message::Commit { end: 95 }).unwrap();
    assert!(!assembler.is_ready(1), "nothing of ours was in it");
    assembler.passed(100 + QUIET_STEP);
    assert_eq!(assembler.give(1).0.position, between(100 + QUIET_STEP));
}

#[test]
fn what_cannot_be_followed_is_said() {
    let mut assembler = Assembler::new(tables(), Place::default());
    assert_eq!(assembler.take(Message::Insert { relation: 7, new: vec![text("1")] }), Err(Broken::Unknown));
    assembler.take(users()).unwrap();
    assert!(matches!(assembler.take(Message::Insert { relation: 7, new: vec![text("1")] }), Err(Broken::Malformed(_))));
    assembler.take(relation(&[("name", 25, false)])).unwrap();
    assembler.take(Message::Begin { commit: 1 }).unwrap();
    assert_eq!(
        assembler.take(Message::Insert { relation: 7, new: vec![text("1")] }),
        Err(Broken::Keyless("users".into()))
    );
    for id in 8..MAX_RELATIONS as u32 + 7 {
        let other = Relation { id, schema: String::new(), name: String::new(), identity: b'd', columns: Vec::new() };
        assembler.take(Message::Relation(other)).unwrap();
    }
    let one_more = Relation { id: 6, schema: String::new(), name: String::new(), identity: b'd', columns: Vec::new() };
    assert_eq!(assembler.take(Message::Relation(one_more)), Err(Broken::Crowded));
    let kind = |id| Message::Type { id, schema: String::new(), name: "int8".into() };
    assert!((0..MAX_RELATIONS as u32).all(|id| assembler.take(kind(id)).is_ok()));
    assert_eq!(assembler.take(kind(MAX_RELATIONS as u32)), Err(Broken::Crowded));
}

proptest! {
    /// However it is cut into batches, and wherever it is begun again: every change once, in order.
    #[test]
    fn resumed_anywhere_every_change_is_told_once(
        sizes in prop::collection::vec(0_usize..6, 1..6),
        limit in 1_usize..4,
        stop: prop::sample::Index,
    ) {
        let play = |at: Place| {
            let mut assembler = started(at);
            let mut told = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let commit = 100 * (number as u64 + 1);
                // The server begins behind the last whole transaction.
                if commit < at.after { continue; }
                assembler.take(Message::Begin { commit }).unwrap();
                for row in 0..*size {
                    let key = format!("{number}{row}");
                    let new = vec![Cell::Text(key.as_bytes()), Cell::Null, Cell::Null];
                    assembler.take(Message::Insert { relation: 7, new }).unwrap();
                }
                assembler.take(Message::Commit { end: commit + 50 }).unwrap();
            }
            while assembler.is_ready(1) {
                let (batch, _) = assembler.give(limit);
                assert!(batch.changes.len() <= limit);
                told.extend(batch.changes.into_iter().map(|change| (change.record.key, change.position.unwrap())));
            }
            told
        };
        let whole = play(Place::default());
        if whole.is_empty() { return Ok(()); }
        let stop = stop.index(whole.len());
        let rest = play(Place::read(&whole[stop].1).unwrap());
        prop_assert_eq!(&rest[..], &whole[stop + 1..]);
    }

    #[test]
    fn any_messages_do_no_harm(bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let mut assembler = started(Place::default());
        for bytes in &bytes {
            if let Ok(message) = Message::read(bytes) {
                let _ = assembler.take(message);
            }
            assembler.give(3);
        }
    }
}
