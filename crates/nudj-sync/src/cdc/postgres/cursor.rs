//! A place among the changes.

use crate::cdc::Position;

/// Everything below `from` was handed out, and of `from..upto` the changes up to `id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) from: u64,
    pub(super) upto: u64,
    pub(super) id: i64,
    /// When the change `id` was made, in microseconds: one of this number that was made at another time belongs to another past of
    /// the database. Positions of earlier versions lack it.
    pub(super) at: Option<i64>,
}

impl Cursor {
    pub(super) fn position(self) -> Position {
        let Self { from, upto, id, at } = self;
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        Position::new(format!("{from}:{upto}:{id}{at}"))
    }

    pub(super) fn read(position: &Position) -> Option<Self> {
        let mut parts = position.as_str().split(':');
        let (from, upto, id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let at = parts.next().map(str::parse).transpose().ok()?;
        (parts.next().is_none() && from <= upto).then_some(Self { from, upto, id, at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn position_reads_back(from: u64, more in 0_u64..1000, id: i64, at: Option<i64>) {
            let cursor = Cursor { from, upto: from.saturating_add(more), id, at };
            prop_assert_eq!(Cursor::read(&cursor.position()), Some(cursor));
        }

        #[test]
        fn no_text_is_taken_for_more_than_it_is(text in ".{0,40}") {
            if let Some(cursor) = Cursor::read(&Position::new(text)) {
                prop_assert!(cursor.from <= cursor.upto);
            }
        }
    }
}
