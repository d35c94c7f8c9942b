//! One change, until it got through, is a dead letter, or the pipeline stops.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    config::CdcConfig,
    feed::{Item, Mappings, beginning},
    ledger::Ledger,
    mapping::{Applied, Attempt, MappingError},
    state::{CdcState, DeadLetter},
    verdict::{Blame, Tries, Verdict, verdict},
};
use crate::{Error, Remote, RemoteError, RemoteErrorKind, WallClock, wall_clock::millis};

pub(super) struct Shared {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) state: Arc<dyn CdcState>,
    pub(super) mappings: Arc<Mappings>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) config: CdcConfig,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) rng: Mutex<fastrand::Rng>,
    /// Changes that got through.
    pub(super) passed: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) last_failure: Mutex<Option<String>>,
    pub(super) stopping: watch::Receiver<bool>,
}

pub(super) enum Outcome {
    Applied {
        applied: Applied,
        healed: bool,
    },
    Buried(DeadLetter),
    /// The pipeline stops; the next one does it again.
    Left,
}

impl Shared {
    pub(super) async fn apply(self: Arc<Self>, item: Item) -> Outcome {
        let mut stopping = self.stopping.clone();
        let begun = Instant::now();
        let mut tries = Tries::default();
        let mut passed_before = None;
        loop {
            let error = match self.attempt(&item).await {
                Ok(applied) => {
                    self.passed.fetch_add(1, Ordering::Relaxed);
                    let healed = self.ledger.applied(&item.change.record, &applied);
                    return Outcome::Applied { applied, healed: healed || item.replayed };
                }
                Err(error) => error,
            };
            let (blame, asked) = blame(&error);
            if let MappingError::Remote(error) = &error
                && error.kind() == RemoteErrorKind::Unknown
            {
                self.ledger.doubt(&item.change.record);
            }
            tries.failures = tries.failures.saturating_add(1);
            tries.unclear = tries.unclear.saturating_add(u32::from(blame == Blame::Unclear));
            tries.age = begun.elapsed();
            let passed = self.passed.load(Ordering::Relaxed);
            if blame == Blame::Unclear {
                tries.others_passed = passed > *passed_before.get_or_insert(passed);
            }
            let verdict = verdict(blame, tries, asked, &mut self.rng.lock(), &self.config);
            match verdict {
                Verdict::Bury => return self.bury(&item, &error, tries.failures),
                Verdict::RetryIn(wait) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(record = %item.change.record, %error, ?wait, "a change did not get through");
                    *self.last_failure.lock() = Some(error.to_string());
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => return Outcome::Left,
                    }
                }
            }
        }
    }

    async fn attempt(&self, item: &Item) -> Result<Applied, MappingError> {
        let change = &item.change;
        let Some(mapping) = self.mappings.get(&change.record.table) else { return Ok(Applied::Nothing) };
        if self.ledger.must_begin_again(&change.record)
            && let Err(error) = self.begin_again(item).await
        {
            self.ledger.learn(&change.record, &Applied::Gone);
            return Err(error.into());
        }
        let known = self.ledger.known(&change.record);
        let attempt = Attempt { remote: &*self.remote, change, known: &known, ledger: &self.ledger };
        mapping.apply(attempt).await
    }

    async fn begin_again(&self, item: &Item) -> Result<(), Error> {
        let generation = self.state.standing().await?.generation;
        let known = self.state.begin(&[beginning(&self.mappings, &item.change)], generation).await?;
        for known in known {
            self.ledger.note(&item.change.record, known);
        }
        Ok(())
    }

    fn bury(&self, item: &Item, error: &MappingError, attempts: u32) -> Outcome {
        let change = item.change.clone();
        tracing::warn!(record = %change.record, %error, attempts, "a change is put aside; it can be replayed");
        self.ledger.bury(&change.record);
        Outcome::Buried(DeadLetter {
            id: change.record.to_string(),
            reason: error.to_string(),
            attempts,
            died_at: millis(&*self.clock),
            change,
        })
    }
}

fn blame(error: &MappingError) -> (Blame, Option<std::time::Duration>) {
    match error {
        MappingError::Poison(_) => (Blame::Record, None),
        MappingError::State(_) => (Blame::Nudj, None),
        MappingError::Remote(error) => (blame_remote(error), error.retry_after()),
    }
}

fn blame_remote(error: &RemoteError) -> Blame {
    match error.kind() {
        RemoteErrorKind::Refused | RemoteErrorKind::Conflict => Blame::Record,
        RemoteErrorKind::NotFound | RemoteErrorKind::Forbidden => Blame::Unclear,
        RemoteErrorKind::Unknown => {
            let Some(client) = error.client_error() else { return Blame::Unclear };
            match client.kind() {
                nudj_client::ErrorKind::Status { status, .. } if matches!(status.as_u16(), 404 | 410 | 500) => {
                    Blame::Unclear
                }
                nudj_client::ErrorKind::Decode { .. } | nudj_client::ErrorKind::BodyTooLarge { .. } => Blame::Unclear,
                _ => Blame::Nudj,
            }
        }
        _ => Blame::Nudj,
    }
}
