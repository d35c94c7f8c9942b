use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;
use tokio_test::task::{self, Spawn};

use super::*;
use crate::transport::pool::lone::{LoneShared, kept_in_a_task, lone_shared};

const SECOND: Duration = Duration::from_secs(1);

/// The calls' side; and the connection's task, which ends when it has to.
fn pair() -> (Arc<Times>, Spawn<impl Future<Output = ()>>) {
    kept_in_a_task(times)
}

/// A call, by its task alone.
fn call() -> Spawn<std::future::Pending<()>> {
    task::spawn(std::future::pending())
}

fn set(times: &Times, call: &mut Spawn<std::future::Pending<()>>, after: Duration) -> usize {
    call.enter(|cx, _| times.set(Instant::now() + after, cx.waker())).expect("there is a runtime")
}

#[tokio::test(start_paused = true)]
async fn each_call_is_woken_at_its_time_and_the_connection_stays() {
    let (times, mut task) = pair();
    let mut calls: Vec<_> = [3, 1, 2, 2].map(|after| (after, call())).into();
    for (after, call) in &mut calls {
        set(&times, call, *after * SECOND);
    }
    assert!(task.is_woken(), "no timer is there yet");
    assert!(task.poll().is_pending());
    for now in 1..=3 {
        advance(SECOND - Duration::from_millis(1)).await;
        assert!(!task.is_woken());
        advance(Duration::from_millis(1)).await;
        assert!(task.is_woken() && task.poll().is_pending());
        for (after, call) in &calls {
            assert_eq!(call.is_woken(), *after <= now, "{after} s at {now} s");
        }
    }
    assert!(!task.is_woken(), "each was woken once, and there is nothing to look for");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_ended_is_not_woken_and_takes_no_place() {
    let (times, mut task) = pair();
    let mut calls: Vec<_> = (0..100).map(|_| call()).collect();
    for _ in 0..10 {
        let keys: Vec<_> = calls.iter_mut().map(|call| set(&times, call, SECOND)).collect();
        assert!(task.poll().is_pending());
        keys.iter().for_each(|key| times.clear(*key));
        advance(SECOND).await;
        assert!(task.poll().is_pending());
    }
    assert!(calls.iter().all(|call| !call.is_woken()));
    assert!(times.calls.lock().waiting.capacity() < 200);
}

#[tokio::test]
async fn a_call_takes_its_time_away_with_it() {
    let LoneShared { mut lease, times, kept: _kept, .. } = lone_shared().await;
    assert!(lease.end_by(Instant::now() + SECOND, Waker::noop()));
    assert_eq!(times.calls.lock().waiting.len(), 1);
    drop(lease);
    assert!(times.calls.lock().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_that_follow_each_other_wake_the_task_once_in_their_time() {
    let (times, mut task) = pair();
    let mut polls = 0;
    for _ in 0..1000 {
        let key = set(&times, &mut call(), SECOND);
        advance(Duration::from_millis(10)).await;
        if task.is_woken() {
            polls += 1;
            assert!(task.poll().is_pending());
        }
        times.clear(key);
    }
    assert!((10..=21).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn who_polled_last_is_woken() {
    let (times, mut task) = pair();
    let (mut first, mut last) = (call(), call());
    let key = set(&times, &mut first, SECOND);
    last.enter(|cx, _| times.set_task(key, cx.waker()));
    assert!(task.poll().is_pending());
    advance(SECOND).await;
    assert!(task.poll().is_pending());
    assert!(last.is_woken() && !first.is_woken());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_fallen_silent_ends_the_connection() {
    let (times, mut task) = pair();
    times.silent();
    assert!(task.is_woken() && times.is_silent());
    assert!(task.poll().is_ready());
}

#[test]
fn nobody_promises_it_to_a_call_from_another_runtime_or_none() {
    let runtime = || runtime::Builder::new_current_thread().enable_time().build().expect("it starts");
    let (here, there) = (runtime(), runtime());
    let (times, _task) = here.block_on(async { pair() });
    let at = Instant::now() + SECOND;
    let set = || times.set(at, Waker::noop());
    assert_eq!((there.block_on(async { set() }), set()), (None, None));
    assert!(here.block_on(async { set() }).is_some());
}

proptest! {
    /// Calls that come, end and are late in any order, beside a plain list of them.
    #[test]
    fn each_is_late_once_when_it_is_and_the_task_looks_in_time(steps in proptest::collection::vec((0_u8..3, 0_u64..50), 1..200)) {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let (mut calls, mut now) = (Calls::default(), 0);
        let mut list: Vec<(usize, Option<u64>)> = Vec::new();
        let mut looks: Option<u64> = None;
        for (step, value) in steps {
            match step {
                0 => {
                    let due = now + value;
                    let (key, is_first) = calls.put(at(due), Waker::noop().clone());
                    prop_assert_eq!(is_first, looks.is_none_or(|looks| due < looks));
                    looks = Some(looks.map_or(due, |looks| looks.min(due)));
                    list.push((key, Some(due)));
                }
                1 if !list.is_empty() => {
                    let (key, _) = list.swap_remove(usize::try_from(value).unwrap() % list.len());
                    prop_assert!(calls.waiting.try_remove(key).is_some());
                }
                _ => {
                    now += value;
                    let (late, next) = calls.late(at(now));
                    let due = list.iter_mut().filter(|(_, due)| due.is_some_and(|due| due <= now));
                    prop_assert_eq!(late.len(), due.map(|call| call.1 = None).count());
                    looks = list.iter().filter_map(|(_, due)| *due).min();
                    prop_assert_eq!(next, looks.map(at));
                }
            }
            // Whoever waits is looked for in time.
            let first = list.iter().filter_map(|(_, due)| *due).min();
            prop_assert!(first.is_none_or(|first| looks.is_some_and(|looks| looks <= first)));
        }
    }
}
