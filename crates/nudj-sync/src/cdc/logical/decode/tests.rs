use proptest::prelude::*;

use super::*;

/// Writes messages as the server does.
pub(in super::super) fn write(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Message::Begin { commit } => {
            out.push(b'B');
            out.extend(commit.to_be_bytes());
            out.extend([0; 12]);
        }
        Message::Commit { end } => {
            out.push(b'C');
            out.extend([0; 9]);
            out.extend(end.to_be_bytes());
            out.extend([0; 8]);
        }
        Message::Relation(relation) => {
            out.push(b'R');
            out.extend(relation.id.to_be_bytes());
            out.extend(relation.schema.bytes().chain([0]).chain(relation.name.bytes()).chain([0, relation.identity]));
            out.extend((relation.columns.len() as u16).to_be_bytes());
            for column in &relation.columns {
                out.push(u8::from(column.is_key));
                out.extend(column.name.bytes().chain([0]));
                out.extend(column.kind.to_be_bytes());
                out.extend([0xff; 4]);
            }
        }
        Message::Insert { relation, new } => {
            out.push(b'I');
            out.extend(relation.to_be_bytes());
            row(&mut out, b'N', new);
        }
        Message::Update { relation, old, new } => {
            out.push(b'U');
            out.extend(relation.to_be_bytes());
            if let Some(before) = old {
                self::old(&mut out, before);
            }
            row(&mut out, b'N', new);
        }
        Message::Delete { relation, old } => {
            out.push(b'D');
            out.extend(relation.to_be_bytes());
            self::old(&mut out, old);
        }
        Message::Truncate { relations } => {
            out.push(b'T');
            out.extend((relations.len() as u32).to_be_bytes());
            out.push(0);
            relations.iter().for_each(|relation| out.extend(relation.to_be_bytes()));
        }
        Message::Type { id, schema, name } => {
            out.push(b'Y');
            out.extend(id.to_be_bytes());
            out.extend(schema.bytes().chain([0]).chain(name.bytes()).chain([0]));
        }
        Message::Other => out.push(b'O'),
    }
    out
}

fn old(out: &mut Vec<u8>, old: &Old<'_>) {
    match old {
        Old::Key(cells) => row(out, b'K', cells),
        Old::Full(cells) => row(out, b'O', cells),
    }
}

fn row(out: &mut Vec<u8>, kind: u8, cells: &[Cell<'_>]) {
    out.push(kind);
    out.extend((cells.len() as u16).to_be_bytes());
    for cell in cells {
        match cell {
            Cell::Null => out.push(b'n'),
            Cell::Unchanged => out.push(b'u'),
            Cell::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(*text);
            }
        }
    }
}

fn cells() -> impl Strategy<Value = Vec<Cell<'static>>> {
    let text = prop::sample::select(vec![&b""[..], b"1", b"two\0", "drei ß".as_bytes()]);
    let cell = prop_oneof![Just(Cell::Null), Just(Cell::Unchanged), text.prop_map(Cell::Text)];
    prop::collection::vec(cell, 0..5)
}

fn olds() -> impl Strategy<Value = Old<'static>> {
    prop_oneof![cells().prop_map(Old::Key), cells().prop_map(Old::Full)]
}

fn messages() -> impl Strategy<Value = Message<'static>> {
    let columns = prop::collection::vec(
        (any::<bool>(), "[a-zß]{1,4}", any::<u32>()).prop_map(|(is_key, name, kind)| Column { is_key, name, kind }),
        0..4,
    );
    prop_oneof![
        any::<u64>().prop_map(|commit| Message::Begin { commit }),
        any::<u64>().prop_map(|end| Message::Commit { end }),
        (any::<u32>(), "[a-z]{0,4}", "[a-z]{0,4}", any::<u8>(), columns).prop_map(
            |(id, schema, name, identity, columns)| {
                Message::Relation(Relation { id, schema, name, identity, columns })
            }
        ),
        (any::<u32>(), "[a-z]{0,4}", "[a-z]{0,4}").prop_map(|(id, schema, name)| Message::Type { id, schema, name }),
        (any::<u32>(), cells()).prop_map(|(relation, new)| Message::Insert { relation, new }),
        (any::<u32>(), prop::option::of(olds()), cells()).prop_map(|(relation, old, new)| Message::Update {
            relation,
            old,
            new
        }),
        (any::<u32>(), olds()).prop_map(|(relation, old)| Message::Delete { relation, old }),
        prop::collection::vec(any::<u32>(), 0..4).prop_map(|relations| Message::Truncate { relations }),
    ]
}

proptest! {
    #[test]
    fn what_the_server_writes_is_read(message in messages()) {
        let bytes = write(&message);
        prop_assert_eq!(Message::read(&bytes), Ok(message));
    }

    #[test]
    fn what_is_cut_or_has_more_behind_it_is_refused(message in messages(), at: prop::sample::Index, more: u8) {
        let mut bytes = write(&message);
        prop_assert!(Message::read(&bytes[..at.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert!(Message::read(&bytes).is_err());
    }

    #[test]
    fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::read(&bytes);
    }

    /// Garbage that gets past the first byte.
    #[test]
    fn damage_does_no_harm(message in messages(), at: prop::sample::Index, byte: u8) {
        let mut bytes = write(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Message::read(&bytes);
    }
}

#[test]
fn count_that_promises_more_than_there_is_takes_no_memory() {
    assert!(Message::read(b"T\xff\xff\xff\xff\0\0\0\0\x01").is_err());
    assert!(Message::read(b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff").is_err());
}
