//! The attempts of a call that have ended, for who traces.

use std::sync::Arc;
#[cfg(any(feature = "attempt", feature = "metrics"))]
use std::sync::atomic::Ordering::Relaxed;

use super::CallContext;
#[cfg(feature = "attempt")]
use crate::observe::Observers;
use crate::observe::{TracedAttempt, Went};

/// As many are kept of a call; further ones are told alone.
#[cfg(feature = "attempt")]
const MOST: usize = 64;

/// The call goes elsewhere now: those that went where it was went to `endpoint`.
pub(super) fn went_to(attempts: &mut [TracedAttempt], endpoint: &Arc<str>) {
    for attempt in attempts {
        if let Went::Last = attempt.went {
            attempt.went = Went::To(Arc::clone(endpoint));
        }
    }
}

impl CallContext {
    /// Says that the end of this call will tell of its attempts.
    #[cfg(feature = "metrics")]
    pub(crate) fn keep_attempts(&self) {
        self.0.keeps_attempts.store(true, Relaxed);
    }

    /// The attempts there are, for the call's end to tell of: one that ends later tells of itself.
    #[cfg(feature = "metrics")]
    pub(crate) fn take_attempts(&self) -> Vec<TracedAttempt> {
        let mut rest = self.0.rest.lock();
        self.0.keeps_attempts.store(false, Relaxed);
        std::mem::take(&mut rest.attempts)
    }

    /// Notes that this one does not want to know of this call's attempts, or 0 that the call has ended.
    #[cfg(feature = "metrics")]
    pub(crate) fn set_untraced_by(&self, observer: usize) {
        self.0.untraced_by.store(observer, Relaxed);
    }

    /// Whether an attempt that begins is wanted: by the call's end, or by these, who are asked unless they have said already that it is not.
    #[cfg(feature = "attempt")]
    #[inline]
    pub(crate) fn wants_attempts(&self, observers: &Observers) -> bool {
        self.keeps_attempts() || (self.0.untraced_by.load(Relaxed) != observers.id() && observers.traces(self))
    }

    #[cfg(feature = "attempt")]
    #[inline]
    fn keeps_attempts(&self) -> bool {
        self.0.keeps_attempts.load(Relaxed)
    }

    /// Keeps an attempt for the call's end to tell of; gives it back when that will not be. `tries` were there when it began.
    #[cfg(feature = "attempt")]
    pub(crate) fn keep_attempt(&self, mut attempt: TracedAttempt, tries: u32) -> Result<(), TracedAttempt> {
        let mut rest = self.0.rest.lock();
        attempt.went = if self.tries() == tries { Went::Nowhere } else { Went::Last };
        // Asked under the lock, under which they are taken as well.
        if !self.keeps_attempts() || rest.attempts.len() >= MOST {
            return Err(attempt);
        }
        if rest.attempts.is_empty() {
            // Most calls have no other.
            rest.attempts.reserve_exact(1);
        }
        rest.attempts.push(attempt);
        Ok(())
    }
}

#[cfg(all(test, feature = "attempt", feature = "metrics"))]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::SpanId;

    fn attempt(resends: u32) -> TracedAttempt {
        let (id, start) = (SpanId::random(&mut fastrand::Rng::new()), Instant::now());
        let (method, status, error, went) = ("GET", Some(200), None, Went::Nowhere);
        TracedAttempt { id, resends, method, status, error, went, start, end: start }
    }

    #[test]
    fn an_attempt_went_to_where_the_call_was_when_it_ended_or_nowhere() {
        let (context, endpoints) = (CallContext::new(), ["a", "b"].map(Arc::<str>::from));
        context.keep_attempts();
        for endpoint in [None, Some(0), Some(0), None, Some(1), None] {
            let tries = context.tries();
            if let Some(endpoint) = endpoint {
                context.record_try(7, &endpoints[endpoint], 0);
            }
            context.keep_attempt(attempt(0), tries).unwrap();
        }
        let attempts = context.take_attempts();
        let went: Vec<_> = attempts.iter().map(|attempt| format!("{:?}", attempt.went)).collect();
        assert_eq!(went, ["Nowhere", "To(\"a\")", "To(\"a\")", "Nowhere", "Last", "Nowhere"]);
    }

    #[test]
    fn of_very_many_the_last_tell_of_themselves_and_none_is_kept_when_nobody_will_tell() {
        let context = CallContext::new();
        let kept = |number| context.keep_attempt(attempt(number), 0).is_ok();
        assert!(!kept(0));
        context.keep_attempts();
        assert_eq!((0..1_000).filter(|number| kept(*number)).count(), MOST);
        let taken: Vec<_> = context.take_attempts().iter().map(|attempt| attempt.resends).collect();
        assert!(taken.into_iter().eq(0..MOST as u32));
        assert!(!kept(0) && context.take_attempts().is_empty());
    }
}
