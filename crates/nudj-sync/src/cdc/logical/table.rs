//! The captured tables as the catalog has them, and their keys as the stream tells them, which may be of another time.

use std::collections::HashMap;

use super::decode::Relation;
use crate::cdc::change::stable_hash;

/// A table that is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// As it was configured.
    pub(super) name: String,
    /// The columns of its primary key in their order, with their types.
    pub(super) key: Vec<(String, String)>,
    /// All its columns in the order in which they were made, with the ids of their types.
    pub(super) columns: Vec<(String, u32)>,
    /// Names the table and its key, whatever they are called.
    pub(super) print: u32,
}

/// The captured tables by the id that the stream knows them by.
pub(super) type Tables = HashMap<u32, Table>;

impl Table {
    /// Of the table with this id, whose key's columns have these numbers.
    pub(super) fn print(id: u32, numbers: &[i16]) -> u32 {
        let hash = stable_hash(&format!("{id} {numbers:?}"));
        (hash ^ (hash >> 32)) as u32
    }

    /// What the key's columns are called in `relation`, in their order. `None` where another key may have taken their place: a row would be taken
    /// for another record's.
    pub(super) fn key_in(&self, relation: &Relation) -> Option<Vec<String>> {
        let known = |name: &str| self.columns.iter().position(|(column, _)| column == name);
        let there = |name: &str| relation.columns.iter().position(|column| column.name == name);
        // With the primary key for what a row is known by, nothing beside it is told of an old row: there is more, or less, in another.
        if relation.identity == b'd' && relation.columns.iter().filter(|column| column.is_key).count() != self.key.len()
        {
            return None;
        }
        // Columns keep their order: what was renamed is, in that order, what one of both has and the other has not.
        let key: Vec<usize> = self.key.iter().map(|(name, _)| known(name)).collect::<Option<_>>()?;
        let gone = |at: &usize| there(&self.columns[*at].0).is_none();
        let mut gone: Vec<usize> = key.iter().copied().filter(gone).collect();
        gone.sort_unstable();
        let is_new = |at: &usize| relation.columns[*at].is_key && known(&relation.columns[*at].name).is_none();
        let new: Vec<usize> = (0..relation.columns.len()).filter(is_new).collect();
        if !gone.is_empty() && gone.len() != new.len() {
            return None;
        }
        let renamed: HashMap<usize, usize> = gone.into_iter().zip(new).collect();
        let place = |at: usize| {
            let (name, kind) = &self.columns[at];
            let place = match renamed.get(&at) {
                Some(place) => Some(*place).filter(|place| relation.columns[*place].kind == *kind),
                None => there(name),
            }?;
            // Among the columns that both know: one that came since stands behind them all.
            let is_in_place = relation
                .columns
                .iter()
                .enumerate()
                .all(|(other, column)| known(&column.name).is_none_or(|known| known.cmp(&at) == other.cmp(&place)));
            let column = &relation.columns[place];
            (is_in_place && column.is_key).then(|| column.name.clone())
        };
        key.into_iter().map(place).collect()
    }
}

/// Kept with a place: by which keys its records were named.
pub(super) fn prints(tables: &Tables) -> String {
    let mut prints: Vec<String> = tables.values().map(|table| format!("{:08x}", table.print)).collect();
    prints.sort_unstable();
    prints.join(".")
}

