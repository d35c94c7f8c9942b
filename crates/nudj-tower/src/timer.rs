//! A timer that costs nothing until somebody has to wait.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::{Unconstrained, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

pin_project! {
    /// Made and registered at the first poll. Polled outside of tokio's budget, so that work which always uses up the budget
    /// cannot keep the timer from ending it.
    #[derive(Default)]
    pub(crate) struct LazyTimer {
        #[pin]
        sleep: Option<Unconstrained<Sleep>>,
    }
}

impl LazyTimer {
    /// Ready once `at` has come. `at` is asked at the first poll only.
    pub(crate) fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, at: impl FnOnce() -> Instant) -> Poll<()> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.sleep.set(Some(unconstrained(sleep_until(at()))));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer").field("running", &self.sleep.is_some()).finish()
    }
}
