//! What is asked and told from outside the calls: state, counts, history, commands.

use super::{
    super::{
        rules::Tally,
        state::{Cause, Change, Counts, Tick, View},
        window::CountRing,
    },
    Breaker, Mode,
};

/// What a breaker knows that a new one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Loss {
    /// At most successes.
    Nothing,
    /// It is closed, and would open sooner than a new one.
    Counts,
    /// It is not closed.
    State,
}

impl Breaker {
    fn command(&self, mode: Mode, now: Tick) {
        let mut inner = self.inner.lock();
        self.end_overdue_probing(&mut inner, now);
        self.enter(&mut inner, mode, now, Cause::Command);
    }

    /// Refuses every call from now on.
    pub fn force_open(&self, now: Tick) {
        self.command(Mode::ForcedOpen, now);
    }

    /// Lets every call pass from now on and counts nothing.
    pub fn disable(&self, now: Tick) {
        self.command(Mode::Disabled, now);
    }

    /// Lets every call pass from now on; counts, and draws no conclusion.
    pub fn metrics_only(&self, now: Tick) {
        self.command(Mode::MetricsOnly, now);
    }

    /// Closed, as new: nothing counted, no growth.
    pub fn reset(&self, now: Tick) {
        self.command(Mode::Closed, now);
    }

    /// The state at `now`. A half-open state whose time is over ends here: look at [`next_untold`](Self::next_untold) afterwards.
    #[must_use]
    pub fn view(&self, now: Tick) -> View {
        let mut inner = self.inner.lock();
        self.end_overdue_probing(&mut inner, now);
        let (admits, until_probe) = match inner.mode {
            Mode::Closed | Mode::Disabled | Mode::MetricsOnly => (true, None),
            Mode::Open { until } => (now >= until, Some(until.since(now))),
            Mode::HalfOpen { admitted, .. } => (admitted < self.rules.probes, None),
            Mode::ForcedOpen => (false, None),
        };
        View { state: inner.mode.state(), admits, until_probe }
    }

    /// What is counted at `now`.
    #[must_use]
    pub fn counts(&self, now: Tick) -> Counts {
        let inner = self.inner.lock();
        let tally = match (&inner.ring, &self.slices) {
            (Some(ring), _) => ring.tally(),
            (None, Some(slices)) => slices.tally(now),
            (None, None) => Tally::default(),
        };
        Counts { consecutive_failures: inner.consecutive, calls: tally.calls, failed: tally.failed, slow: tally.slow }
    }

    /// The newest changes of state, at most 32, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Change> {
        self.inner.lock().history.iter().flat_map(|history| &history.changes).copied().collect()
    }

    /// The oldest change that this method has not returned yet, so that each is told once and in order.
    pub fn next_untold(&self) -> Option<Change> {
        self.inner.lock().history.as_mut()?.next_untold()
    }

    /// Whether [`next_untold`](Self::next_untold) would return one.
    pub(in super::super) fn has_untold(&self) -> bool {
        self.inner.lock().history.as_ref().is_some_and(|history| history.has_untold())
    }

    /// What is lost when this breaker is forgotten and made anew.
    pub(in super::super) fn loss(&self) -> Loss {
        let inner = self.inner.lock();
        let is_bad = |ring: &CountRing| ring.tally().failed > 0 || ring.tally().slow > 0;
        match inner.mode {
            Mode::Closed if inner.consecutive == 0 && !inner.ring.as_ref().is_some_and(is_bad) => Loss::Nothing,
            Mode::Closed => Loss::Counts,
            _ => Loss::State,
        }
    }
}
