//! The newest rows of a list, such as failed calls, bounded in number and in length.

use std::collections::VecDeque;

use serde::Serialize;
use tokio::time::Instant;

use super::end::Kind;

/// The longest text that is kept of anything, in characters.
const MAX_TEXT: usize = 200;
/// Rows taken per second; a storm of failures must not cost the calls that fail.
const PER_SECOND: u32 = 25;

/// A call that did not succeed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) operation: String,
    pub(super) method: &'static str,
    pub(super) endpoint: String,
    pub(super) error: String,
    pub(super) status: Option<u16>,
    pub(super) tries: u32,
    pub(super) duration_ms: f64,
    pub(super) correlation_id: String,
}

/// A row with its number, which never repeats, and its age.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row<T> {
    pub(super) number: u64,
    pub(super) age_ms: u64,
    #[serde(flatten)]
    pub(super) what: T,
}

/// The newest rows, newest first when read.
#[derive(Debug)]
pub(super) struct Recent<T> {
    rows: VecDeque<(u64, Instant, T)>,
    most: usize,
    next: u64,
    changes: u64,
    second: (u64, u32),
    left_out: u64,
}

impl<T: Clone> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: VecDeque::new(), most, next: 1, changes: 0, second: (0, 0), left_out: 0 }
    }

    /// Whether a row of this second is still taken; asked before the row is made.
    pub(super) fn takes(&mut self, second: u64) -> bool {
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        let takes = self.most > 0 && self.second.1 <= PER_SECOND;
        if self.most > 0 && !takes {
            self.left_out = self.left_out.saturating_add(1);
        }
        takes
    }

    /// The row's number; `None` where none may be kept.
    pub(super) fn push(&mut self, at: Instant, what: T) -> Option<u64> {
        while self.rows.len() >= self.most {
            self.rows.pop_front()?;
        }
        let number = self.next;
        self.rows.push_back((number, at, what));
        self.next = self.next.saturating_add(1);
        Some(number)
    }

    /// Changes the row of this number; whether it is still there.
    pub(super) fn change(&mut self, number: u64, how: impl FnOnce(&mut T)) -> bool {
        let first = self.rows.front().map_or(number, |(first, ..)| *first);
        // One after the other, without gaps.
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let Some((.., what)) = place.and_then(|place| self.rows.get_mut(place)) else { return false };
        how(what);
        self.changes = self.changes.saturating_add(1);
        true
    }

    /// Grows with every row and every change: two that are equal hold the same.
    pub(super) fn revision(&self) -> u64 {
        self.next.saturating_add(self.changes)
    }

    /// How many rows are kept.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Rows that were not kept, because too many came within a second.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn rows(&self, now: Instant) -> Vec<Row<T>> {
        let row = |(number, at, what): &(u64, Instant, T)| Row {
            number: *number,
            age_ms: super::view::millis(now.saturating_duration_since(*at)),
            what: what.clone(),
        };
        self.rows.iter().rev().map(row).collect()
    }
}

/// `text`, cut where it would be too long to keep or to show.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_rows_are_kept_newest_first() {
        let mut recent = Recent::new(3);
        for number in 0..5 {
            recent.push(Instant::now(), number);
        }
        let rows: Vec<_> = recent.rows(Instant::now()).iter().map(|row| (row.number, row.what)).collect();
        assert_eq!(rows, [(5, 4), (4, 3), (3, 2)]);
    }

    #[test]
    fn none_are_kept_when_none_may_be() {
        let mut recent = Recent::new(0);
        assert!(!recent.takes(0));
        assert_eq!((recent.most(), recent.left_out()), (0, 0), "they were not too many");
        recent.push(Instant::now(), 1);
        assert!(recent.rows(Instant::now()).is_empty());
    }

    #[test]
    fn a_storm_is_counted_and_not_kept() {
        let mut recent = Recent::<u32>::new(500);
        let taken = (0..1000).filter(|_| recent.takes(9)).count();
        assert_eq!((taken, recent.left_out()), (25, 975));
        assert!(recent.takes(10));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(clipped("short"), "short");
        let cut = clipped(&"ü".repeat(1000));
        assert_eq!(cut.chars().count(), MAX_TEXT + 1);
    }
}
