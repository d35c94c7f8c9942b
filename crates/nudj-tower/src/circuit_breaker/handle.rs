use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    breaker::Breaker,
    state::{Admission, Cause, Counts, End, Permit, State, Tick, View},
    weak::WeakBreakerHandle,
};
use crate::{
    Availability, Available, Rejection,
    observe::{Event, Observers},
};

/// Where a breaker's time begins, its name, and those who watch it.
#[derive(Debug)]
pub(super) struct Surroundings {
    name: Option<Arc<str>>,
    observers: Observers,
    epoch: Instant,
}

impl Surroundings {
    pub(super) fn new(name: Option<Arc<str>>, observers: Observers) -> Arc<Self> {
        Arc::new(Self { name, observers, epoch: Instant::now() })
    }

    #[inline]
    pub(super) fn tick(&self, at: Instant) -> Tick {
        Tick::default().after(at.saturating_duration_since(self.epoch))
    }
}

/// A breaker in its surroundings; what layer, services and handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) breaker: Breaker,
    around: Arc<Surroundings>,
    /// The state last told. Held while telling, so that changes are told in order; never waited for.
    told: Mutex<State>,
}

impl Shared {
    pub(super) fn new(breaker: Breaker, around: Arc<Surroundings>) -> Self {
        Self { breaker, around, told: Mutex::new(State::Closed) }
    }

    pub(super) fn tick(&self, at: Instant) -> Tick {
        self.around.tick(at)
    }

    #[inline]
    pub(super) fn now(&self) -> Tick {
        self.tick(Instant::now())
    }

    fn name(&self) -> &str {
        self.around.name.as_deref().unwrap_or("")
    }

    #[inline]
    pub(super) fn admit(&self) -> Result<Permit, Rejection> {
        let Admission { permit, changed } = self.breaker.admit(|| self.now());
        if changed {
            self.tell_changes();
        }
        permit.map_err(|retry_after| self.refuse(retry_after))
    }

    #[inline]
    pub(super) fn settle(&self, permit: Permit, end: End, now: impl FnOnce() -> Tick) {
        if self.breaker.settle(permit, end, now) {
            self.tell_changes();
        }
    }

    #[cold]
    fn refuse(&self, retry_after: Option<Duration>) -> Rejection {
        self.around.observers.tell(|| Event::BreakerRefused { name: self.name() });
        Rejection::CircuitOpen { endpoint: self.around.name.clone(), retry_after }
    }

    pub(super) fn view(&self) -> View {
        let view = self.breaker.view(self.now());
        self.tell_changes();
        view
    }

    #[inline]
    pub(super) fn availability(&self) -> Availability {
        if self.breaker.passes() {
            return Availability::Available;
        }
        match self.view() {
            View { admits: true, .. } => Availability::Available,
            View { until_probe, .. } => Availability::Unavailable { retry_after: until_probe },
        }
    }

    /// Tells every change once and in order, whoever made it. An observer may use the handle.
    #[cold]
    pub(super) fn tell_changes(&self) {
        one_at_a_time(&self.told, |told| self.tell_untold(told), || self.breaker.has_untold());
    }

    fn tell_untold(&self, told: &mut State) {
        while let Some(change) = self.breaker.next_untold() {
            let (from, to, retry_after) = (told.as_str(), change.to.as_str(), change.open_for);
            *told = change.to;
            let (name, cause) = (self.name(), change.cause);
            if matches!(change.to, State::Open | State::ForcedOpen) {
                tracing::warn!(name, from, to, ?cause, ?retry_after, "circuit breaker changed its state");
            } else {
                tracing::info!(name, from, to, ?cause, "circuit breaker changed its state");
            }
            self.around.observers.tell(|| Event::BreakerChanged { name, from, to, retry_after });
        }
    }
}

/// Does all the `work` there is. Whoever finds somebody at it leaves its own to them: they look whether something `is_left` once they
/// have let go, since what came after their last look found the lock taken.
fn one_at_a_time<T>(lock: &Mutex<T>, mut work: impl FnMut(&mut T), is_left: impl Fn() -> bool) {
    while let Some(mut held) = lock.try_lock() {
        work(&mut held);
        drop(held);
        if !is_left() {
            return;
        }
    }
}

/// Reads a breaker and drives it, without a call.
#[derive(Clone, Debug)]
pub struct BreakerHandle(pub(super) Arc<Shared>);

/// One change of state, for those who look later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Instant,
    /// For an open state, how long it lasts.
    pub open_for: Option<Duration>,
}

impl BreakerHandle {
    /// The breaker's name; empty if it was given none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// A handle that does not keep the circuit.
    #[must_use]
    pub fn downgrade(&self) -> WeakBreakerHandle {
        WeakBreakerHandle::of(&self.0)
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.view().state
    }

    /// For an open circuit, how long until a probe may pass (zero: the next call is one); else `None`.
    #[must_use]
    pub fn until_probe(&self) -> Option<Duration> {
        self.0.view().until_probe
    }

    /// State and time until the next probe, of one moment.
    #[must_use]
    pub fn view(&self) -> View {
        self.0.view()
    }

    /// What is counted now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.breaker.counts(self.0.now())
    }

    /// The newest changes of state, at most 32, oldest first.
    #[must_use]
    pub fn transitions(&self) -> Vec<Transition> {
        let changes = self.0.breaker.history();
        let epoch = self.0.around.epoch;
        let at = |tick: Tick| epoch.checked_add(tick.since(Tick::default())).unwrap_or(epoch);
        changes
            .into_iter()
            .map(|c| Transition { from: c.from, to: c.to, cause: c.cause, at: at(c.at), open_for: c.open_for })
            .collect()
    }

    /// Refuses every call from now on, until [`reset`](Self::reset). Calls in flight go on and change nothing.
    pub fn force_open(&self) {
        self.command(Breaker::force_open);
    }

    /// Lets every call pass from now on and counts nothing, until [`reset`](Self::reset): forced closed.
    pub fn disable(&self) {
        self.command(Breaker::disable);
    }

    /// Lets every call pass from now on; counts, and draws no conclusion, until [`reset`](Self::reset).
    pub fn metrics_only(&self) {
        self.command(Breaker::metrics_only);
    }

    /// Closes the circuit, whatever its state, with nothing counted and the open time no longer grown.
    pub fn reset(&self) {
        self.command(Breaker::reset);
    }

    fn command(&self, command: fn(&Breaker, Tick)) {
        command(&self.0.breaker, self.0.now());
        self.0.tell_changes();
    }
}

impl Available for BreakerHandle {
    fn availability(&self) -> Availability {
        self.0.availability()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::CircuitBreakerConfig, *};

    #[test]
    fn a_change_that_comes_after_the_tellers_last_look_is_told_by_it() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let observers = Observers::new(move |event: &Event<'_>| {
            if let Event::BreakerChanged { to, .. } = event {
                log.lock().push(*to);
            }
        });
        let breaker = Breaker::new(&CircuitBreakerConfig::default(), 1).unwrap();
        let shared = Shared::new(breaker, Surroundings::new(None, observers));
        let mut late = Some(|| {
            shared.breaker.force_open(shared.now());
            // Finds the lock taken, and leaves.
            shared.tell_changes();
        });
        let work = |last: &mut State| {
            shared.tell_untold(last);
            late.take().into_iter().for_each(|change| change());
        };
        one_at_a_time(&shared.told, work, || shared.breaker.has_untold());
        assert_eq!(*told.lock(), ["forced_open"]);
    }
}
