//! A timer that costs nothing until somebody has to wait, and one that is not made where another wakes the same task in time.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll, RawWakerVTable, Waker},
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::{Unconstrained, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

thread_local! {
    /// The earliest of the timers that have been polled since the last [`polled`] began, and wait; and whose waker they have.
    static WAITING: Cell<Option<(Instant, WakerId)>> = const { Cell::new(None) };
}

pin_project! {
    /// Made and registered at the first poll. Polled outside of tokio's budget, so that work which always uses up the budget
    /// cannot keep the timer from ending it.
    #[derive(Default)]
    pub(crate) struct LazyTimer {
        #[pin]
        sleep: Option<Unconstrained<Sleep>>,
    }

    impl PinnedDrop for LazyTimer {
        fn drop(this: Pin<&mut Self>) {
            // Whoever polled it and let it go in one poll is not woken by it.
            if this.sleep.is_some() {
                forget();
            }
        }
    }
}

impl LazyTimer {
    /// Ready once `at`, which is the same in all polls, has come.
    #[inline]
    pub(crate) fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.sleep.set(Some(unconstrained(sleep_until(at))));
        }
        let polled = match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        };
        if polled.is_pending() {
            let own = (at, id(cx.waker()));
            let earlier = |other: &(Instant, WakerId)| other.0 <= at && other.1 == own.1;
            let _ = WAITING.try_with(|waiting| waiting.set(Some(waiting.get().filter(earlier).unwrap_or(own))));
        }
        polled
    }
}

/// Polls something, and gives the earliest of our timers in it that wait when that is done and wake the same task, which will thus be
/// polled again by then. What was spawned, has a waker of its own or was let go shows nothing here.
#[cfg(feature = "deadline")]
#[inline]
pub(crate) fn polled<T>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> (T, Option<Instant>) {
    forget();
    let polled = poll(cx);
    let waiting = WAITING.try_with(Cell::get).ok().flatten();
    (polled, waiting.filter(|(_, waker)| *waker == id(cx.waker())).map(|(at, _)| at))
}

/// Two wakers with the same id wake the same task.
type WakerId = (*const (), *const RawWakerVTable);

fn id(waker: &Waker) -> WakerId {
    (waker.data(), waker.vtable())
}

#[inline]
fn forget() {
    let _ = WAITING.try_with(|waiting| waiting.set(None));
}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer").field("running", &self.sleep.is_some()).finish()
    }
}
