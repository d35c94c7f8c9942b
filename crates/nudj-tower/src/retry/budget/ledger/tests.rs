use proptest::prelude::*;

use super::*;

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[test]
fn the_ratio_is_taken_as_it_is_written() {
    for (ratio, calls, expected) in [
        (0.29, 100, 29),
        (0.1, 30, 3),
        (0.7, 10, 7),
        (0.6, 10, 6),
        (0.9, 10, 9),
        (0.4, 10, 4),
        (0.2, 9, 1),
        (1.0, 7, 7),
        (2.5, 4, 10),
        (2.01, 100, 201),
        (1.001, 1000, 1001),
        (0.0, 1000, 0),
        (1.0 / 3.0, 3, 0),
        (1e300, 1, 18_446_744_073),
    ] {
        let (mut ledger, now) = (Ledger::new(ratio, 0), start());
        ledger.count(calls, calls, now);
        assert_eq!(ledger.left(now), expected, "{ratio} of {calls}");
    }
}

#[test]
fn the_reserve_is_there_from_the_start_and_comes_back_after_ten_seconds() {
    let (mut ledger, now) = (Ledger::new(0.2, 1), start());
    for _ in 0..10 {
        assert!(ledger.reserve(now));
        ledger.spend(now);
    }
    assert!(!ledger.reserve(now));
    assert!(!ledger.reserve(now + Duration::from_nanos(9_999_999_999)));
    assert_eq!(ledger.left(now + WINDOW), 10);
}

#[test]
fn what_waits_counts_until_it_is_sent_or_given_back() {
    let (mut ledger, now) = (Ledger::new(0.0, 1), start());
    assert!((0..10).all(|_| ledger.reserve(now)) && !ledger.reserve(now));
    assert!(!ledger.reserve(now + 3 * WINDOW), "ten wait, however long");
    ledger.give_back();
    assert!(ledger.reserve(now + 3 * WINDOW) && !ledger.reserve(now + 3 * WINDOW));
    ledger.spend(now + 3 * WINDOW);
    assert_eq!(ledger.left(now + 4 * WINDOW - Duration::from_nanos(1)), 0);
    assert_eq!(ledger.left(now + 4 * WINDOW), 1);
}

#[test]
fn calls_of_unknown_time_are_dated_back() {
    let (mut ledger, now) = (Ledger::new(1.0, 0), start());
    ledger.count(1, 1, now);
    ledger.count(5, 0, now + Duration::from_secs(4));
    assert_eq!(ledger.left(now + Duration::from_secs(9)), 5);
    assert_eq!(ledger.left(now + Duration::from_secs(10)), 0, "the four may be as old as the first");
}

#[test]
fn in_a_bucket_repeats_stay_for_the_last_and_calls_leave_with_the_first() {
    let (start, soon) = (start(), Duration::from_millis(100));
    let (mut repeats, mut calls) = (Ledger::new(0.0, 1), Ledger::new(1.0, 0));
    for (n, at) in [start, start + soon].into_iter().enumerate() {
        for _ in 0..5 {
            assert!(repeats.reserve(at));
            repeats.spend(at);
        }
        calls.count(5 * (n as u64 + 1), 5, at);
    }
    assert_eq!(calls.left(start + WINDOW - Duration::from_nanos(1)), 10);
    let between = start + WINDOW + soon / 2;
    assert_eq!((repeats.left(between), calls.left(between)), (0, 0));
    assert_eq!(repeats.left(start + WINDOW + soon), 10);
}

#[test]
fn memory_does_not_grow_however_many_events_there_are() {
    let (mut ledger, mut now) = (Ledger::new(1.0, 1000), start());
    let capacity = |ledger: &Ledger| (ledger.calls.buckets.capacity(), ledger.sent.buckets.capacity());
    let before = capacity(&ledger);
    for n in 1..25_000 {
        now += Duration::from_millis(1);
        ledger.count(n, 1, now);
        assert!(ledger.reserve(now));
        ledger.spend(now);
    }
    assert_eq!(capacity(&ledger), before);
}

