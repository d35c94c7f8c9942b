use std::{
    sync::{Barrier, atomic::AtomicUsize},
    thread,
};

use proptest::prelude::*;

use super::{
    super::state::{Counts, State, View},
    inner::HISTORY,
    *,
};

mod model;

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
fn open_ends_at_its_time_and_not_before() {
    let breaker = opened(&fail_once());
    let last = Tick(at(60).0 - 1);
    assert_eq!(breaker.admit(|| last).permit, Err(Some(Duration::from_nanos(1))));
    assert_eq!(breaker.view(at(90)), View { state: State::Open, admits: true, until_probe: Some(Duration::ZERO) });
    assert!(breaker.admit(|| at(60)).permit.is_ok());
    assert_eq!(state(&breaker, at(60)), State::HalfOpen);
}

#[test]
fn a_servers_wish_lengthens_the_open_time_up_to_the_cap() {
    for (asked, expected) in [(10, 60), (60, 60), (120, 120), (9999, 300)] {
        let breaker = breaker(&fail_once());
        let permit = pass(&breaker, at(0));
        let retry_after = Some(SECOND * asked);
        breaker.settle(permit, End { retry_after, ..Outcome::Failure.into() }, || at(0));
        assert_eq!(breaker.view(at(0)).until_probe, Some(SECOND * expected), "{asked}");
    }
}

#[test]
fn open_time_grows_with_jitter_up_to_the_cap_and_starts_anew_once_closed() {
    let config = CircuitBreakerConfig { open_growth: 2.0, max_open_for: SECOND * 200, ..fail_once() };
    let breaker = opened(&config);
    let (mut now, mut grown) = (at(0), Vec::new());
    for _ in 0..6 {
        let wait = breaker.view(now).until_probe.unwrap();
        grown.push(wait);
        now = now.after(wait);
        call(&breaker, Outcome::Failure, now);
    }
    assert_eq!(grown[0], SECOND * 60, "the first time is not drawn");
    for (wait, full) in grown.iter().skip(1).zip([120, 200, 200, 200, 200]) {
        assert!((SECOND * 60.max(full / 2)..=SECOND * full).contains(wait), "{wait:?} of {full} s");
    }
    assert!(grown[3] != grown[4], "two draws of one seed");
    for seed in 0..50 {
        let config = CircuitBreakerConfig { open_growth: 1.1, ..fail_once() };
        let breaker = Breaker::new(&config, seed).unwrap();
        call(&breaker, Outcome::Failure, at(0));
        call(&breaker, Outcome::Failure, at(60));
        let wait = breaker.view(at(60)).until_probe.unwrap();
        assert!((SECOND * 60..=SECOND * 66).contains(&wait), "never below open_for: {wait:?}");
    }
    now = now.after(SECOND * 200);
    call(&breaker, Outcome::Success, now);
    call(&breaker, Outcome::Failure, now);
    assert_eq!(breaker.view(now).until_probe, Some(SECOND * 60));
}

#[test]
fn so_many_probes_pass_and_no_more() {
    let breaker = opened(&CircuitBreakerConfig { half_open_probes: 3, ..fail_once() });
    let probes: Vec<_> = (0..9).filter_map(|_| breaker.admit(|| at(60)).permit.ok()).collect();
    assert_eq!(probes.len(), 3);
    for (number, probe) in probes.into_iter().enumerate() {
        assert_eq!(state(&breaker, at(61)), State::HalfOpen, "{number} are not enough");
        assert!(breaker.admit(|| at(61)).permit.is_err(), "an ended probe does not make room for another");
        breaker.settle(probe, Outcome::Success.into(), || at(61));
    }
    assert_eq!(state(&breaker, at(61)), State::Closed);
}

#[test]
fn an_ignored_probe_gives_its_place_back() {
    let breaker = opened(&fail_once());
    for _ in 0..5 {
        let probe = pass(&breaker, at(60));
        assert!(breaker.admit(|| at(60)).permit.is_err());
        breaker.settle(probe, Outcome::Ignored.into(), || at(60));
        assert_eq!(state(&breaker, at(60)), State::HalfOpen, "neither opens nor closes it");
    }
}

#[test]
fn half_open_ends_as_soon_as_the_needed_successes_are_out_of_reach() {
    let config = CircuitBreakerConfig { half_open_probes: 4, success_threshold: Some(2), ..fail_once() };
    for (ends, expected) in [
        (&[Outcome::Failure, Outcome::Throttled][..], State::HalfOpen),
        (&[Outcome::Failure, Outcome::Throttled, Outcome::Failure], State::Open),
        (&[Outcome::Failure, Outcome::Success, Outcome::Failure], State::HalfOpen),
        (&[Outcome::Success, Outcome::Success], State::Closed),
    ] {
        let breaker = opened(&config);
        for &end in ends {
            call(&breaker, end, at(60));
        }
        assert_eq!(state(&breaker, at(60)), expected, "{ends:?}");
    }
}

#[test]
fn half_open_opens_again_when_its_time_is_over() {
    let config = CircuitBreakerConfig { half_open_for: Some(SECOND * 10), half_open_probes: 2, ..fail_once() };
    let breaker = opened(&config);
    let lost = pass(&breaker, at(60));
    assert_eq!(state(&breaker, Tick(at(70).0 - 1)), State::HalfOpen);
    assert_eq!(breaker.view(at(75)).until_probe, Some(SECOND * 55), "it opened at 70 s, not when somebody looked");
    breaker.settle(lost, Outcome::Success.into(), || at(75));
    assert_eq!(state(&breaker, at(75)), State::Open, "the lost probe came too late");
    let breaker = opened(&config);
    let _lost = pass(&breaker, at(60));
    assert!(breaker.admit(|| at(130)).permit.is_ok(), "half-open ran out at 70 s, open at 130 s");
    assert_eq!(
        breaker.history().iter().map(|change| (change.to, change.cause, change.at)).collect::<Vec<_>>()[2..],
        [(State::Open, Cause::ProbesTookTooLong, at(70)), (State::HalfOpen, Cause::ProbeDue, at(130)),]
    );
}

