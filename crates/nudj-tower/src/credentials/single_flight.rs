//! One flight however many passengers: who starts it, and how the others learn of its end.

use parking_lot::Mutex;
use tokio::sync::watch;

/// Runs one thing at a time and tells all who wait for it how it ended.
#[derive(Debug)]
pub(super) struct SingleFlight<T> {
    flight: Mutex<Option<watch::Receiver<Option<T>>>>,
}

/// Who asks for a flight.
#[derive(Debug)]
pub(super) enum Boarding<T, E> {
    /// Nobody flies: start it, and say through this how it ended. Dropping it says that it ended without a result.
    First(watch::Sender<Option<T>>, watch::Receiver<Option<T>>),
    /// One is under way.
    Joined(watch::Receiver<Option<T>>),
    /// None is, and none may be started.
    NotNow(E),
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { flight: Mutex::new(None) }
    }
}

impl<T: Clone> SingleFlight<T> {
    /// Joins the flight under way or opens one. `landed` is asked under the same lock that landing takes, so that nobody who comes
    /// right after a landing starts another for nothing; and so is `grounded`, why none may be opened.
    pub(super) fn board<L, E>(
        &self,
        landed: impl FnOnce() -> Option<L>,
        grounded: impl FnOnce() -> Option<E>,
    ) -> Result<L, Boarding<T, E>> {
        let mut flight = self.flight.lock();
        if let Some(result) = landed() {
            return Ok(result);
        }
        // A sender that is gone without a word left nothing to wait for: its task was dropped with its runtime.
        if let Some(known) = flight.as_ref().filter(|known| known.has_changed().is_ok()) {
            return Err(Boarding::Joined(known.clone()));
        }
        if let Some(reason) = grounded() {
            return Err(Boarding::NotNow(reason));
        }
        let (sender, receiver) = watch::channel(None);
        *flight = Some(receiver.clone());
        Err(Boarding::First(sender, receiver))
    }

    /// How the flight under way ends, if there is one.
    pub(super) fn under_way(&self) -> Option<watch::Receiver<Option<T>>> {
        self.flight.lock().clone()
    }

    /// Does something while nobody boards or lands.
    pub(super) fn between<R>(&self, change: impl FnOnce() -> R) -> R {
        let _flight = self.flight.lock();
        change()
    }

    /// Ends the flight: `arrive` makes its result visible before anybody can board anew. It runs under a lock, and tells nobody.
    pub(super) fn land(&self, sender: &watch::Sender<Option<T>>, arrive: impl FnOnce() -> T) -> T {
        let mut flight = self.flight.lock();
        let result = arrive();
        *flight = None;
        sender.send_replace(Some(result.clone()));
        result
    }
}
