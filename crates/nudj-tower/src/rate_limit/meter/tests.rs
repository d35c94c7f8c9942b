use std::num::NonZeroU32;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

const MS: Nanos = 1_000_000;

fn quota(max_requests: u32, window: Nanos) -> Quota {
    Quota { max_requests, window: Duration::from_nanos(window) }
}

/// Granules whatever the quota, to test them with numbers that a test can count.
fn granules(quota: Quota) -> Meter {
    Meter::Granules(Granules::new(Rate::new(quota)))
}

fn meters(quota: Quota) -> [Meter; 3] {
    [Meter::new(Algorithm::SlidingWindow, quota, false), granules(quota), Meter::new(Algorithm::Gcra, quota, false)]
}

#[test]
fn a_slot_is_free_a_whole_window_after_its_grant_and_not_before() {
    let mut log = Meter::new(Algorithm::SlidingWindow, quota(2, 1000), true);
    assert!(log.take(10).is_some() && log.take(500).is_some() && log.take(500).is_none());
    assert_eq!((log.nth(0, 500), log.nth(1, 500), log.nth(2, 500), log.nth(5, 500)), (1010, 1500, 2010, 3500));
    assert!(log.take(1009).is_none());
    assert!(log.take(1010).is_some(), "`>=` at the boundary");
    assert!(log.take(1010).is_none());
}

#[test]
fn large_quotas_are_counted_in_granules_of_bounded_memory() {
    let large = Meter::new(Algorithm::SlidingWindow, quota(LOG_MAX + 1, 1_000 * MS), true);
    assert!(matches!(large, Meter::Granules(_)));
    assert!(matches!(Meter::new(Algorithm::SlidingWindow, quota(LOG_MAX, 1), true), Meter::Log(_)));
    assert_eq!(size_of::<[u32; 64]>(), 256);
    assert!(size_of::<Meter>() <= 56, "{}", size_of::<Meter>());
}

#[test]
fn quota_given_back_is_there_at_once_and_only_once() {
    for mut meter in meters(quota(2, 1000 * MS)) {
        let (first, second) = (meter.take(MS).unwrap(), meter.take(2 * MS).unwrap());
        assert!(meter.take(2 * MS).is_none());
        meter.give_back(first, 2 * MS);
        assert!(meter.take(2 * MS).is_some(), "{meter:?}");
        assert!(meter.take(2 * MS).is_none(), "{meter:?}");
        // Long after, a grant is forgotten: giving it back changes nothing.
        meter.take(5000 * MS).unwrap();
        meter.take(5000 * MS).unwrap();
        meter.give_back(second, 5000 * MS);
        assert!(meter.take(5000 * MS).is_none(), "{meter:?}");
    }
}

#[test]
fn a_changed_quota_counts_what_was_granted_before() {
    for mut meter in meters(quota(4, 1000 * MS)) {
        for _ in 0..4 {
            meter.take(100 * MS).unwrap();
        }
        meter.change(quota(6, 1000 * MS), 100 * MS, false);
        let free = (0..6).take_while(|_| meter.take(100 * MS).is_some()).count();
        assert_eq!(free, 2, "{meter:?}");
        meter.change(quota(3, 1000 * MS), 100 * MS, false);
        assert!(meter.take(100 * MS).is_none() && meter.take(400 * MS).is_none(), "{meter:?}");
        meter.change(quota(2000, 1000 * MS), 400 * MS, false);
        assert!(meter.available(400 * MS) >= 1994, "{meter:?}");
        meter.change(quota(2, 1000 * MS), 400 * MS, false);
        assert!(meter.nth(0, 400 * MS) <= 2900 * MS, "{meter:?}");
    }
}

#[test]
fn a_quota_that_goes_down_and_up_forgets_no_grant() {
    for (mut meter, few) in [
        (Meter::new(Algorithm::SlidingWindow, quota(100, 1000 * MS), false), 2),
        (granules(quota(2000, 1000 * MS)), 10),
    ] {
        let grants: Vec<Grant> = std::iter::from_fn(|| meter.take(100 * MS)).collect();
        let all = grants.len() as u32;
        meter.change(quota(few, 1000 * MS), 200 * MS, false);
        for grant in &grants[..4] {
            meter.give_back(*grant, 200 * MS);
        }
        assert_eq!((meter.available(200 * MS), meter.take(200 * MS)), (0, None), "{meter:?}");
        meter.change(quota(all, 1000 * MS), 300 * MS, false);
        let free = std::iter::from_fn(|| meter.take(300 * MS)).count() as u32;
        // What does not fit a log is forgotten.
        assert!(free <= 4.max(all.saturating_sub(LOG_MAX)), "{free} of {all}: {meter:?}");
        assert!(meter.take(2000 * MS).is_some());
    }
}