#[test]
fn a_result_from_an_earlier_state_changes_nothing() {
    let breaker = breaker(&fail_once());
    let old: Vec<_> = (0..3).map(|_| pass(&breaker, at(0))).collect();
    call(&breaker, Outcome::Failure, at(0));
    breaker.settle(old[0], Outcome::Success.into(), || at(1));
    assert_eq!(state(&breaker, at(1)), State::Open);
    let probe = pass(&breaker, at(60));
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored] {
        breaker.settle(old[1], outcome.into(), || at(60));
        assert_eq!(state(&breaker, at(60)), State::HalfOpen);
        assert!(breaker.admit(|| at(60)).permit.is_err(), "nor does it make room for another probe");
    }
    breaker.settle(probe, Outcome::Success.into(), || at(60));
    breaker.settle(old[2], Outcome::Failure.into(), || at(60));
    assert_eq!((state(&breaker, at(60)), breaker.counts(at(60)).consecutive_failures), (State::Closed, 0));
}

#[test]
fn commands_hold_until_the_next_command() {
    let config = CircuitBreakerConfig { failure_rate: Some(0.5), ..fail_once() };
    let breaker = breaker(&config);
    breaker.force_open(at(0));
    assert_eq!(breaker.admit(|| at(9999)).permit, Err(None));
    breaker.disable(at(0));
    (0..99).for_each(|_| call(&breaker, Outcome::Failure, at(0)));
    assert_eq!((state(&breaker, at(0)), breaker.counts(at(0))), (State::Disabled, Counts::default()));
    breaker.metrics_only(at(0));
    (0..99).for_each(|_| call(&breaker, Outcome::Failure, at(0)));
    assert_eq!((state(&breaker, at(0)), breaker.counts(at(0)).failed), (State::MetricsOnly, 99));
    breaker.reset(at(0));
    assert_eq!((state(&breaker, at(0)), breaker.counts(at(0))), (State::Closed, Counts::default()));
    assert_eq!(
        std::iter::from_fn(|| breaker.next_untold()).map(|change| change.to).collect::<Vec<_>>(),
        [State::ForcedOpen, State::Disabled, State::MetricsOnly, State::Closed]
    );
    breaker.reset(at(0));
    assert_eq!(breaker.next_untold(), None, "closed to closed is no change");
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

#[test]
fn many_threads_get_exactly_the_probes_there_are() {
    for probes in 1..=4 {
        let breaker = opened(&CircuitBreakerConfig { half_open_probes: probes, ..fail_once() });
        let (barrier, passed) = (Barrier::new(8), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..200 {
                        passed.fetch_add(usize::from(breaker.admit(|| at(60)).permit.is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), probes as usize);
    }
}

#[test]
fn many_threads_lose_no_outcome() {
    let ring = CircuitBreakerConfig { window_calls: Some(4000), ..Default::default() };
    let time = CircuitBreakerConfig { window: Some(SECOND * 10), ..Default::default() };
    for config in [ring, time] {
        let config = CircuitBreakerConfig { failure_threshold: 0, failure_rate: Some(1.0), ..config };
        let (breaker, barrier) = (breaker(&config), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    for number in 0..1000 {
                        call(&breaker, if number % 10 == 9 { Outcome::Failure } else { Outcome::Success }, at(0));
                    }
                });
            }
        });
        let counts = breaker.counts(at(0));
        assert_eq!((counts.calls, counts.failed), (4000, 400));
    }
}

#[test]
fn no_failure_is_lost_among_successes_that_take_no_lock() {
    let config = CircuitBreakerConfig {
        failure_threshold: 0,
        failure_rate: Some(1.0),
        window_calls: Some(10_000),
        ..Default::default()
    };
    let (breaker, barrier) = (breaker(&config), Barrier::new(3));
    (0..10_000).for_each(|_| call(&breaker, Outcome::Success, at(0)));
    thread::scope(|scope| {
        for outcome in [Outcome::Success, Outcome::Success, Outcome::Failure] {
            let (breaker, barrier) = (&breaker, &barrier);
            scope.spawn(move || {
                barrier.wait();
                (0..3000).for_each(|_| call(breaker, outcome, at(0)));
            });
        }
    });
    assert_eq!(breaker.counts(at(0)).failed, 3000, "9000 ends push no failure out of 10 000 places");
}

#[test]
fn many_threads_open_it_once() {
    for _ in 0..50 {
        let (breaker, barrier) = (breaker(&CircuitBreakerConfig::default()), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let permits: Vec<_> = (0..5).map(|_| pass(&breaker, at(0))).collect();
                    barrier.wait();
                    permits.into_iter().for_each(|permit| {
                        breaker.settle(permit, Outcome::Failure.into(), || at(0));
                    });
                });
            }
        });
        assert_eq!(breaker.history().len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn agrees_with_a_plain_list(config in model::config(), steps in proptest::collection::vec(model::step(), 1..200)) {
        model::run(&config, &steps)?;
    }
}
