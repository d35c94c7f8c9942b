//! The same breaker written as plainly as can be: one list of everything that happened, searched anew for every question.

use proptest::test_runner::TestCaseError;

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Admit,
    /// Ends one of the permits in hand, whichever the number picks.
    Settle(usize, Outcome, Duration, Option<Duration>),
    /// A call from start to end.
    Call(Outcome),
    Wait(Duration),
    Command(u8),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        3 => Just(Outcome::Failure),
        1 => Just(Outcome::Throttled),
        1 => Just(Outcome::Ignored),
    ]
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Admit),
        20 => (any::<usize>(), outcome(), millis(0..2000), proptest::option::weighted(0.1, millis(0..20_000)))
            .prop_map(|(which, outcome, took, retry_after)| Step::Settle(which, outcome, took, retry_after)),
        40 => outcome().prop_map(Step::Call),
        20 => millis(0..700).prop_map(Step::Wait),
        4 => millis(0..20_000).prop_map(Step::Wait),
        1 => (0u8..4).prop_map(Step::Command),
    ]
}

pub(super) fn config() -> impl Strategy<Value = CircuitBreakerConfig> {
    let rate = || proptest::option::of(prop_oneof![Just(0.1), Just(0.25), Just(0.5), Just(1.0), 0.01..1.0]);
    let window = prop_oneof![
        (1u32..70).prop_map(|calls| (Some(calls), None)),
        millis(10..5000).prop_map(|window| (None, Some(window))),
    ];
    (0u32..6, rate(), rate(), window, 1u32..20, 1u32..4, 0u32..4, millis(1..8000)).prop_map(
        |(
            failure_threshold,
            failure_rate,
            slow_call_rate,
            (window_calls, window),
            minimum,
            probes,
            needed,
            half_open_for,
        )| {
            CircuitBreakerConfig {
                failure_threshold,
                failure_rate,
                slow_call_rate,
                slow_call: Some(SECOND),
                window_calls,
                window,
                minimum_calls: Some(window_calls.map_or(minimum, |calls| minimum.min(calls))),
                half_open_probes: probes,
                success_threshold: (1..=probes).contains(&needed).then_some(needed),
                open_for: SECOND * 5,
                half_open_for: Some(half_open_for),
                max_retry_after: SECOND * 10,
                ..Default::default()
            }
        },
    )
}

/// What happened in this state since it began, and what state it is.
struct Model<'a> {
    config: &'a CircuitBreakerConfig,
    state: State,
    generation: u64,
    /// When an open or half-open state ends.
    until: u64,
    admitted: u32,
    ends: Vec<(u64, Outcome, bool)>,
}

