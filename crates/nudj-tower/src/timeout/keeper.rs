use std::{fmt, task::Context};

use tokio::time::Instant;

use crate::timer;

/// Keeps the time of an attempt in place of the layer's timer: for a future that waits for somebody who has a clock of their own, such as a
/// connection's task.
///
/// A timer is registered with the runtime and taken back with each call, though hardly one ever goes off. Who is waited for can have one that
/// stays from call to call. So an [`AttemptTimeout`](super::AttemptTimeout) that was promised [one task](super::AttemptTimeoutLayer::one_task)
/// offers its time, in an attempt's first poll, to whoever is polled below it. If nobody takes it, or whoever did says nothing in a
/// later poll, the layer has a timer of its own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), nudj_tower::BoxError> {
/// use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
///
/// use futures_util::task::AtomicWaker;
/// use nudj_tower::{BoxError, Rejection, timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer, Keeper}};
/// use tokio::time::sleep_until;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let hung = service_fn(|()| {
///     let (mut keeper, waits) = (Keeper::default(), Arc::new(AtomicWaker::new()));
///     poll_fn(move |cx| {
///         // Whoever polls it last.
///         waits.register(cx.waker());
///         keeper.waits(cx, |at| {
///             let waits = Arc::clone(&waits);
///             tokio::spawn(async move { sleep_until(at).await; waits.wake() });
///             true
///         });
///         Poll::<Result<(), BoxError>>::Pending
///     })
/// });
/// let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: Duration::from_secs(10) })?.one_task();
/// let error = ServiceBuilder::new().layer(layer).service(hung).oneshot(()).await.unwrap_err();
/// assert!(matches!(Rejection::find(&*error), Some(Rejection::AttemptTimeout { .. })));
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Keeper {
    until: Option<Instant>,
}

impl Keeper {
    /// To be called in each poll that leaves the future waiting.
    ///
    /// `arm` is called when the attempt's time is on offer, with the instant at which it ends. It returns whether the task that polls the future last will
    /// be woken then, or soon after, if the future has not been dropped; whoever cannot promise that for certain says no. The layer ends
    /// the attempt when the future still waits then. A future that can only be woken by its end ends in a [`TimeIsUp`].
    #[inline]
    pub fn waits(&mut self, cx: &Context<'_>, arm: impl FnOnce(Instant) -> bool) {
        match self.until {
            None => self.until = timer::take(cx, arm),
            // Once it is over the promise is kept, and the layer looks by itself. Few are polled so often.
            Some(until) if Instant::now() < until => timer::waits(cx, until),
            Some(_) => {}
        }
    }

    /// Whether the time that it keeps is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// How an exchange ends whose [`Keeper`] has ended it for its time, as an error or an error's source. The layer whose time that was makes
/// [`Rejection::AttemptTimeout`](crate::Rejection::AttemptTimeout) of it, up to the answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attempt took longer than it may")]
pub struct TimeIsUp;

impl Drop for Keeper {
    #[inline]
    fn drop(&mut self) {
        // A future that is let go in the poll in which it said that it waits.
        if self.until.is_some() {
            timer::forget();
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("keeps", &self.until.is_some()).finish()
    }
}
