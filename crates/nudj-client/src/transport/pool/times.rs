//! The times of the calls on a shared connection, kept by the connection's own task.
//!
//! As with [one call at a time](super::alarm): a call writes down when it has to end, and takes that away when it has; the task has one timer, and
//! only when it goes off looks what is written there. A call that is late is woken then, and its layer ends it, which resets its stream.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Wake as _, Waker},
};

use parking_lot::Mutex;
use slab::Slab;
use tokio::{
    runtime::{self, Handle},
    time::Instant,
};

use super::{
    drive::KeepsTime,
    timer::{StayingTimer, is_driven_here},
};
use crate::transport::bell::Bell;

/// The calls' side.
pub(super) struct Times {
    calls: Mutex<Calls>,
    /// Has the task look now.
    bell: Arc<Bell>,
    /// The peer has given no sign of life.
    is_silent: AtomicBool,
    runtime: runtime::Id,
}

/// The task's side.
pub(super) struct Timekeeper {
    times: Arc<Times>,
    timer: StayingTimer,
}

/// Both sides, for the task that asks; `None` outside of a runtime.
pub(super) fn times(cx: &Context<'_>) -> Option<(Arc<Times>, Timekeeper)> {
    let timer = StayingTimer::of(cx);
    let runtime = Handle::try_current().ok()?.id();
    let times =
        Arc::new(Times { calls: Mutex::default(), bell: timer.bell(), is_silent: AtomicBool::new(false), runtime });
    Some((Arc::clone(&times), Timekeeper { times, timer }))
}

impl Times {
    /// Has `task` woken at `at`: what to [take that away](Self::clear) by. Not from another runtime.
    #[inline]
    pub(super) fn set(&self, at: Instant, task: &Waker) -> Option<usize> {
        if !is_driven_here(self.runtime) {
            return None;
        }
        let task = task.clone();
        let (key, is_first) = self.calls.lock().put(at, task);
        if is_first {
            self.bell.wake_by_ref();
        }
        Some(key)
    }

    /// It is `task` that waits now.
    #[inline]
    pub(super) fn set_task(&self, key: usize, task: &Waker) {
        let mut calls = self.calls.lock();
        let before = match calls.waiting.get_mut(key) {
            Some(call) if !call.task.will_wake(task) => Some(std::mem::replace(&mut call.task, task.clone())),
            _ => None,
        };
        drop(calls);
        drop(before);
    }

    #[inline]
    pub(super) fn clear(&self, key: usize) {
        let call = self.calls.lock().waiting.try_remove(key);
        drop(call);
    }

    /// The peer has given no sign of life: the connection has to end.
    pub(super) fn silent(&self) {
        self.is_silent.store(true, Release);
        self.bell.wake_by_ref();
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Acquire)
    }
}

impl KeepsTime for Timekeeper {
    /// Wakes the calls that are late. The connection has to end only when its peer is gone.
    #[inline]
    fn is_late(&mut self) -> bool {
        self.timer.rang() && self.wake_late()
    }
}

impl Timekeeper {
    #[cold]
    fn wake_late(&mut self) -> bool {
        let Self { times, timer } = self;
        timer.take_up();
        if times.is_silent() {
            return true;
        }
        loop {
            let (late, next) = times.calls.lock().late(Instant::now());
            late.into_iter().for_each(Waker::wake);
            let Some(at) = next else {
                timer.stop();
                return false;
            };
            if !timer.is_past(at) {
                return false;
            }
        }
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times").field("is_silent", &self.is_silent()).finish_non_exhaustive()
    }
}

/// Who waits until when: no clock, no tasks.
#[derive(Default)]
struct Calls {
    waiting: Slab<Call>,
    /// When the task looks at the latest.
    looks: Option<Instant>,
}

struct Call {
    /// `None` once it has been woken for that.
    at: Option<Instant>,
    task: Waker,
}

impl Calls {
    /// Writes a call down: by what to find it, and whether the task would look too late for it.
    fn put(&mut self, at: Instant, task: Waker) -> (usize, bool) {
        let is_first = self.looks.is_none_or(|looks| at < looks);
        if is_first {
            self.looks = Some(at);
        }
        (self.waiting.insert(Call { at: Some(at), task }), is_first)
    }

    /// Whom to wake at `now`, each once, and when to look again.
    fn late(&mut self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let mut late = Vec::new();
        self.looks = None;
        for (_, call) in &mut self.waiting {
            match call.at {
                Some(at) if at <= now => {
                    call.at = None;
                    late.push(call.task.clone());
                }
                Some(at) if self.looks.is_none_or(|looks| at < looks) => self.looks = Some(at),
                Some(_) | None => {}
            }
        }
        (late, self.looks)
    }
}

#[cfg(test)]
mod tests;
