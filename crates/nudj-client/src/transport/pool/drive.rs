//! Driving a connection: what its task does once it is made.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::coop::unconstrained,
    time::timeout,
};

/// How long a connection may take to say goodbye once nobody holds it.
const LINGER: Duration = Duration::from_secs(1);

/// Who keeps the times of the calls on a connection.
pub(super) trait KeepsTime {
    /// Whether the connection has to end. To be asked in each poll of its task, after it was polled itself.
    fn is_late(&mut self) -> bool;
}

/// A connection as its task has it.
pub(super) struct Drive<D, K> {
    driver: Option<Pin<Box<D>>>,
    keeper: Option<K>,
    released: oneshot::Receiver<()>,
    /// Who is woken when nobody holds it.
    told: Option<Waker>,
}

impl<D: Future, K: KeepsTime> Drive<D, K> {
    pub(super) fn new(driver: Pin<Box<D>>, keeper: Option<K>, released: oneshot::Receiver<()>) -> Self {
        Self { driver: Some(driver), keeper, released, told: None }
    }

    /// Drives it until it ends by itself or has to, or until nobody holds it and it has said goodbye.
    ///
    /// `polled` is called whenever it was polled, after which it may take calls that it did not take before, or none any more.
    pub(super) async fn run(&mut self, polled: impl Fn() + Unpin) {
        if let Some(driver) = (WhileHeld { drive: self, polled }).await {
            let _ = timeout(LINGER, driver).await;
        }
    }
}

/// Gives the connection back when nobody holds it any more.
struct WhileHeld<'d, D, K, P> {
    drive: &'d mut Drive<D, K>,
    polled: P,
}

impl<D: Future, K: KeepsTime, P: Fn() + Unpin> Future for WhileHeld<'_, D, K, P> {
    type Output = Option<Pin<Box<D>>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Pin<Box<D>>>> {
        let Self { drive: Drive { driver, keeper, released, told }, polled } = self.get_mut();
        let has_ended = driver.as_mut().is_none_or(|driver| driver.as_mut().poll(cx).is_ready());
        if has_ended || keeper.as_mut().is_some_and(K::is_late) {
            // What is left of it goes now, and tells the call that is on it.
            *driver = None;
            return Poll::Ready(None);
        }
        polled();
        // Said once, and again should it be another: each exchange polls this two or three times.
        let is_held = if told.as_ref().is_some_and(|told| told.will_wake(cx.waker())) {
            released.try_recv() == Err(TryRecvError::Empty)
        } else {
            *told = Some(cx.waker().clone());
            // Outside of tokio's budget, without which it would not note whom to wake.
            Pin::new(&mut unconstrained(released)).poll(cx).is_pending()
        };
        if is_held { Poll::Pending } else { Poll::Ready(driver.take()) }
    }
}