#[test]
fn gcra_allows_a_burst_and_then_one_each_cell() {
    let mut meter = Meter::new(Algorithm::Gcra, quota(4, 1000 * MS), true);
    assert_eq!(meter.available(0), 4);
    assert_eq!((0..10).filter(|_| meter.take(0).is_some()).count(), 4);
    assert_eq!((meter.nth(0, 0), meter.nth(3, 0)), (250 * MS, 1000 * MS));
    assert!(meter.take(250 * MS - 1).is_none() && meter.take(250 * MS).is_some());
}

#[test]
fn a_lowered_gcra_quota_lets_the_next_call_pass_after_one_of_its_cells() {
    let second = 1000 * MS;
    let mut meter = Meter::new(Algorithm::Gcra, quota(1000, 60 * second), true);
    let used = meter.take(0).unwrap();
    assert_eq!((1..1000).filter(|_| meter.take(0).is_some()).count(), 999);
    meter.change(quota(10, 60 * second), 0, false);
    assert_eq!((meter.available(0), meter.nth(0, 0)), (0, 6 * second));
    meter.give_back(used, 0);
    assert!(meter.take(6 * second - 1).is_none(), "what was granted before the change is not given back");
    assert!(meter.take(6 * second).is_some() && meter.take(6 * second).is_none());
}

#[test]
fn gcra_quota_given_back_in_two_waves_is_no_second_burst() {
    let mut meter = Meter::new(Algorithm::Gcra, quota(100, 1000 * MS), true);
    let first: Vec<Grant> = (0..100).filter_map(|_| meter.take(0)).collect();
    first[..50].iter().for_each(|grant| meter.give_back(*grant, 0));
    let at = 490 * MS;
    assert_eq!((0..50).filter(|_| meter.take(at).is_some()).count(), 50);
    // Their cells moved forward with the refund, so all but the last have drained.
    first[50..].iter().for_each(|grant| meter.give_back(*grant, at));
    assert_eq!((0..100).filter(|_| meter.take(at).is_some()).count(), 50, "{meter:?}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Nanos),
    Take,
    /// Of the grants that are out, one, counted from the newest.
    GiveBack(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..400_u64).prop_map(Step::Wait),
        1 => (0..3000_u64).prop_map(Step::Wait),
        6 => Just(Step::Take),
        1 => (0..4_usize).prop_map(Step::GiveBack),
    ];
    prop::collection::vec(step, 0..200)
}

/// Runs the steps; the times of all grants that were not given back, and what was asked in vain and when.
fn run(meter: &mut Meter, steps: &[Step]) -> (Vec<Nanos>, Vec<(Nanos, Vec<Nanos>)>) {
    let (mut now, mut kept, mut vain) = (0, Vec::<(Nanos, Grant)>::new(), Vec::new());
    for step in steps {
        match *step {
            Step::Wait(time) => now += time,
            Step::Take => match meter.take(now) {
                Some(grant) => kept.push((now, grant)),
                None => vain.push((now, kept.iter().map(|(at, _)| *at).collect())),
            },
            Step::GiveBack(newest) => {
                if let Some(index) = kept.len().checked_sub(newest + 1) {
                    let (_, grant) = kept.remove(index);
                    meter.give_back(grant, now);
                }
            }
        }
    }
    (kept.into_iter().map(|(at, _)| at).collect(), vain)
}

