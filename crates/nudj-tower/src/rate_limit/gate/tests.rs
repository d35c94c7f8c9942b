use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use proptest::prelude::*;

use super::*;

const MS: Nanos = 1_000_000;
/// Large enough to be counted in granules, and thus lent.
const MANY: u32 = 1_100;

fn quota(max_requests: u32) -> Quota {
    Quota { max_requests, window: Duration::from_millis(630) }
}

fn gate(quota: Quota) -> Gate {
    let Quota { max_requests, window } = quota;
    Gate::new(&Arc::new(Settings::new(&RateLimitConfig { max_requests, window, ..Default::default() })), true)
}

/// Takes until there is no more.
fn drain(gate: &Gate, now: Nanos) -> u32 {
    (0..=u32::MAX).find(|_| gate.take(now).is_none()).unwrap()
}

#[test]
fn of_a_large_quota_nearly_all_pass_without_the_lock() {
    let gate = gate(quota(MANY));
    gate.take(0).unwrap();
    let held = gate.limiter.lock();
    let lent = (0..).find(|_| gate.allowance.take(1).is_none()).unwrap();
    drop(held);
    assert_eq!(lent, MANY - 1);
    assert_eq!((gate.take(1), gate.counts().granted), (None, u64::from(MANY)));
}

#[test]
fn what_was_lent_is_neither_granted_twice_nor_lost_whatever_happens_to_the_limiter_meanwhile() {
    let gate = gate(quota(MANY));
    let first = gate.take(0).unwrap();
    (0..99).for_each(|_| assert!(gate.take(0).is_some()));
    assert_eq!(gate.read(|limiter| limiter.available(0)), MANY - 100);
    gate.give_back(first, 0);
    gate.give_back(gate.take(0).unwrap(), 0);
    gate.change_at(|| quota(MANY + 50), || 0);
    let counts = gate.counts();
    assert_eq!((counts.granted, counts.given_back), (101, 2));
    assert_eq!(drain(&gate, 0), MANY + 50 - 99);
    gate.change_at(|| quota(10), || 0);
    assert_eq!(drain(&gate, 600 * MS), 0, "a quota that keeps each grant's time knows of those that were lent");
    assert_eq!(drain(&gate, 1_300 * MS), 10);
}

#[test]
fn what_was_lent_counts_when_it_was_taken_however_the_quota_changes_and_whatever_is_given_back() {
    let short = Quota { window: Duration::from_millis(63), ..quota(MANY) };
    let gate = gate(quota(MANY));
    gate.take(0).unwrap();
    let lent: Vec<_> = (0..500).map(|_| gate.take(0).unwrap()).collect();
    gate.change_at(|| short, || MS);
    let real = (0..500).filter(|_| gate.take(19 * MS / 2).is_some()).count();
    assert_eq!(real, 500);
    for grant in lent {
        gate.give_back(grant, 19 * MS / 2);
    }
    assert!(drain(&gate, 65 * MS) <= MANY - 500, "less than a window after those");
    // And a change waits for those who take.
    let gate = self::gate(quota(MANY));
    gate.take(0).unwrap();
    (2..MANY).for_each(|_| assert!(gate.take(9 * MS).is_some()));
    // As long as it is lent somebody may take of it after the clock was read.
    let read_late = || if gate.allowance.take(0).is_none() { 9 * MS } else { MS };
    gate.change_at(|| quota(1_000), read_late);
    assert_eq!((drain(&gate, 638 * MS), drain(&gate, 639 * MS)), (0, 1_000));
}

#[test]
fn nobody_passes_by_what_was_lent_before_a_pause_or_while_others_wait() {
    let gate = gate(quota(MANY));
    gate.take(0).unwrap();
    assert!(gate.pause_from(0, Duration::from_millis(5)));
    assert_eq!(gate.take(4 * MS), None);
    assert!(gate.take(5 * MS).is_some());
    assert!(gate.pause_from(5 * MS, Duration::from_millis(1)));
    let nobody = Context::from_waker(Waker::noop());
    assert!(matches!(gate.admit(5 * MS, None, &nobody), Admission::Waits { .. }));
    assert_eq!((gate.take(6 * MS), gate.take(6 * MS)), (None, None), "somebody was here before");
    gate.advance(6 * MS);
    drain(&gate, 6 * MS);
    assert!(matches!(gate.admit(6 * MS, None, &nobody), Admission::Waits { .. }));
    assert_eq!(gate.take(700 * MS), None);
    gate.advance(700 * MS);
    assert!(gate.take(700 * MS).is_some());
}

