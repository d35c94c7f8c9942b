//! Where waits come from: the exponential schedule, or one brought along.

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;

use super::Exponential;

/// A source of waits; each call starts it anew.
#[derive(Clone)]
pub struct Backoff(Kind);

#[derive(Clone)]
enum Kind {
    Exponential(Exponential),
    Custom(Arc<dyn Fn() -> Draw + Send + Sync>),
}

/// Gives one call's waits, one after the other; `None` ends the call.
type Draw = Box<dyn FnMut(&mut Rng) -> Option<Duration> + Send + Sync>;

impl Backoff {
    /// Waits by a rule of one's own. `start` is called once per call that needs a wait; what it returns gives the call's waits one
    /// after the other, from the randomness it is handed; `None` ends the call.
    pub fn custom<F, D>(start: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: FnMut(&mut Rng) -> Option<Duration> + Send + Sync + 'static,
    {
        Self(Kind::Custom(Arc::new(move || Box::new(start()))))
    }

    pub(super) fn start(&self) -> Delays {
        match &self.0 {
            Kind::Exponential(schedule) => Delays::Exponential { schedule: *schedule, waits: 0, last: None },
            Kind::Custom(start) => Delays::Custom(start()),
        }
    }
}

impl From<Exponential> for Backoff {
    fn from(schedule: Exponential) -> Self {
        Self(Kind::Exponential(schedule))
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exponential(schedule) => schedule.fmt(f),
            Kind::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// One call's waits.
pub(super) enum Delays {
    Exponential { schedule: Exponential, waits: u32, last: Option<Duration> },
    Custom(Draw),
}

impl Delays {
    pub(super) fn next(&mut self, rng: &mut Rng) -> Option<Duration> {
        match self {
            Self::Exponential { schedule, waits, last } => {
                let delay = schedule.delay(*waits, *last, rng);
                *waits = waits.saturating_add(1);
                *last = Some(delay);
                Some(delay)
            }
            Self::Custom(draw) => draw(rng),
        }
    }
}

/// Takes the waits from a type of the `backoff` crate, for those who have one.
///
/// Each call that needs a wait starts from a clone that was reset. Its randomness is that crate's own and cannot be seeded here; its
/// `max_elapsed_time` is measured on the system's clock from the call's first wait on.
#[cfg(feature = "backoff")]
#[must_use]
pub fn from_backoff<B>(backoff: B) -> Backoff
where
    B: ::backoff::backoff::Backoff + Clone + Send + Sync + 'static,
{
    Backoff::custom(move || {
        let mut backoff = backoff.clone();
        backoff.reset();
        move |_: &mut Rng| backoff.next_backoff()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Jitter;

    #[test]
    fn decorrelated_waits_grow_from_the_one_before() {
        let schedule = Exponential::new(Duration::from_secs(1), Duration::from_secs(60), Jitter::Decorrelated);
        let longest = |n: usize| {
            let nth = |seed| {
                let (mut delays, mut rng) = (Backoff::from(schedule).start(), Rng::with_seed(seed));
                (0..n).filter_map(|_| delays.next(&mut rng)).last()
            };
            (0..200).filter_map(nth).max().unwrap_or_default().as_secs()
        };
        assert_eq!((longest(1), longest(2).clamp(6, 8), longest(9)), (2, longest(2), 60));
    }
}