proptest! {
    #[test]
    fn no_window_wherever_it_starts_holds_more_than_max(max in 1..8_u32, window in 63..1500_u64, steps in steps()) {
        let quota = quota(max, window);
        for mut meter in [Meter::new(Algorithm::SlidingWindow, quota, false), granules(quota)] {
            let (kept, _) = run(&mut meter, &steps);
            for pair in kept.windows(max as usize + 1) {
                prop_assert!(pair[max as usize] - pair[0] >= window, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_log_refuses_only_when_the_window_is_full(max in 1..8_u32, window in 1..1500_u64, steps in steps()) {
        let (_, vain) = run(&mut Meter::new(Algorithm::SlidingWindow, quota(max, window), false), &steps);
        for (now, kept) in vain {
            let inside = kept.iter().filter(|at| now - **at < window).count();
            prop_assert_eq!(inside, max as usize);
        }
    }

    #[test]
    fn granules_are_late_by_one_granule_at_most(max in 1..8_u32, window in 63..1500_u64, steps in steps()) {
        let (_, vain) = run(&mut granules(quota(max, window)), &steps);
        for (now, kept) in vain {
            let inside = kept.iter().filter(|at| now - **at < 64 * window.div_ceil(63)).count();
            prop_assert!(inside >= max as usize, "{now} {kept:?}");
        }
    }

    #[test]
    fn gcra_is_governors_and_giving_back_gains_less_than_a_call(max in 1..8_u32, window in 63..1500_u64, steps in steps()) {
        let rate = quota(max, window);
        let mut ours = Meter::new(Algorithm::Gcra, rate, false);
        let clock = FakeRelativeClock::default();
        let cell = window / u64::from(max);
        let theirs = governor::RateLimiter::direct_with_clock(
            governor::Quota::with_period(Duration::from_nanos(cell)).unwrap().allow_burst(NonZeroU32::new(max).unwrap()),
            clock.clone(),
        );
        let mut now = 1;
        clock.advance(Duration::from_nanos(1));
        for step in &steps {
            match step {
                Step::Wait(time) => { now += time; clock.advance(Duration::from_nanos(*time)); }
                _ => prop_assert_eq!(ours.take(now).is_some(), theirs.check().is_ok()),
            }
        }
        let (kept, _) = run(&mut Meter::new(Algorithm::Gcra, rate, false), &steps);
        for (first, from) in kept.iter().enumerate() {
            for (last, to) in kept.iter().enumerate().skip(first) {
                prop_assert!((last - first) as u64 <= u64::from(max) + (to - from) / cell + 1);
            }
        }
    }

    #[test]
    fn gcra_passes_no_more_than_its_burst_and_its_rate_whatever_is_given_back(
        max in 1..9_u32,
        waves in prop::collection::vec((0..9_usize, 0..9_usize, prop_oneof![Just(0_u64), 0..400_u64]), 0..60),
    ) {
        let mut meter = Meter::new(Algorithm::Gcra, quota(max, 1000), false);
        let (mut now, mut kept) = (0, Vec::new());
        for (takes, oldest, wait) in waves {
            kept.extend((0..takes).map_while(|_| Some((now, meter.take(now)?))));
            kept.drain(..oldest.min(kept.len())).for_each(|(_, grant)| meter.give_back(grant, now));
            now += wait;
        }
        for (first, (from, _)) in kept.iter().enumerate() {
            for (last, (to, _)) in kept.iter().enumerate().skip(first) {
                prop_assert!(((last - first) as u64) < u64::from(max) + (to - from) / (1000 / u64::from(max)));
            }
        }
    }

    #[test]
    fn the_foretold_turns_are_when_calls_pass(max in 1..6_u32, window in 63..1500_u64, steps in steps(), wait in 0..500_u64) {
        for mut meter in meters(quota(max, window)) {
            let now: Nanos = steps.iter().map(|step| if let Step::Wait(time) = step { *time } else { 0 }).sum();
            run(&mut meter, &steps);
            let from = now + wait;
            let foretold: Vec<_> = (0..20).map(|ahead| meter.nth(ahead, from)).collect();
            let mut seen = Vec::new();
            let mut at = from;
            while seen.len() < 20 {
                let next = meter.nth(0, at);
                if next > at {
                    prop_assert!(meter.clone().take(next - 1).is_none(), "{meter:?} before its turn");
                }
                prop_assert!(meter.take(next).is_some(), "{meter:?} at its turn");
                seen.push(next);
                at = next;
            }
            prop_assert_eq!(foretold, seen);
        }
    }

    #[test]
    fn what_is_said_to_be_available_is(max in 1..8_u32, window in 63..1500_u64, steps in steps(), wait in 0..2000_u64) {
        for mut meter in meters(quota(max, window)) {
            let now: Nanos = steps.iter().map(|step| if let Step::Wait(time) = step { *time } else { 0 }).sum::<Nanos>() + wait;
            run(&mut meter, &steps);
            let (said, idle) = (meter.available(now), meter.is_idle(now));
            let mut taken = 0;
            while meter.take(now).is_some() {
                taken += 1;
            }
            prop_assert_eq!((said, idle), (taken, taken == max));
        }
    }
}
