//! Places in the write-ahead log.

use std::fmt;

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

    pub(super) fn position(self) -> Position {
        let after = Lsn(self.after);
        Position::new(match self.within {
            None => after.to_string(),
            Some((commit, done)) => format!("{after}:{}:{done}", Lsn(commit)),
        })
    }

    pub(super) fn read(position: &Position) -> Option<Self> {
        let mut parts = position.as_str().split(':');
        let after = lsn(parts.next()?)?;
        let within = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(commit), Some(done)) => Some((lsn(commit)?, done.parse().ok()?)),
            _ => return None,
        };
        parts.next().is_none().then_some(Self { after, within })
    }
}

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
        fn position_reads_back(after: u64, within: Option<(u64, u64)>) {
            let place = Place { after, within };
            prop_assert_eq!(Place::read(&place.position()), Some(place));
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
