use std::task::Waker;

/// Whom to wake, once the lock is open again. Not all at once where there are many: `more` says that another turn is needed.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    wakers: [Option<Waker>; 16],
    len: usize,
    pub(super) more: bool,
}

impl Wakes {
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        if let (Some(waker), Some(slot)) = (waker, self.wakers.get_mut(self.len)) {
            *slot = Some(waker);
            self.len += 1;
        }
    }

    pub(super) fn has_room(&self) -> bool {
        // One more is kept for the new head.
        self.len + 1 < self.wakers.len()
    }

    pub(super) fn wake_all(&mut self) {
        self.wakers[..self.len].iter_mut().filter_map(Option::take).for_each(Waker::wake);
        self.len = 0;
    }
}
