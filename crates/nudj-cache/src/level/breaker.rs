//! Whether a level is worth asking. Plain values in, a verdict out.
//!
//! Small on purpose: consecutive failures open it, one probe at a time closes it. The breaker for the API is in
//! `nudj-tower`; a cache in front of it has no more to lose than a miss.

use std::time::Duration;

use tokio::time::Instant;

/// A right to ask the level once. Must be settled; the guard does it on drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permit {
    generation: u64,
    probe: bool,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    open_for: Duration,
    state: State,
    /// Changes with each state, so that a late result of an earlier one changes nothing.
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant },
    Probing,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The level answered.
    Answered,
    /// It failed or took too long.
    Failed,
    /// The caller left before it was known.
    Dropped,
}

impl Breaker {
    pub(crate) fn new(threshold: u32, open_for: Duration) -> Self {
        Self { threshold: threshold.max(1), open_for, state: State::Closed { failures: 0 }, generation: 0 }
    }

    pub(crate) fn admit(&mut self, now: Instant) -> Option<Permit> {
        match self.state {
            State::Closed { .. } => Some(Permit { generation: self.generation, probe: false }),
            State::Open { since } if now.saturating_duration_since(since) >= self.open_for => {
                self.enter(State::Probing);
                Some(Permit { generation: self.generation, probe: true })
            }
            State::Open { .. } | State::Probing => None,
        }
    }

    pub(crate) fn settle(&mut self, permit: Permit, outcome: Outcome, now: Instant) {
        if permit.generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (State::Closed { failures }, Outcome::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.threshold {
                    self.enter(State::Open { since: now });
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::Closed { .. }, Outcome::Answered) => self.state = State::Closed { failures: 0 },
            (State::Probing, Outcome::Answered) => self.enter(State::Closed { failures: 0 }),
            (State::Probing, Outcome::Failed) => self.enter(State::Open { since: now }),
            // The place of a dropped probe is free at once: open since long ago.
            (State::Probing, Outcome::Dropped) => {
                let since = now.checked_sub(self.open_for).unwrap_or(now);
                self.enter(State::Open { since });
            }
            (State::Closed { .. }, Outcome::Dropped) | (State::Open { .. }, _) => {}
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, SECOND);
        for _ in 0..3 {
            let permit = breaker.admit(now).unwrap();
            breaker.settle(permit, Outcome::Failed, now);
        }
        breaker
    }

    #[test]
    fn consecutive_failures_open_it_and_an_answer_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, SECOND);
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Answered, Outcome::Failed, Outcome::Failed] {
            let permit = breaker.admit(now).unwrap();
            breaker.settle(permit, outcome, now);
        }
        assert!(breaker.is_closed());
        assert!(!opened(now).is_closed());
    }

    #[test]
    fn one_probe_at_a_time_after_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.admit(now + SECOND / 2).is_none());
        let probe = breaker.admit(now + SECOND).unwrap();
        assert!(breaker.admit(now + SECOND).is_none());
        breaker.settle(probe, Outcome::Answered, now + SECOND);
        assert!(breaker.is_closed());
    }

    #[test]
    fn failed_probe_opens_for_the_whole_pause_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let probe = breaker.admit(now + SECOND).unwrap();
        breaker.settle(probe, Outcome::Failed, now + SECOND);
        assert!(breaker.admit(now + SECOND * 3 / 2).is_none());
        assert!(breaker.admit(now + SECOND * 2).is_some());
    }

    #[test]
    fn dropped_probe_gives_its_place_back() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let probe = breaker.admit(now + SECOND).unwrap();
        breaker.settle(probe, Outcome::Dropped, now + SECOND);
        assert!(breaker.admit(now + SECOND).is_some());
    }

    #[test]
    fn late_result_of_an_earlier_state_changes_nothing() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, SECOND);
        let late = breaker.admit(now).unwrap();
        for _ in 0..3 {
            let permit = breaker.admit(now).unwrap();
            breaker.settle(permit, Outcome::Failed, now);
        }
        let probe = breaker.admit(now + SECOND).unwrap();
        breaker.settle(late, Outcome::Answered, now + SECOND);
        assert!(!breaker.is_closed(), "an answer from before does not close it");
        breaker.settle(probe, Outcome::Answered, now + SECOND);
        assert!(breaker.is_closed());
    }
}
