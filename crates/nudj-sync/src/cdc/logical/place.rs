//! Places in the write-ahead log.

use std::fmt::{self, Write as _};

use crate::cdc::Position;

/// Behind the last whole transaction, and how much of the one that follows is done.
///
/// The server begins a stream between transactions only. What is done of one that was begun is left out by its number: a
/// transaction is always told in the same order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) after: u64,
    /// The transaction's commit, and the number of its changes that are done.
    pub(super) within: Option<(u64, u64)>,
}

impl Place {
    pub(super) const fn between(after: u64) -> Self {
        Self { after, within: None }
    }

    /// With the [prints](super::table::prints) of the tables' keys.
    pub(super) fn position(self, prints: &str) -> Position {
        let mut text = String::with_capacity(LONGEST + prints.len());
        // A text takes all that is written.
        let _ = match self.within {
            None => write!(text, "{}:{prints}", Lsn(self.after)),
            Some((commit, done)) => write!(text, "{}:{}:{done}:{prints}", Lsn(self.after), Lsn(commit)),
        };
        Position::new(text)
    }

    pub(super) fn read(position: &Position) -> Option<Self> {
        split(position.as_str()).map(|(place, _)| place)
    }

    /// The prints that it was written with. Earlier versions wrote none.
    pub(super) fn prints(position: &Position) -> Option<&str> {
        split(position.as_str())?.1
    }
}

fn split(text: &str) -> Option<(Place, Option<&str>)> {
    let mut parts = text.split(':');
    let after = parts.next()?;
    let (within, prints) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (prints, None, ..) => (None, prints),
        (Some(commit), Some(done), prints, None) => (Some((commit, done)), prints),
        _ => return None,
    };
    let within = match within {
        Some((commit, done)) => Some((lsn(commit)?, done.parse().ok()?)),
        None => None,
    };
    Some((Place { after: lsn(after)?, within }, prints))
}

/// Two places of the log, a number and what is between.
const LONGEST: usize = 17 + 17 + 20 + 3;

/// As PostgreSQL writes it.
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

pub(super) fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(part(high)? << 32 | part(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn position_reads_back(after: u64, within: Option<(u64, u64)>, prints in "[0-9a-f.]{0,20}") {
            let place = Place { after, within };
            let position = place.position(&prints);
            prop_assert_eq!(Place::read(&position), Some(place));
            prop_assert_eq!(Place::prints(&position), Some(&*prints));
            prop_assert!(position.as_str().len() <= LONGEST + prints.len());
            // As it was written before keys were noted.
            let position = Position::new(position.as_str().rsplit_once(':').map_or("", |(place, _)| place));
            prop_assert_eq!((Place::read(&position), Place::prints(&position)), (Some(place), None));
        }

        #[test]
        fn any_text_is_a_place_or_none(text in ".{0,40}") {
            let _ = Place::read(&Position::new(text));
        }
    }

    #[test]
    fn position_of_the_cursor_is_none_of_ours() {
        assert_eq!(Place::read(&Position::new("12:13:5")), None);
    }
}