impl Model<'_> {
    fn enter(&mut self, state: State, until: u64) {
        self.state = state;
        self.generation += 1;
        self.until = until;
        self.admitted = 0;
        self.ends.clear();
    }

    fn open(&mut self, now: u64, retry_after: Option<Duration>) {
        let asked = retry_after.unwrap_or_default().min(self.config.max_retry_after);
        self.enter(State::Open, now + self.config.open_for.max(asked).as_nanos() as u64);
    }

    fn look(&mut self, now: u64) {
        if self.state == State::HalfOpen && now >= self.until {
            self.open(self.until, None);
        }
    }

    fn admit(&mut self, now: u64) -> Result<u64, Option<Duration>> {
        self.look(now);
        if self.state == State::Open && now >= self.until {
            self.enter(State::HalfOpen, now + self.config.half_open_for.unwrap().as_nanos() as u64);
        }
        match self.state {
            State::Open => return Err(Some(Duration::from_nanos(self.until - now))),
            State::ForcedOpen => return Err(None),
            State::HalfOpen if self.admitted == self.config.half_open_probes => return Err(None),
            State::HalfOpen => self.admitted += 1,
            _ => {}
        }
        Ok(self.generation)
    }

    fn settle(&mut self, permit: u64, now: u64, outcome: Outcome, took: Duration, retry_after: Option<Duration>) {
        self.look(now);
        let slow = took >= SECOND;
        if permit != self.generation || self.state == State::Disabled {
            return;
        }
        if outcome == Outcome::Ignored {
            self.admitted = self.admitted.saturating_sub(1);
            return;
        }
        self.ends.push((now, outcome, slow));
        if self.state == State::HalfOpen {
            let well = |&&(_, outcome, slow): &&(u64, Outcome, bool)| {
                outcome == Outcome::Success && !(slow && self.config.slow_call_rate.is_some())
            };
            let succeeded = self.ends.iter().filter(well).count() as u32;
            let failed = self.ends.len() as u32 - succeeded;
            let needed = self.config.success_threshold.unwrap_or(self.config.half_open_probes);
            if succeeded >= needed {
                self.enter(State::Closed, 0);
            } else if self.config.half_open_probes - failed < needed {
                self.open(now, retry_after);
            }
        } else if self.state == State::Closed && self.is_met(now) {
            self.open(now, retry_after);
        }
    }

    fn counts(&self, now: u64) -> Counts {
        let relevant = self.ends.iter().rev().filter(|(_, outcome, _)| *outcome != Outcome::Throttled);
        let mut counts = Counts {
            consecutive_failures: relevant.take_while(|(_, outcome, _)| *outcome == Outcome::Failure).count() as u32,
            ..Counts::default()
        };
        if self.config.failure_rate.is_none() && self.config.slow_call_rate.is_none() || self.state == State::HalfOpen {
            return Counts {
                consecutive_failures: if self.state == State::HalfOpen { 0 } else { counts.consecutive_failures },
                ..counts
            };
        }
        let window: Vec<_> = match (self.config.window_calls, self.config.window) {
            (Some(calls), _) => self.ends.iter().rev().take(calls as usize).collect(),
            (_, Some(window)) => {
                let slice = |at: u64| at / (window.as_nanos() as u64 / 10);
                self.ends.iter().filter(|(at, ..)| slice(*at) + 10 > slice(now)).collect()
            }
            _ => unreachable!("the strategy sets one"),
        };
        counts.calls = window.len() as u64;
        counts.failed = window.iter().filter(|(_, outcome, _)| *outcome != Outcome::Success).count() as u64;
        counts.slow = window.iter().filter(|(.., slow)| *slow).count() as u64;
        counts
    }

    fn is_met(&self, now: u64) -> bool {
        let counts = self.counts(now);
        let met = |rate: Option<f64>, part: u64| rate.is_some_and(|rate| part as f64 / counts.calls as f64 >= rate);
        let threshold = self.config.failure_threshold;
        (threshold > 0 && counts.consecutive_failures >= threshold)
            || counts.calls >= u64::from(self.config.minimum_calls.unwrap())
                && (met(self.config.failure_rate, counts.failed) || met(self.config.slow_call_rate, counts.slow))
    }
}

pub(super) fn run(config: &CircuitBreakerConfig, steps: &[Step]) -> Result<(), TestCaseError> {
    let breaker = breaker(config);
    let mut model = Model { config, state: State::Closed, generation: 0, until: 0, admitted: 0, ends: Vec::new() };
    let (mut now, mut hands) = (0u64, Vec::new());
    for step in steps {
        let tick = || Tick(now);
        match step {
            Step::Admit => {
                let (real, plain) = (breaker.admit(tick).permit, model.admit(now));
                prop_assert_eq!(real.err(), plain.err(), "{:?}", step);
                hands.extend(real.ok().zip(plain.ok()));
            }
            Step::Settle(which, outcome, took, retry_after) if !hands.is_empty() => {
                let (real, plain) = hands.swap_remove(which % hands.len());
                breaker.settle(real, End { outcome: *outcome, took: *took, retry_after: *retry_after }, tick);
                model.settle(plain, now, *outcome, *took, *retry_after);
            }
            Step::Settle(..) => {}
            Step::Call(outcome) => {
                let (real, plain) = (breaker.admit(tick).permit, model.admit(now));
                prop_assert_eq!(real.err(), plain.err(), "{:?}", step);
                if let (Ok(real), Ok(plain)) = (real, plain) {
                    breaker.settle(real, (*outcome).into(), tick);
                    model.settle(plain, now, *outcome, Duration::ZERO, None);
                }
            }
            Step::Wait(wait) => now += wait.as_nanos() as u64,
            Step::Command(command) => {
                let (command, state): (fn(&Breaker, Tick), _) = match command {
                    0 => (Breaker::force_open, State::ForcedOpen),
                    1 => (Breaker::disable, State::Disabled),
                    2 => (Breaker::metrics_only, State::MetricsOnly),
                    _ => (Breaker::reset, State::Closed),
                };
                command(&breaker, tick());
                model.enter(state, 0);
            }
        }
        model.look(now);
        prop_assert_eq!(breaker.view(Tick(now)).state, model.state, "after {:?}", step);
        prop_assert_eq!(breaker.counts(Tick(now)), model.counts(now), "after {:?}", step);
    }
    Ok(())
}
