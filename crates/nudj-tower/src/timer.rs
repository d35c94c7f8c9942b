//! A timer that costs nothing until somebody has to wait, and one that is not made where another wakes the same task in time, or where
//! whoever is waited for keeps the time.

#[cfg(feature = "timeout")]
use std::time::Duration;
use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll, RawWakerVTable, Waker},
};

use tokio::{
    task::coop::{Unconstrained, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

thread_local! {
    /// The earliest of the timers that have been polled since the last [`forget`], and wait; and whose waker they have.
    static WAITING: Cell<Option<(Instant, WakerId)>> = const { Cell::new(None) };
}

/// Made and registered at the first poll. Polled outside of tokio's budget, so that work which always uses up the budget
/// cannot keep the timer from ending it.
///
/// On the heap, since it is large, and all layers above move the future that may need one.
#[derive(Default)]
pub(crate) struct LazyTimer {
    sleep: Option<Pin<Box<Unconstrained<Sleep>>>>,
}

impl Drop for LazyTimer {
    #[inline]
    fn drop(&mut self) {
        // Whoever polled it and let it go in one poll is not woken by it.
        if self.sleep.is_some() {
            forget();
        }
    }
}

impl LazyTimer {
    /// Ready once `at`, which is the same in all polls, has come.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(unconstrained(sleep_until(at))));
        let polled = sleep.as_mut().poll(cx);
        if polled.is_pending() {
            waits(cx, at);
        }
        polled
    }
}

/// This task will be woken at `at`, as long as nobody [forgets](forget) it.
#[inline]
pub(crate) fn waits(cx: &Context<'_>, at: Instant) {
    let own = (at, id(cx.waker()));
    let earlier = |other: &(Instant, WakerId)| other.0 <= at && other.1 == own.1;
    let _ = WAITING.try_with(|waiting| waiting.set(Some(waiting.get().filter(earlier).unwrap_or(own))));
}

/// The earliest of the timers that have been polled since [`forget`], wait, and wake the same task, which will thus be polled again by then.
/// What was spawned, has a waker of its own or was let go shows nothing here.
#[inline]
pub(crate) fn woken_at(cx: &Context<'_>) -> Option<Instant> {
    let waiting = WAITING.try_with(Cell::get).ok().flatten();
    waiting.filter(|(_, waker)| *waker == id(cx.waker())).map(|(at, _)| at)
}

#[cfg(feature = "timeout")]
thread_local! {
    static OFFER: Cell<Option<Offer>> = const { Cell::new(None) };
}

/// A time that a layer leaves to whoever is polled below it in the same task.
#[cfg(feature = "timeout")]
#[derive(Clone, Copy)]
struct Offer {
    limit: Duration,
    to: WakerId,
    /// Since when it runs, once somebody keeps it.
    taken: Option<Instant>,
}

/// The time is on offer until this is dropped, also when a poll panics; then what was on offer before is so again.
#[cfg(feature = "timeout")]
pub(crate) struct Offered {
    before: Option<Offer>,
}

#[cfg(feature = "timeout")]
impl Offered {
    /// Offers the time to whoever is polled in this task.
    #[inline]
    pub(crate) fn to(cx: &Context<'_>, limit: Duration) -> Self {
        let ours = Offer { limit, to: id(cx.waker()), taken: None };
        Self { before: OFFER.try_with(|offer| offer.replace(Some(ours))).ok().flatten() }
    }

    /// Since when it runs, if somebody took it.
    #[inline]
    pub(crate) fn taken(self) -> Option<Instant> {
        OFFER.try_with(Cell::get).ok().flatten()?.taken
    }
}

#[cfg(feature = "timeout")]
impl Drop for Offered {
    #[inline]
    fn drop(&mut self) {
        let _ = OFFER.try_with(|offer| offer.set(self.before));
    }
}

/// Takes the time that is offered to this task, if `arm` sees to it that somebody wakes the task at the instant that it is given.
#[cfg(feature = "timeout")]
#[inline]
pub(crate) fn take(cx: &Context<'_>, arm: impl FnOnce(Instant) -> bool) -> Option<Instant> {
    let offer = OFFER.try_with(Cell::get).ok().flatten().filter(|offer| offer.to == id(cx.waker()))?;
    if offer.taken.is_some() {
        return None;
    }
    let now = Instant::now();
    let at = end_of(now, offer.limit);
    if !arm(at) {
        return None;
    }
    let _ = OFFER.try_with(|place| place.set(Some(Offer { taken: Some(now), ..offer })));
    waits(cx, at);
    Some(at)
}

/// Thirty years stand for "never" where the sum is beyond what an instant holds, as in tokio.
#[cfg(feature = "timeout")]
pub(crate) fn end_of(start: Instant, limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    start.checked_add(limit).unwrap_or_else(|| start + FAR)
}

/// Two wakers with the same id wake the same task.
type WakerId = (*const (), *const RawWakerVTable);

fn id(waker: &Waker) -> WakerId {
    (waker.data(), waker.vtable())
}

/// Whoever was going to wake this task may not do so, or does not matter.
#[inline]
pub(crate) fn forget() {
    let _ = WAITING.try_with(|waiting| waiting.set(None));
}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer").field("running", &self.sleep.is_some()).finish()
    }
}
