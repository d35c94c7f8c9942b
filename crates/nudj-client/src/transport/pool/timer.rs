//! The one timer of a connection's task, which stays from call to call.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, SeqCst},
    },
    task::{Context, Waker},
};

use tokio::{
    runtime::{self, Handle},
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::transport::bell::Bell;

/// A timer and others may ring for the task to look what there is to do.
pub(super) struct StayingTimer {
    bell: Arc<Bell>,
    /// What the timer wakes: the bell, which wakes the task.
    waker: Waker,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl StayingTimer {
    /// For the task that asks.
    pub(super) fn of(cx: &Context<'_>) -> Self {
        let bell = Bell::of(cx.waker(), false);
        Self { waker: Waker::from(Arc::clone(&bell)), bell, sleep: None }
    }

    /// By what others have the task look.
    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Whether the task is to look.
    #[inline]
    pub(super) fn rang(&self) -> bool {
        self.bell.rang.load(Acquire)
    }

    /// The task looks now: what comes from here on rings anew.
    pub(super) fn take_up(&self) {
        self.bell.rang.swap(false, SeqCst);
    }

    /// Rings at `at`, unless that is past (`true`).
    pub(super) fn is_past(&mut self, at: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        sleep.as_mut().reset(at);
        // Outside of tokio's budget: a connection that is always busy must not put off the end of its calls.
        Pin::new(&mut unconstrained(sleep)).poll(&mut Context::from_waker(&self.waker)).is_ready()
    }

    /// There is nothing to ring for.
    pub(super) fn stop(&mut self) {
        self.sleep = None;
    }
}

/// Whether this is the runtime `there`. One that is not may not be driven any more when a call from here is late, and nobody would look.
#[inline]
pub(super) fn is_driven_here(there: runtime::Id) -> bool {
    Handle::try_current().is_ok_and(|here| here.id() == there)
}
