use tokio::sync::watch;

/// Ends a run cleanly, from another task or a signal handler.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// A stop that was not pulled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing new is started from here on; calls in flight are finished and recorded.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`Stop::now`] was called.
    #[must_use]
    pub fn is_now(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when [`Stop::now`] was called, at once if it was. May be dropped at any time.
    pub async fn wait(&self) {
        // The sender is `self`, so it is there as long as anybody waits.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
