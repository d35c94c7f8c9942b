//! How an arrival is recorded whose id other receivers may have.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::state::State;
use crate::Error;
use crate::inbox::seen::fingerprint;
use crate::inbox::{Arrival, Recorded, ReplayGuard, Reservation};

/// Requests for the same id wait for one another on one of these, so that a repeat learns what became of the first.
const STRIPES: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Guarded {
    guard: Arc<dyn ReplayGuard>,
    stripes: Arc<[tokio::sync::Mutex<()>]>,
    retention: Duration,
    /// Tells the dispatcher how an arrival ended; the request may be gone.
    recorded: Arc<Notify>,
}

/// Gives the reserved place back unless it was taken.
pub(super) struct Place {
    state: Arc<Mutex<State>>,
    recorded: Arc<Notify>,
    body_len: Option<usize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(body_len) = self.body_len {
            self.state.lock().release(body_len);
            // Who drains waits for it.
            self.recorded.notify_one();
        }
    }
}

impl Guarded {
    pub(super) fn new(guard: impl ReplayGuard, retention: Duration) -> Self {
        let stripes = (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect();
        Self { guard: Arc::new(guard), stripes, retention, recorded: Arc::default() }
    }

    /// Holds the place that was reserved for a body of this length.
    pub(super) fn place(&self, state: Arc<Mutex<State>>, body_len: usize) -> Place {
        Place { state, recorded: Arc::clone(&self.recorded), body_len: Some(body_len) }
    }

    /// Records an arrival whose id other receivers may have. Runs to its end even when the request is gone, so that no
    /// reservation is left behind.
    ///
    /// It has its place from before it waits: else those whose requests are gone would pile up beyond every limit while the
    /// guard hangs.
    pub(super) async fn record(self, mut place: Place, arrival: Arrival) -> Result<Recorded, Error> {
        let state = Arc::clone(&place.state);
        let stripe = usize::from(fingerprint(0, &arrival.id)[0]) % STRIPES;
        let _turn = self.stripes[stripe].lock().await;
        // The one before it may have been the same.
        match state.lock().look(&arrival) {
            Recorded::New => {}
            other => return Ok(other),
        }
        let token = format!("{:032x}", fastrand::u128(..));
        let ids: Vec<String> = std::iter::once(format!("id:{}", arrival.id))
            .chain(arrival.body_key.as_ref().map(|key| format!("body:{key}")))
            .collect();
        for (index, id) in ids.iter().enumerate() {
            let verdict = match self.guard.reserve(id, &token).await {
                Ok(Reservation::Fresh) => continue,
                Ok(Reservation::Seen) => Ok(Recorded::Duplicate),
                Ok(Reservation::Reserved) => Ok(Recorded::Busy),
                Err(error) => Err(error),
            };
            // The one that failed may have been reserved as well.
            for id in &ids[..=index] {
                let _ = self.guard.release(id, &token).await;
            }
            return verdict;
        }
        if !state.lock().insert(arrival) {
            // Another receiver can take the sender's repeat.
            for id in &ids {
                let _ = self.guard.release(id, &token).await;
            }
            return Ok(Recorded::Busy);
        }
        place.body_len = None;
        self.recorded.notify_one();
        for id in &ids {
            if let Err(error) = self.guard.confirm(id, &token, self.retention).await {
                tracing::warn!(error = %error, "a delivery's id could not be shared; another receiver may take a repeat of it");
            }
        }
        Ok(Recorded::New)
    }

    /// Ends when an arrival was recorded, or refused after it had a place.
    pub(super) async fn recorded(&self) {
        self.recorded.notified().await;
    }
}
