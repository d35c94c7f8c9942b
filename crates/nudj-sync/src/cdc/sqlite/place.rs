//! A place among the notes, known again in a database that was put back to an earlier day and has written on.

use sqlx::{
    Row as _,
    sqlite::{SqlitePool, SqliteRow},
};

use super::{local, rows::key_text};
use crate::{
    Error,
    cdc::{Position, change::stable_hash},
};

/// Behind a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: i64,
    /// What the note says and when it was made: another of its number belongs to another past of the database. Positions of earlier
    /// versions lack it.
    note: Option<u64>,
}

impl Place {
    /// Behind this row with `seq`, `tbl`, `op`, `record_key` and `at`.
    pub(super) fn of(note: &SqliteRow) -> Result<Self, Error> {
        let text = |column: &str| note.try_get::<String, _>(column).map_err(local);
        let (table, op, key, at) = (text("tbl")?, text("op")?, key_text(note)?, text("at")?);
        let seq = note.try_get("seq").map_err(local)?;
        Ok(Self { seq, note: Some(stable_hash(&format!("{at} {op} {table} {key}"))) })
    }

    pub(super) fn position(self) -> Position {
        let note = self.note.map(|note| format!(":{note:016x}")).unwrap_or_default();
        Position::new(format!("{}{note}", self.seq))
    }

    pub(super) fn read(position: &Position) -> Option<Self> {
        let text = position.as_str();
        let (seq, note) = text.split_once(':').map_or((text, None), |(seq, note)| (seq, Some(note)));
        let note = note.map(|note| u64::from_str_radix(note, 16)).transpose().ok()?;
        Some(Self { seq: seq.parse().ok()?, note })
    }

    /// Whether what follows it there is what followed it where it was taken.
    pub(super) async fn is_in(self, pool: &SqlitePool) -> Result<bool, Error> {
        if self.note.is_some() {
            let there = sqlx::query("SELECT seq, tbl, op, record_key, at FROM nudj_changes WHERE seq = ?")
                .bind(self.seq)
                .fetch_optional(pool)
                .await
                .map_err(local)?;
            return Ok(there.as_ref().map(Self::of).transpose()? == Some(self));
        }
        // Numbers are never given twice, so a farther one than was ever given means another file.
        let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'nudj_changes'")
            .fetch_optional(pool)
            .await
            .map_err(local)?;
        Ok(last.unwrap_or_default() >= self.seq)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn position_reads_back(seq: i64, note: Option<u64>) {
            let place = Place { seq, note };
            prop_assert_eq!(Place::read(&place.position()), Some(place));
        }

        #[test]
        fn any_text_is_a_place_or_none(text in ".{0,40}") {
            let _ = Place::read(&Position::new(text));
        }
    }
}