#[test]
fn a_thread_that_read_the_clock_long_ago_finds_nothing_lent_of_back_then() {
    let gate = gate(quota(MANY));
    gate.take(0).unwrap();
    assert!(gate.allowance.take(9 * MS).is_some());
    gate.resume(12 * MS);
    assert_eq!(gate.allowance.take(9 * MS), None);
    assert!(gate.take(9 * MS).is_some() && gate.allowance.take(12 * MS).is_some());
}

#[test]
fn threads_take_no_more_than_the_quota_in_any_window_and_all_of_it() {
    for _ in 0..20 {
        let (gate, clock) = (gate(quota(MANY)), AtomicU64::new(0));
        // Past the first window and into the second.
        let taken = thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|number| {
                    let (gate, clock) = (&gate, &clock);
                    scope.spawn(move || {
                        let mut taken = [0u32; 3];
                        for turn in 0..2_000u64 {
                            let now = clock.fetch_add(if turn % 50 == 0 { 8 * MS } else { 0 }, SeqCst);
                            match gate.take(now) {
                                // Given back, it is there for another.
                                Some(grant) if (turn + number) % 7 == 0 => gate.give_back(grant, now),
                                // Whoever is late counts when it comes: between the two, for certain in neither.
                                Some(_) if clock.load(SeqCst) < 630 * MS => taken[0] += 1,
                                Some(_) => taken[if now < 630 * MS { 1 } else { 2 }] += 1,
                                None => thread::yield_now(),
                            }
                        }
                        taken
                    })
                })
                .collect();
            takers
                .into_iter()
                .map(|taker| taker.join().unwrap())
                .fold([0; 3], |sum, taken| [sum[0] + taken[0], sum[1] + taken[1], sum[2] + taken[2]])
        });
        assert!(taken[0] <= MANY && taken[2] <= MANY, "{taken:?}");
        let counts = gate.counts();
        assert_eq!(counts.granted - counts.given_back, u64::from(taken.iter().sum::<u32>()));
        let end = clock.load(SeqCst) + 1_300 * MS;
        assert_eq!(drain(&gate, end), MANY, "nothing is lost");
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Some threads are late: they have read the clock before others.
    Take {
        late: Nanos,
    },
    Pass(Nanos),
    GiveBack(usize),
    Pause(u64),
    Resume,
    Change(u32),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => prop_oneof![3 => Just(0), 1 => 0..30 * MS].prop_map(|late| Step::Take { late }),
        6 => prop_oneof![0..12 * MS, 0..700 * MS].prop_map(Step::Pass),
        3 => any::<usize>().prop_map(Step::GiveBack),
        1 => (0u64..40).prop_map(Step::Pause),
        1 => Just(Step::Resume),
        1 => prop_oneof![Just(5), 1_025u32..1_040].prop_map(Step::Change),
        2 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    /// Its lending shows nowhere: a limiter that lends nothing says the same.
    #[test]
    fn it_says_what_its_limiter_would(spent in 1_000u32..1_030, steps in proptest::collection::vec(step(), 1..300)) {
        let gate = gate(quota(1_030));
        let mut plain = Limiter::new(Algorithm::SlidingWindow, quota(1_030), true);
        let (mut now, mut grants) = (0u64, Vec::new());
        for _ in 0..spent {
            grants.push((gate.take(now).unwrap(), plain.take(now).unwrap()));
        }
        for step in steps {
            // As the gate does after all but a look and a grant.
            let mut advances = true;
            match step {
                Step::Take { late } => {
                    let at = now.saturating_sub(late);
                    let (ours, its) = (gate.take(at), plain.take(at));
                    prop_assert_eq!(ours.is_some(), its.is_some());
                    grants.extend(ours.zip(its));
                    advances = false;
                }
                Step::Pass(time) => {
                    now += time;
                    advances = false;
                }
                Step::GiveBack(which) if !grants.is_empty() => {
                    let (ours, its) = grants.swap_remove(which % grants.len());
                    gate.give_back(ours, now);
                    plain.give_back(its, now);
                }
                Step::GiveBack(_) => advances = false,
                Step::Pause(ms) => {
                    gate.pause_from(now, Duration::from_millis(ms));
                    plain.pause(now + ms * MS, now);
                }
                Step::Resume => {
                    gate.resume(now);
                    plain.resume();
                }
                Step::Change(max) => {
                    gate.change_at(|| quota(max), || now);
                    plain.change(quota(max), now);
                    // A log finds a grant by its time, which of those that were counted it knows otherwise.
                    grants.clear();
                }
                Step::Look => {
                    prop_assert_eq!(gate.read(|limiter| limiter.available(now)), plain.available(now));
                    prop_assert_eq!(gate.counts(), plain.counts);
                    prop_assert_eq!(gate.read(|limiter| limiter.is_idle(now)), plain.is_idle(now));
                    advances = false;
                }
            }
            if advances {
                plain.advance(now, &mut Wakes::default());
            }
        }
    }
}