/// Whether the tables are among those that a place was kept for, with the same keys.
pub(super) fn are_among(tables: &Tables, prints: &str) -> bool {
    tables.values().all(|table| {
        let print = format!("{:08x}", table.print);
        prints.split('.').any(|other| other == print)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdc::logical::decode::Column;

    const NUMBER: u32 = 20;
    const TEXT: u32 = 25;
    const UUID: u32 = 2950;

    fn table(key: &[&str], columns: &[(&str, u32)]) -> Table {
        Table {
            name: "users".into(),
            key: key.iter().map(|name| ((*name).into(), String::new())).collect(),
            columns: columns.iter().map(|(name, kind)| ((*name).into(), *kind)).collect(),
            print: 0,
        }
    }

    fn told(table: &Table, columns: &[(&str, u32, bool)]) -> Option<Vec<String>> {
        let column =
            |(name, kind, is_key): &(&str, u32, bool)| Column { is_key: *is_key, name: (*name).into(), kind: *kind };
        let (schema, name) = ("public".into(), "users".into());
        let identity = if columns.iter().all(|(.., is_key)| *is_key) { b'f' } else { b'd' };
        table.key_in(&Relation { id: 7, schema, name, identity, columns: columns.iter().map(column).collect() })
    }

    fn named(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn key_is_found_by_its_name_or_where_it_was_renamed() {
        let users = table(&["id"], &[("id", NUMBER), ("name", TEXT), ("code", NUMBER)]);
        assert_eq!(told(&users, &[("id", NUMBER, true), ("name", TEXT, false)]), named(&["id"]));
        // With the whole row.
        assert_eq!(told(&users, &[("id", NUMBER, true), ("name", TEXT, true), ("more", TEXT, true)]), named(&["id"]));
        let renamed = [("number", NUMBER, true), ("name", TEXT, false), ("code", NUMBER, false), ("more", TEXT, false)];
        assert_eq!(told(&users, &renamed), named(&["number"]));
        let whole = [("number", NUMBER, true), ("name", TEXT, true), ("code", NUMBER, true)];
        assert_eq!(told(&users, &whole), named(&["number"]));
        // Another type is the same key while its name is.
        assert_eq!(told(&users, &[("id", UUID, true), ("name", TEXT, false)]), named(&["id"]));
        // The key's order is its own.
        let pairs = table(&["q", "p"], &[("p", TEXT), ("a", TEXT), ("q", NUMBER)]);
        assert_eq!(told(&pairs, &[("x", TEXT, true), ("a", TEXT, false), ("y", NUMBER, true)]), named(&["y", "x"]));
        assert_eq!(told(&pairs, &[("x", TEXT, true), ("a", TEXT, false), ("q", NUMBER, true)]), named(&["q", "x"]));
    }

    #[test]
    fn another_key_is_not_taken_for_it() {
        let users = table(&["id"], &[("id", NUMBER), ("name", TEXT), ("code", NUMBER)]);
        for (what, columns) in [
            ("another column is the key", &[("id", NUMBER, false), ("name", TEXT, false), ("code", NUMBER, true)][..]),
            ("and the first is gone", &[("name", TEXT, false), ("code", NUMBER, true)]),
            ("there is none", &[("id", NUMBER, false), ("name", TEXT, false)]),
            ("a new column is the key", &[("name", TEXT, false), ("number", NUMBER, true)]),
            ("of another type", &[("number", UUID, true), ("name", TEXT, false)]),
            ("another took its name", &[("old", NUMBER, false), ("name", TEXT, false), ("id", NUMBER, true)]),
            ("it has a second column", &[("id", NUMBER, true), ("name", TEXT, false), ("code", NUMBER, true)]),
            ("both are new", &[("a", NUMBER, true), ("b", NUMBER, true), ("name", TEXT, false)]),
            ("which of the whole row", &[("number", NUMBER, true), ("name", TEXT, true), ("more", NUMBER, true)]),
            ("an empty relation", &[]),
        ] {
            assert_eq!(told(&users, columns), None, "{what}");
        }
    }

    #[test]
    fn prints_are_of_the_table_and_of_its_key() {
        let of = |prints: &[u32]| -> Tables {
            let table = |print: &u32| (*print, Table { print: *print, ..table(&[], &[]) });
            prints.iter().map(table).collect()
        };
        let (first, second) = (Table::print(1, &[1, 2]), Table::print(1, &[2, 1]));
        assert_ne!(first, second);
        assert_ne!(first, Table::print(2, &[1, 2]));
        let kept = prints(&of(&[first, 9]));
        assert!(are_among(&of(&[first]), &kept) && are_among(&of(&[9, first]), &kept) && are_among(&of(&[]), &kept));
        assert!(!are_among(&of(&[second]), &kept) && !are_among(&of(&[first, 9, 3]), &kept));
        assert!(!are_among(&of(&[first]), ""));
    }
}
