//! Which credential is current, and what a refusal of one means: plain data.

use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use crate::clock;

/// One credential as it is sent.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) value: HeaderValue,
    pub(super) expires: Option<Instant>,
    /// The one before, as long as this one has not been accepted anywhere: what a rotation falls back to.
    pub(super) fallback: Option<Arc<Generation>>,
}

/// What to do about a credential that was refused.
#[derive(Debug)]
pub(super) enum AfterRefusal {
    /// There is a newer one already.
    Use(Arc<Generation>),
    /// The new one has never worked and the old one is there: go back to it.
    FallBack(Arc<Generation>),
    /// It was the current one, or there is none that has not expired: fetch another.
    Renew,
}

impl Generation {
    #[inline]
    pub(super) fn is_valid(&self, now: impl FnOnce() -> Instant) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }
}

/// The credential that is there, unless it has expired. Reads the clock only for one that can.
#[inline]
pub(super) fn valid(current: Option<&Arc<Generation>>) -> Option<&Arc<Generation>> {
    current.filter(|current| current.is_valid(clock::recent))
}

/// `refused` was answered with 401; `current` is what would be sent now. What has expired is no help.
pub(super) fn after_refusal(current: Option<&Arc<Generation>>, refused: u64, now: Instant) -> AfterRefusal {
    let is_valid = |generation: &&Arc<Generation>| generation.is_valid(|| now);
    match current {
        Some(current) if current.number != refused => {
            Some(current).filter(is_valid).map_or(AfterRefusal::Renew, |current| AfterRefusal::Use(Arc::clone(current)))
        }
        Some(current) => current
            .fallback
            .as_ref()
            .filter(is_valid)
            .map_or(AfterRefusal::Renew, |old| AfterRefusal::FallBack(Arc::clone(old))),
        None => AfterRefusal::Renew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_refusal_of_the_old_one_leaves_the_new_one_that_has_not_worked_yet() {
        let (now, of) = (Instant::now(), |number, fallback| generation(number, None, fallback));
        let new = of(2, Some(of(1, None)));
        assert!(matches!(after_refusal(Some(&new), 1, now), AfterRefusal::Use(current) if current.number == 2));
        assert!(matches!(after_refusal(Some(&new), 2, now), AfterRefusal::FallBack(old) if old.number == 1));
        assert!(matches!(after_refusal(Some(&of(3, None)), 3, now), AfterRefusal::Renew));
    }

    #[test]
    fn what_has_expired_is_neither_used_nor_gone_back_to() {
        let now = Instant::now();
        let new = generation(2, Some(now), Some(generation(1, Some(now), None)));
        assert!(matches!(after_refusal(Some(&new), 1, now), AfterRefusal::Renew));
        assert!(matches!(after_refusal(Some(&new), 2, now), AfterRefusal::Renew));
    }

    fn generation(number: u64, expires: Option<Instant>, fallback: Option<Arc<Generation>>) -> Arc<Generation> {
        Arc::new(Generation { number, value: HeaderValue::from_static("x"), expires, fallback })
    }
}
