//! Many threads at once.

use std::{
    sync::{Barrier, atomic::AtomicUsize},
    thread,
};

use super::*;

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
