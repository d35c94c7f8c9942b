//! What the breaker's lock guards.

use std::collections::VecDeque;

use super::super::{
    state::{Change, State, Tick},
    window::CountRing,
};

/// Changes kept for whoever looks later.
pub(super) const HISTORY: usize = 32;

/// Set while every call passes without a look at anything else.
pub(super) const PASSES: u64 = 1;
/// Set while a plain success changes nothing: no failure to forget, and a ring, if any, full of successes.
pub(super) const QUIET: u64 = 2;
pub(super) const FLAGS: u32 = 2;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) mode: Mode,
    pub(super) generation: u64,
    pub(super) consecutive: u32,
    /// How often it opened again since it was last closed.
    pub(super) retrips: u32,
    pub(super) ring: Option<CountRing>,
    pub(super) rng: fastrand::Rng,
    /// `None` where nobody looks: one of very many breakers.
    pub(super) history: Option<Box<History>>,
}

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) changes: VecDeque<Change>,
    /// How many of the newest nobody was told about.
    untold: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Closed,
    Open { until: Tick },
    HalfOpen { until: Tick, admitted: u32, succeeded: u32, failed: u32 },
    ForcedOpen,
    Disabled,
    MetricsOnly,
}

impl Mode {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::ForcedOpen => State::ForcedOpen,
            Self::Disabled => State::Disabled,
            Self::MetricsOnly => State::MetricsOnly,
        }
    }
}

impl History {
    pub(super) fn push(&mut self, change: Change) {
        if self.changes.len() >= HISTORY {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.untold = (self.untold + 1).min(HISTORY);
    }

    pub(super) fn next_untold(&mut self) -> Option<Change> {
        let at = self.changes.len().checked_sub(self.untold)?;
        let change = self.changes.get(at).copied()?;
        self.untold -= 1;
        Some(change)
    }

    pub(super) fn has_untold(&self) -> bool {
        self.untold > 0
    }
}

impl Inner {
    pub(super) fn counts(&self) -> bool {
        matches!(self.mode, Mode::Closed | Mode::MetricsOnly)
    }

    pub(super) fn word(&self) -> u64 {
        let flags = match self.mode {
            Mode::Closed | Mode::MetricsOnly => {
                let quiet = self.consecutive == 0 && self.ring.as_ref().is_none_or(CountRing::is_quiet);
                if quiet { PASSES | QUIET } else { PASSES }
            }
            Mode::Disabled => PASSES | QUIET,
            Mode::Open { .. } | Mode::HalfOpen { .. } | Mode::ForcedOpen => 0,
        };
        self.generation << FLAGS | flags
    }
}
