//! [`Receiver`]: the running receiver.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::intake::Intake;
use super::{ReceiverBuilder, WebhookService};
use crate::dispatch::Phase;
use crate::inbox::DeadLetter;
use crate::wall_clock::unix_millis;
use crate::{Error, Snapshot, Verifier, WebhookConfig};

/// After the deadline, for noting in the inbox what was cut off.
const STORE_GRACE: Duration = Duration::from_secs(1);

/// No deadline is longer: points in time end somewhere.
const LONGEST_DEADLINE: Duration = Duration::from_secs(30 * 86_400);

/// A running receiver. Clones are handles of the same one.
///
/// ```
/// use nudj_webhook::{Delivery, Receiver};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = Receiver::builder()
///     .secret("it's a secret to everybody")
///     .on("user.updated", async |delivery: Delivery| {
///         println!("{} {:?}", delivery.id, delivery.event.user_id());
///         Ok::<(), std::io::Error>(())
///     })
///     .build()?;
/// let app = axum::Router::new().merge(receiver.router());
/// # drop(app);
/// // axum::serve(listener, app).with_graceful_shutdown(signal).await?;
/// let report = receiver.shutdown(Duration::from_secs(10)).await;
/// assert_eq!(report.left, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    intake: Arc<Intake>,
    /// The task, then what it came to.
    task: Arc<Mutex<Task>>,
}

#[derive(Debug)]
enum Task {
    Running(JoinHandle<u64>),
    Ended(ShutdownReport),
}

/// What a shutdown left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Deliveries that were answered 2xx and not handled: kept by a durable inbox, lost with one in memory.
    pub left: u64,
    /// Whether the inbox keeps them.
    pub kept: bool,
    /// Attempts that were under way at the deadline and were dropped.
    pub cut_off: u64,
}

impl Receiver {
    pub(super) fn new(intake: Arc<Intake>, task: JoinHandle<u64>) -> Self {
        Self { intake, task: Arc::new(Mutex::new(Task::Running(task))) }
    }

    /// Begins a receiver with the default settings, no secret and no handler.
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::new()
    }

    /// A plain tower service over any body, for frameworks other than axum.
    pub fn service(&self) -> WebhookService {
        WebhookService::new(Arc::clone(&self.intake))
    }

    /// The settings it was built with.
    pub fn config(&self) -> &WebhookConfig {
        &self.intake.config
    }

    /// The verifier, for instance to rotate the secret.
    pub fn verifier(&self) -> &Verifier {
        &self.intake.verifier
    }

    /// Accepts `secret` from now on, and the older ones for `overlap` longer. No delivery is lost: both count in between.
    ///
    /// # Errors
    /// [`Error::Config`] for an unusable secret, or when 8 are valid already.
    pub fn rotate_secret(&self, secret: &SecretString, overlap: Duration) -> Result<(), Error> {
        self.intake.verifier.rotate(secret, overlap, self.intake.clock.now())
    }

    /// What happened so far; waits for nothing. With a shared store the gauges are those of about a minute ago.
    pub fn snapshot(&self) -> Snapshot {
        self.intake.counters.snapshot(self.intake.inbox.depth(), self.intake.inbox.dead_letter_count())
    }

    /// Up to `limit` dead letters, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.intake.inbox.dead_letters(limit).await
    }

    /// Gives a dead letter to its handlers again, with all attempts before it; those that succeeded are left out.
    /// False when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn replay_dead_letter(&self, id: &str) -> Result<bool, Error> {
        let found = self.intake.inbox.replay(id, self.now()).await?;
        self.intake.wake.notify_one();
        Ok(found)
    }

    /// Forgets a dead letter. False when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn discard_dead_letter(&self, id: &str) -> Result<bool, Error> {
        self.intake.inbox.discard(id, self.now()).await
    }

    /// Stops: new requests are answered 503, those under way end, what is due is handled, all until `deadline` from
    /// now (at most 30 days); attempts still under way then are dropped. Requests that are not whole after three quarters
    /// of it are answered 503 as well, so that the last quarter is for the handlers. Deliveries that wait for a retry are waited for too unless the
    /// inbox keeps them. A second call waits for the first and gives the same report.
    ///
    /// When this future is dropped, the intake stays closed; call again to go on.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let until = end_of(deadline);
        self.order(|phase| (phase == Phase::Running).then_some(Phase::Closed));
        let mut task = self.task.lock().await;
        let running = match &mut *task {
            Task::Ended(report) => return *report,
            Task::Running(running) => running,
        };
        // Of a call before that was dropped: what is handled since then has the time that is given now.
        self.order(|phase| matches!(phase, Phase::Draining(_)).then_some(Phase::Draining(until)));
        // Requests under way may still record; a drain that ended before would not see it. A sender that is slow must not
        // take all the time: what is recorded at the end could not be handled.
        let places = u32::try_from(self.intake.config.max_in_flight).unwrap_or(u32::MAX);
        let enough = until - deadline.min(LONGEST_DEADLINE) / 4;
        let _ = timeout_at(enough, self.intake.places.acquire_many(places)).await;
        self.order(|_| Some(Phase::Draining(until)));
        // The dispatcher keeps the deadline itself, unless its inbox blocks the thread; then nothing of it is known, and
        // waiting for its end would be waiting for the inbox.
        let cut_off = match timeout_at(until + STORE_GRACE, &mut *running).await {
            Ok(ended) => ended.unwrap_or(0),
            Err(_elapsed) => {
                running.abort();
                0
            }
        };
        let report = ShutdownReport { left: self.intake.inbox.depth(), kept: self.intake.inbox.is_durable(), cut_off };
        *task = Task::Ended(report);
        report
    }

    fn order(&self, next: impl FnOnce(Phase) -> Option<Phase>) {
        self.intake.phase.send_if_modified(|phase| match next(*phase) {
            Some(next) => {
                *phase = next;
                true
            }
            None => false,
        });
    }

    fn now(&self) -> i64 {
        unix_millis(self.intake.clock.now())
    }
}

/// When `deadline` from now is.
pub(super) fn end_of(deadline: Duration) -> Instant {
    Instant::now() + deadline.min(LONGEST_DEADLINE)
}
