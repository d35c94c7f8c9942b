//! The time of the call on a connection, kept by the connection's own task.
//!
//! A timer of its own costs each call an entry in the runtime's wheel, put in and taken out again, though hardly one ever goes off. The task
//! that drives a connection has one that stays: a call writes down when it has to end, and takes that away when it has. Only when the timer goes
//! off does the task look what is written there: the time of a call that came later, mostly, to which the timer is then set.
//!
//! What ends a call that is late is the end of its connection, which has no other use any more; there is no goodbye, in TLS neither, which a
//! peer that hangs would not answer. A request that the task has not seen before its time is up may still be written then.
//!
//! With the clock stopped in a test, the timer that stays lets the clock jump to where the last call would have ended.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, Release, SeqCst},
        },
    },
    task::{Context, Wake as _},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    time::Instant,
};

use super::{
    drive::KeepsTime,
    timer::{StayingTimer, is_driven_here},
};
use crate::transport::bell::Bell;

const NEVER: u64 = u64::MAX;

/// What a connection's task and the call on it tell each other.
struct Shared {
    /// Times are nanoseconds after this.
    epoch: Instant,
    /// When the call has to end.
    due: AtomicU64,
    /// When the task looks at the latest.
    looks: AtomicU64,
    /// Has it look now.
    bell: Arc<Bell>,
    runtime: runtime::Id,
}

/// The call's side.
#[derive(Clone)]
pub(super) struct Alarm(Arc<Shared>);

/// The task's side.
pub(super) struct Watchman {
    shared: Arc<Shared>,
    timer: StayingTimer,
}

/// Both sides, for the task that asks; `None` outside of a runtime.
pub(super) fn alarm(cx: &Context<'_>) -> Option<(Alarm, Watchman)> {
    let timer = StayingTimer::of(cx);
    let shared = Arc::new(Shared {
        epoch: Instant::now(),
        due: AtomicU64::new(NEVER),
        looks: AtomicU64::new(NEVER),
        bell: timer.bell(),
        runtime: Handle::try_current().ok()?.id(),
    });
    Some((Alarm(Arc::clone(&shared)), Watchman { shared, timer }))
}

impl Alarm {
    /// The call on the connection has to end at `at`: whether that will be seen to. Not from another runtime.
    #[inline]
    pub(super) fn set(&self, at: Instant) -> bool {
        let shared = &*self.0;
        let due = nanos(at.saturating_duration_since(shared.epoch));
        if !is_driven_here(shared.runtime) || due == NEVER {
            return false;
        }
        // This one and the next, and the task's two in the other order: one of both sees what the other has written.
        shared.due.store(due, SeqCst);
        if shared.looks.load(SeqCst) > due {
            shared.bell.wake_by_ref();
        }
        true
    }

    /// The call has ended. Whoever is given the connection next knows of this.
    #[inline]
    pub(super) fn clear(&self) {
        self.0.due.store(NEVER, Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.due.load(Relaxed) != NEVER
    }
}

impl KeepsTime for Watchman {
    /// Whether the call on the connection is late. Once the connection was polled, a call that it has taken has written its own time, or none.
    #[inline]
    fn is_late(&mut self) -> bool {
        self.timer.rang() && self.look()
    }
}

impl Watchman {
    #[cold]
    fn look(&mut self) -> bool {
        let Self { shared, timer } = self;
        timer.take_up();
        loop {
            shared.looks.store(NEVER, SeqCst);
            let due = shared.due.load(SeqCst);
            // A time further off than a clock goes does not come.
            let Some(at) = shared.epoch.checked_add(Duration::from_nanos(due)).filter(|_| due != NEVER) else {
                timer.stop();
                return false;
            };
            shared.looks.store(due, SeqCst);
            if !timer.is_past(at) {
                return false;
            }
            // Still the same call's, after all that.
            if shared.due.load(SeqCst) == due {
                return true;
            }
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("is_set", &self.is_set()).finish()
    }
}

/// 584 years of them fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use tokio_test::task::Spawn;

    use super::*;
    use crate::transport::pool::lone::kept_in_a_task;

    const SECOND: Duration = Duration::from_secs(1);

    /// The call's side; and the connection's task, which ends when the call is late.
    fn pair() -> (Alarm, Spawn<impl Future<Output = ()>>) {
        kept_in_a_task(alarm)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_late_is_noticed_at_its_time_and_not_before() {
        let (alarm, mut task) = pair();
        assert!(alarm.set(Instant::now() + SECOND));
        assert!(task.is_woken(), "no timer is there yet");
        assert!(task.poll().is_pending());
        advance(SECOND - Duration::from_millis(1)).await;
        assert!(!task.is_woken());
        advance(Duration::from_millis(1)).await;
        assert!(task.is_woken());
        assert!(task.poll().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_follow_each_other_wake_the_task_once_in_their_time() {
        let (alarm, mut task) = pair();
        let mut polls = 0;
        for _ in 0..1000 {
            assert!(alarm.set(Instant::now() + SECOND));
            advance(Duration::from_millis(10)).await;
            if task.is_woken() {
                polls += 1;
                assert!(task.poll().is_pending(), "each call has a second of its own");
            }
            alarm.clear();
        }
        // Ten seconds: the first call's word, then each time the timer goes off, or finds nobody and is started by the next.
        assert!((10..=21).contains(&polls), "{polls}");
        // And the last one, should it hang, ends when its own time is over.
        assert!(alarm.set(Instant::now() + SECOND));
        let last = Instant::now();
        while task.poll().is_pending() {
            advance(Duration::from_millis(1)).await;
            assert!(last.elapsed() <= SECOND);
        }
        assert_eq!(last.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_time_than_the_one_before_is_kept_and_a_longer_one_too() {
        for (before, limit) in [(4, 1), (1, 4), (2, 2)] {
            let (alarm, mut task) = pair();
            assert!(alarm.set(Instant::now() + before * SECOND));
            assert!(task.poll().is_pending());
            alarm.clear();
            advance(SECOND / 2).await;
            let start = Instant::now();
            assert!(alarm.set(start + limit * SECOND));
            while !(task.is_woken() && task.poll().is_ready()) {
                assert!(start.elapsed() < limit * SECOND);
                advance(SECOND / 4).await;
            }
            assert_eq!(start.elapsed(), limit * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_nobody_uses_stays() {
        let (alarm, mut task) = pair();
        assert!(alarm.set(Instant::now() + SECOND));
        assert!(task.poll().is_pending());
        alarm.clear();
        for _ in 0..5 {
            advance(SECOND).await;
            assert!(task.poll().is_pending());
        }
        assert!(!task.is_woken(), "and has no timer");
    }

    #[test]
    fn nobody_promises_it_to_a_call_from_another_runtime_or_none() {
        let runtime = || runtime::Builder::new_current_thread().enable_time().build().expect("it starts");
        let (here, there) = (runtime(), runtime());
        let (alarm, _task) = here.block_on(async { pair() });
        let at = alarm.0.epoch + SECOND;
        assert!(!there.block_on(async { alarm.set(at) }) && !alarm.set(at));
        assert!(here.block_on(async { alarm.set(at) }));
    }
}
