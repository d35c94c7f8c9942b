//! Driving a connection: what its task does once it is made.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::timeout,
};

use super::alarm::Watchman;

/// How long a connection may take to say goodbye once nobody holds it.
const LINGER: Duration = Duration::from_secs(1);

/// A connection as its task has it.
pub(super) struct Drive<D> {
    driver: Option<Pin<Box<D>>>,
    /// Where one call at a time is on it.
    watchman: Option<Watchman>,
    released: oneshot::Receiver<()>,
    /// Who is woken when nobody holds it.
    told: Option<Waker>,
}

impl<D: Future> Drive<D> {
    pub(super) fn new(driver: Pin<Box<D>>, watchman: Option<Watchman>, released: oneshot::Receiver<()>) -> Self {
        Self { driver: Some(driver), watchman, released, told: None }
    }

    /// Drives it until it ends by itself or for a call that is late, or until nobody holds it and it has said goodbye.
    pub(super) async fn run(&mut self) {
        if let Some(driver) = (WhileHeld { drive: self }).await {
            let _ = timeout(LINGER, driver).await;
        }
    }
}

/// Gives the connection back when nobody holds it any more.
struct WhileHeld<'d, D> {
    drive: &'d mut Drive<D>,
}

impl<D: Future> Future for WhileHeld<'_, D> {
    type Output = Option<Pin<Box<D>>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Pin<Box<D>>>> {
        let Drive { driver, watchman, released, told } = &mut *self.get_mut().drive;
        let has_ended = driver.as_mut().is_none_or(|driver| driver.as_mut().poll(cx).is_ready());
        if has_ended || watchman.as_mut().is_some_and(Watchman::is_late) {
            // What is left of it goes now, and tells the call that is on it.
            *driver = None;
            return Poll::Ready(None);
        }
        // Said once, and again should it be another: each exchange polls this two or three times.
        let is_held = if told.as_ref().is_some_and(|told| told.will_wake(cx.waker())) {
            released.try_recv() == Err(TryRecvError::Empty)
        } else {
            *told = Some(cx.waker().clone());
            Pin::new(released).poll(cx).is_pending()
        };
        if is_held { Poll::Pending } else { Poll::Ready(driver.take()) }
    }
}
