use proptest::prelude::*;

use super::{
    super::state::{Counts, State, View},
    inner::HISTORY,
    *,
};

mod model;
mod states;
mod threads;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Tick {
    Tick::default().after(SECOND * u32::try_from(seconds).unwrap())
}

fn breaker(config: &CircuitBreakerConfig) -> Breaker {
    Breaker::new(config, 1).unwrap()
}

fn pass(breaker: &Breaker, now: Tick) -> Permit {
    breaker.admit(|| now).permit.expect("the call passes")
}

fn call(breaker: &Breaker, outcome: Outcome, now: Tick) {
    let permit = pass(breaker, now);
    breaker.settle(permit, outcome.into(), || now);
}

fn fail_once() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 1, ..Default::default() }
}

/// Opened at zero; half-open from 60 s on.
fn opened(config: &CircuitBreakerConfig) -> Breaker {
    let breaker = breaker(config);
    call(&breaker, Outcome::Failure, at(0));
    assert_eq!(breaker.view(at(0)).state, State::Open);
    breaker
}

fn state(breaker: &Breaker, now: Tick) -> State {
    breaker.view(now).state
}

#[test]
fn an_answer_forgets_failures_and_a_429_does_not() {
    let breaker = breaker(&CircuitBreakerConfig { failure_threshold: 2, ..Default::default() });
    for outcome in [Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Throttled, Outcome::Ignored] {
        call(&breaker, outcome, at(0));
        assert_eq!(state(&breaker, at(0)), State::Closed);
    }
    assert_eq!(breaker.counts(at(0)).consecutive_failures, 1);
    call(&breaker, Outcome::Failure, at(0));
    assert_eq!(state(&breaker, at(0)), State::Open);
}

#[test]
fn ten_thousand_successes_do_not_delay_the_opening() {
    let config = CircuitBreakerConfig {
        failure_threshold: 0,
        failure_rate: Some(0.5),
        window_calls: Some(10),
        ..Default::default()
    };
    let breaker = breaker(&config);
    (0..10_000).for_each(|_| call(&breaker, Outcome::Success, at(0)));
    (0..4).for_each(|_| call(&breaker, Outcome::Failure, at(0)));
    assert_eq!(state(&breaker, at(0)), State::Closed);
    call(&breaker, Outcome::Failure, at(0));
    assert_eq!(breaker.history().last().map(|change| change.cause), Some(Cause::FailureRate));
}

#[test]
fn rates_are_met_at_exactly_their_number() {
    for calls in (1..=50).chain([100]) {
        for limit in 1..=calls {
            let config = CircuitBreakerConfig {
                failure_threshold: 0,
                failure_rate: Some(f64::from(limit) / f64::from(calls)),
                minimum_calls: Some(calls),
                ..Default::default()
            };
            let breaker = breaker(&config);
            for number in 1..=calls {
                assert_eq!(state(&breaker, at(0)), State::Closed, "{limit} of {calls}, after {number}");
                call(&breaker, if number <= limit { Outcome::Failure } else { Outcome::Success }, at(0));
            }
            assert_eq!(state(&breaker, at(0)), State::Open, "{limit} of {calls}, when the minimum is complete");
        }
    }
}

#[test]
fn a_window_of_time_starts_anew_after_recovery_even_in_the_same_slice() {
    let config = CircuitBreakerConfig {
        failure_threshold: 0,
        failure_rate: Some(0.5),
        window: Some(SECOND * 1000),
        minimum_calls: Some(4),
        open_for: SECOND,
        ..Default::default()
    };
    let breaker = breaker(&config);
    let ends = [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Success];
    for _ in 0..2 {
        ends.iter().for_each(|&end| call(&breaker, end, at(1)));
        assert_eq!(state(&breaker, at(1)), State::Open, "on the success that completes the minimum");
        call(&breaker, Outcome::Success, at(2));
        (0..4).for_each(|_| call(&breaker, Outcome::Success, at(2)));
        breaker.reset(at(2));
    }
}

#[test]
fn old_successes_that_leave_the_window_raise_the_rate() {
    let config = CircuitBreakerConfig {
        failure_threshold: 0,
        failure_rate: Some(0.5),
        window: Some(10 * SECOND),
        minimum_calls: Some(2),
        ..Default::default()
    };
    let breaker = breaker(&config);
    (0..8).for_each(|_| call(&breaker, Outcome::Success, at(0)));
    (0..3).for_each(|_| call(&breaker, Outcome::Failure, at(5)));
    call(&breaker, Outcome::Success, at(9));
    assert_eq!(state(&breaker, at(9)), State::Closed);
    call(&breaker, Outcome::Success, at(10));
    assert_eq!(state(&breaker, at(10)), State::Open, "3 of 5, and no failure since");
}

#[test]
fn slow_calls_count_when_they_end_whatever_they_ended_in() {
    let config = CircuitBreakerConfig {
        slow_call: Some(SECOND),
        slow_call_rate: Some(0.5),
        minimum_calls: Some(2),
        ..Default::default()
    };
    let end = |took| End { outcome: Outcome::Success, took, retry_after: None };
    let breaker = breaker(&config);
    let permits = [pass(&breaker, at(0)), pass(&breaker, at(0))];
    breaker.settle(permits[0], end(SECOND - Duration::from_nanos(1)), || at(1));
    assert_eq!(breaker.counts(at(1)).slow, 0);
    breaker.settle(permits[1], end(SECOND), || at(1));
    assert_eq!(breaker.history().last().map(|change| change.cause), Some(Cause::SlowCallRate));
    let probe = pass(&breaker, at(61));
    breaker.settle(probe, end(SECOND), || at(62));
    assert_eq!(state(&breaker, at(62)), State::Open, "a slow probe has not shown that all is well");
}

#[test]
fn only_so_many_changes_are_kept() {
    let breaker = breaker(&CircuitBreakerConfig::default());
    (0..1000).for_each(|_| {
        breaker.force_open(at(0));
        breaker.reset(at(0));
    });
    assert_eq!((breaker.history().len(), std::iter::from_fn(|| breaker.next_untold()).count()), (HISTORY, HISTORY));
}

#[test]
fn a_healthy_call_reads_no_clock() {
    let window = CircuitBreakerConfig { failure_rate: Some(0.5), ..Default::default() };
    for config in [CircuitBreakerConfig::default(), window] {
        let breaker = breaker(&config);
        let clock = || -> Tick { panic!("the clock is read") };
        for outcome in [Outcome::Success, Outcome::Failure, Outcome::Throttled, Outcome::Ignored, Outcome::Success] {
            let permit = breaker.admit(clock).permit.unwrap();
            breaker.settle(permit, outcome.into(), clock);
        }
        for command in [Breaker::disable, Breaker::metrics_only] {
            command(&breaker, at(0));
            let permit = breaker.admit(clock).permit.unwrap();
            breaker.settle(permit, Outcome::Failure.into(), clock);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn agrees_with_a_plain_list(config in model::config(), steps in proptest::collection::vec(model::step(), 1..200)) {
        model::run(&config, &steps)?;
    }
}
