//! Whatever happens in whatever order, the limits hold and everybody is seen to.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Call,
    Made,
    MadeShared,
    Failed,
    Back,
    Lost,
    Cancel(usize),
    Release,
    Retire,
    Says(Option<usize>),
    Sweep,
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Call),
        2 => Just(Step::Made),
        1 => Just(Step::MadeShared),
        1 => Just(Step::Failed),
        3 => Just(Step::Back),
        1 => Just(Step::Lost),
        1 => (0_usize..4).prop_map(Step::Cancel),
        2 => Just(Step::Release),
        1 => Just(Step::Retire),
        2 => prop_oneof![4 => (0_usize..4).prop_map(Some), 1 => Just(None)].prop_map(Step::Says),
        1 => Just(Step::Sweep),
        1 => (1_u64..200).prop_map(Step::Later),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Calls, connections and cancellations in any order, kept beside a plain list of who waits and what is in use.
    #[test]
    fn limits_hold_waiters_keep_their_order_and_none_is_forgotten(
        steps in steps(), http1 in any::<bool>(), max_open in 1_usize..5, max_shared in 1_usize..4, at_once in 1_usize..4,
    ) {
        // What the peer takes at once, which it may change; nothing once it is gone.
        let at_once = Cell::new(Some(at_once));
        let takes = |_: &u32| at_once.get();
        let limits = Limits { max_open, max_shared, ..limits() };
        let mut slots = Numbers::new(limits, if http1 { Protocol::Http1 } else { Protocol::Unknown });
        let mut now = Instant::now();
        let mut waiting: Vec<(u64, u32)> = Vec::new();
        let mut used: Vec<Kept<u32>> = Vec::new();
        let mut shared: Vec<u64> = Vec::new();
        let mut retired: Vec<u64> = Vec::new();
        let (mut making, mut next) = (0_usize, 0_u32);
        for step in steps {
            next += 1;
            let mut polled = false;
            match step {
                Step::Call => match slots.take(now, |_| true, takes) {
                    Some(taken) => {
                        prop_assert!(waiting.is_empty(), "a newcomer passed a waiter");
                        match taken {
                            Taken::One(kept, _) => used.push(kept),
                            Taken::Shared(_, id, _) => {
                                let on_it = shared.iter().filter(|other| **other == id).count();
                                prop_assert!(on_it == 0 || at_once.get().is_some_and(|takes| on_it < takes));
                                shared.push(id);
                            }
                        }
                    }
                    None => {
                        if let Ok(id) = slots.enqueue(next) {
                            waiting.push((id, next));
                        } else {
                            prop_assert_eq!(waiting.len(), limits.max_waiting);
                        }
                    }
                },
                Step::Made if making > 0 => {
                    making -= 1;
                    given(slots.made_one(next, now), &mut waiting, &mut used)?;
                }
                Step::MadeShared if making > 0 && !http1 => {
                    making -= 1;
                    let takes = at_once.get().unwrap_or_default();
                    let (id, served) = slots.made_shared(next, takes, now);
                    let first = waiting.len().min(takes.max(1));
                    prop_assert_eq!(&served, &waiting.drain(..first).map(|(_, waiter)| waiter).collect::<Vec<_>>());
                    shared.extend(served.iter().map(|_| id));
                }
                Step::Failed if making > 0 => {
                    making -= 1;
                    for waiter in slots.failed(now) {
                        prop_assert_eq!(waiting.remove(0).1, waiter);
                    }
                    making += slots.ended(now, |_| true, heard);
                }
                Step::Back if !used.is_empty() => {
                    given(slots.put(used.remove(0), now), &mut waiting, &mut used)?;
                }
                Step::Lost if !used.is_empty() => {
                    used.pop();
                    making += slots.ended(now, |_| true, heard);
                }
                Step::Cancel(at) if at < waiting.len() => {
                    let (id, waiter) = waiting.remove(at);
                    prop_assert_eq!(slots.abandon(id), Some(waiter));
                    prop_assert_eq!(slots.abandon(id), None);
                }
                Step::Release if !shared.is_empty() => {
                    slots.release(shared.remove(0), next % 2 == 0, || now);
                    polled = true;
                }
                Step::Says(takes) => {
                    at_once.set(takes);
                    polled = true;
                }
                Step::Retire if !shared.is_empty() => {
                    slots.retire(shared[0], now);
                    retired.push(shared[0]);
                }
                Step::Sweep => {
                    slots.sweep(now);
                }
                Step::Later(by) => now += seconds(by),
                _ => {}
            }
            while polled && let Some((waiter, _, id)) = slots.grant(now, takes) {
                prop_assert_eq!(waiting.remove(0).1, waiter);
                shared.push(id);
            }
            making += slots.reserve(now, heard);
            prop_assert!(slots.open() <= limits.max_open);
            prop_assert!(slots.idle.len() <= limits.max_idle);
            prop_assert!(slots.idle.is_empty() || waiting.is_empty());
            prop_assert_eq!(slots.waiting.len(), waiting.len());
            prop_assert_eq!(slots.making, making);
            let in_use: usize = slots.shared.iter().map(|shared| shared.users).sum();
            prop_assert!(slots.shared.len() <= limits.max_shared);
            prop_assert!(
                waiting.is_empty() || making > 0 || in_use > 0 || slots.open() == limits.max_open,
                "nobody sees to the waiters"
            );
            for current in &slots.shared {
                prop_assert!(!retired.contains(&current.id));
                if let Some(takes) = at_once.get().filter(|_| polled) {
                    prop_assert!(waiting.is_empty() || current.users >= takes.max(1), "there is room");
                }
                prop_assert_eq!(current.users, shared.iter().filter(|id| **id == current.id).count());
            }
            prop_assert!(slots.idle.is_sorted_by_key(|kept| kept.since));
        }
    }
}

fn given(put: Put<u32, u32>, waiting: &mut Vec<(u64, u32)>, used: &mut Vec<Kept<u32>>) -> Result<(), TestCaseError> {
    match put {
        Put::For(waiter, kept) => {
            prop_assert_eq!(waiting.remove(0).1, waiter);
            used.push(kept);
        }
        Put::Kept => prop_assert!(waiting.is_empty()),
        Put::Surplus(_) => {}
    }
    Ok(())
}
