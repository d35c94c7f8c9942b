//! A waker that leaves a mark: a task that is woken for many reasons sees, at the price of a look, whether this was one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Release},
    },
    task::{Wake, Waker},
};

#[derive(Debug)]
pub(super) struct Bell {
    /// Taken away by whoever sees it, before it looks what there is, so that what comes meanwhile is looked for again.
    pub(super) rang: AtomicBool,
    pub(super) task: Waker,
}

impl Bell {
    /// Wakes `task`; it begins as one that rang, or did not.
    pub(super) fn of(task: &Waker, rang: bool) -> Arc<Self> {
        Arc::new(Self { rang: AtomicBool::new(rang), task: task.clone() })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Release);
        self.task.wake_by_ref();
    }
}
