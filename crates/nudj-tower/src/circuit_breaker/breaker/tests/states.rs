//! From open to closed: its time, its probes, and commands.

use super::*;

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