/// One thing that happens to a budget.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many calls, of which the ledger hears at once, or only when it is asked next.
    Calls(u64, bool),
    /// A repeat is wanted; if granted it is sent after so long, or given back.
    Repeat(Option<Duration>),
    Pass(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    let step = prop_oneof![
        3 => (1u64..20, any::<bool>()).prop_map(|(calls, told)| Step::Calls(calls, told)),
        4 => proptest::option::weighted(0.8, prop_oneof![Just(Duration::ZERO), millis(0..15_000)]).prop_map(Step::Repeat),
        3 => prop_oneof![millis(0..300), millis(0..12_000)].prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A plain log of everything, with which the ledger is compared.
#[derive(Default)]
struct Log {
    calls: Vec<Instant>,
    sent: Vec<Sent>,
    open: Vec<Open>,
}

/// A granted repeat: when it is sent or given back, when it was granted, and how many could be granted then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    due: Instant,
    granted: Instant,
    bound: u64,
    send: bool,
}

struct Sent {
    at: Instant,
    granted: Instant,
    bound: u64,
}

fn within(time: Instant, now: Instant, window: Duration) -> bool {
    time <= now && now.duration_since(time) < window
}

impl Log {
    fn bound(&self, hundredths: u64, min: u32, now: Instant, window: Duration) -> u64 {
        let calls = self.calls.iter().filter(|&&time| within(time, now, window)).count() as u64;
        calls * hundredths / 100 + u64::from(min) * 10
    }

    fn used(&self, now: Instant, window: Duration) -> u64 {
        (self.open.len() + self.sent.iter().filter(|sent| within(sent.at, now, window)).count()) as u64
    }

    fn settle(&mut self, ledger: &mut Ledger, now: Instant) {
        self.open.sort();
        while let Some(open) = self.open.first().copied().filter(|open| open.due <= now) {
            self.open.remove(0);
            if open.send {
                ledger.spend(open.due);
                self.sent.push(Sent { at: open.due, granted: open.granted, bound: open.bound });
            } else {
                ledger.give_back();
            }
        }
    }

    /// What a server sees: of the repeats that arrive within any ten seconds there are no more than could be granted when the
    /// youngest of them was.
    fn holds_at_the_server(&self) -> bool {
        self.sent.iter().all(|last| {
            let seen: Vec<_> = self.sent.iter().filter(|sent| within(sent.at, last.at, WINDOW)).collect();
            // Of one instant's, the one with the most calls before it.
            let youngest = seen.iter().max_by_key(|sent| (sent.granted, sent.bound));
            youngest.is_some_and(|youngest| seen.len() as u64 <= youngest.bound)
        })
    }
}

proptest! {
    #[test]
    fn in_any_ten_seconds_never_more_than_the_bound_and_hardly_less(
        steps in steps(), hundredths in prop_oneof![Just(0u64), 0u64..=250], min in 0u32..3, blur: bool,
    ) {
        let ratio = hundredths as f64 / 100.0;
        let (mut ledger, mut log, mut now, mut total) = (Ledger::new(ratio, min), Log::default(), start(), 0);
        for step in steps {
            match step {
                Step::Calls(calls, told) => {
                    total += calls;
                    log.calls.extend((0..calls).map(|_| now));
                    if told || !blur {
                        ledger.count(total, calls, now);
                    }
                }
                Step::Pass(time) => {
                    now += time;
                    log.settle(&mut ledger, now);
                }
                Step::Repeat(wait) => {
                    ledger.count(total, 0, now);
                    let (bound, used) = (log.bound(hundredths, min, now, WINDOW), log.used(now, WINDOW));
                    if ledger.reserve(now) {
                        prop_assert!(used < bound, "granted {} of {bound}", used + 1);
                        let due = now + wait.unwrap_or_default();
                        log.open.push(Open { due, granted: now, bound, send: wait.is_some() });
                        log.settle(&mut ledger, now);
                    } else if !blur {
                        // Buckets let calls leave and repeats stay up to a granule too early and too long; nothing else is withheld.
                        let bound = log.bound(hundredths, min, now, WINDOW - GRANULE);
                        prop_assert!(log.used(now, WINDOW + GRANULE) >= bound, "withheld with {used} of {bound}");
                    }
                }
            }
            prop_assert!(ledger.calls.buckets.len() <= BUCKETS && ledger.sent.buckets.len() <= BUCKETS);
            prop_assert!(ledger.calls.buckets.capacity() < 2 * BUCKETS);
        }
        prop_assert!(log.holds_at_the_server());
    }
}
