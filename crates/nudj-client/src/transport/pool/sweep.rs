//! Closes what nobody used for too long: one task for each endpoint, only while a connection is open there.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, time::Instant};

use super::endpoint::Endpoint;

/// Whether an endpoint's task runs.
#[derive(Debug, Default)]
pub(super) struct Running(AtomicBool);

pub(super) fn start(endpoint: &Arc<Endpoint>) {
    let running = &endpoint.sweeping().0;
    if running.load(Ordering::SeqCst) || running.swap(true, Ordering::SeqCst) {
        return;
    }
    let mark = Mark(Arc::downgrade(endpoint));
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(sweep(mark));
    }
}

async fn sweep(mut mark: Mark) {
    loop {
        while let Some(next) = mark.look() {
            tokio::time::sleep_until(next).await;
        }
        // What was put back since the look saw the mark and started nobody.
        if !mark.remains_needed() {
            return;
        }
    }
}

/// Takes the mark away however the task ends, also with its runtime.
struct Mark(Weak<Endpoint>);

impl Mark {
    fn look(&self) -> Option<Instant> {
        self.0.upgrade()?.sweep()
    }

    fn remains_needed(&mut self) -> bool {
        let Some(endpoint) = self.0.upgrade() else { return false };
        endpoint.sweeping().0.store(false, Ordering::SeqCst);
        let needed = endpoint.sweep().is_some() && !endpoint.sweeping().0.swap(true, Ordering::SeqCst);
        if !needed {
            // The mark is another's from here on.
            self.0 = Weak::new();
        }
        needed
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(endpoint) = self.0.upgrade() {
            endpoint.sweeping().0.store(false, Ordering::SeqCst);
        }
    }
}
