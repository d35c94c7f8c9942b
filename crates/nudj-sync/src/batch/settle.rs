//! What becomes of one record, or of a chunk of them in one call.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{BatchConfig, Lookup, Outcome, Stop, Target};
use crate::{RemoteError, RemoteErrorKind, backoff::backoff, until::from_now};

/// What all records of a run share.
pub(super) struct Settler<T> {
    pub(super) target: T,
    pub(super) config: BatchConfig,
    pub(super) calls: Semaphore,
    pub(super) stop: Stop,
    pub(super) rng: Mutex<fastrand::Rng>,
}

/// A record on its way. `None` as outcome: stopped before it was settled.
pub(super) struct Unit<R> {
    pub(super) number: u64,
    pub(super) line: u64,
    pub(super) record: R,
    /// It may be there already: an earlier run was killed, or an answer was lost.
    pub(super) doubtful: bool,
    pub(super) outcome: Option<Outcome>,
}

/// A failure after which no other record need be tried.
pub(super) type Fatal = RemoteError;

/// How often one record was tried.
#[derive(Default)]
struct Tries {
    retries: u32,
    throttled: Duration,
}

impl<T: Target> Settler<T> {
    /// Settles each of `units`, by one call for all where the API has one. Gives all of them back, however it ended.
    pub(super) async fn settle(&self, mut units: Vec<Unit<T::Record>>) -> (Vec<Unit<T::Record>>, Result<(), Fatal>) {
        let ended = self.settle_all(&mut units).await;
        (units, ended)
    }

    async fn settle_all(&self, units: &mut [Unit<T::Record>]) -> Result<(), Fatal> {
        if self.target.in_bulk() {
            self.settle_in_bulk(units).await?;
        }
        let open = units.iter_mut().filter(|unit| unit.outcome.is_none());
        let settled = join_all(open.map(|unit| async {
            unit.outcome = self.settle_one(&unit.record, &mut unit.doubtful).await?;
            Ok(())
        }));
        settled.await.into_iter().collect()
    }

    /// What it leaves without outcome is for [`Settler::settle_one`].
    async fn settle_in_bulk(&self, units: &mut [Unit<T::Record>]) -> Result<(), Fatal> {
        let mut sent: Vec<&mut Unit<T::Record>> = units.iter_mut().filter(|unit| !unit.doubtful).collect();
        if sent.is_empty() {
            return Ok(());
        }
        let records: Vec<&T::Record> = sent.iter().map(|unit| &unit.record).collect();
        let mut tries = Tries::default();
        let answer = loop {
            let Some(_permit) = self.permit().await else { return Ok(()) };
            let error = match self.target.create_many(&records).await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            match error.kind() {
                RemoteErrorKind::Unauthorized => return Err(error),
                RemoteErrorKind::NotDone | RemoteErrorKind::Throttled => {
                    drop(_permit);
                    if !self.wait(&mut tries, &error).await {
                        return Ok(());
                    }
                }
                kind => {
                    // One record may have spoiled it, or all may be there: each is looked at alone.
                    sent.iter_mut().for_each(|unit| unit.doubtful = kind == RemoteErrorKind::Unknown);
                    return Ok(());
                }
            }
        };
        let Some(results) = answer else { return Ok(()) };
        // Whose result is not read may be there.
        sent.iter_mut().for_each(|unit| unit.doubtful = true);
        let mut ended = Ok(());
        for (unit, result) in sent.iter_mut().zip(results) {
            match result {
                Ok(id) => unit.outcome = Some(Outcome::Created { id }),
                Err(error) => match error.kind() {
                    RemoteErrorKind::Unauthorized => {
                        unit.doubtful = false;
                        ended = Err(error);
                    }
                    RemoteErrorKind::Conflict | RemoteErrorKind::Unknown => {}
                    RemoteErrorKind::NotDone | RemoteErrorKind::Throttled => unit.doubtful = false,
                    RemoteErrorKind::Forbidden => {
                        unit.doubtful = false;
                        unit.outcome = Some(failed(true, &error));
                    }
                    RemoteErrorKind::Refused | RemoteErrorKind::NotFound => unit.outcome = Some(failed(false, &error)),
                },
            }
        }
        ended
    }

    async fn settle_one(&self, record: &T::Record, doubtful: &mut bool) -> Result<Option<Outcome>, Fatal> {
        let mut tries = Tries::default();
        loop {
            let Some(permit) = self.permit().await else { return Ok(None) };
            let error = match self.attempt(record, doubtful).await {
                Ok(outcome) => return Ok(Some(outcome)),
                Err(error) => error,
            };
            drop(permit);
            match error.kind() {
                RemoteErrorKind::Unauthorized => return Err(error),
                // Not tried again by itself; many in a row end the run, as then it is the token, and are tried again by the next.
                RemoteErrorKind::Forbidden => return Ok(Some(failed(true, &error))),
                kind if !kind.is_retryable() => return Ok(Some(failed(false, &error))),
                _ if self.wait(&mut tries, &error).await => {}
                _ if self.stop.is_now() => return Ok(None),
                _ if *doubtful => {
                    let problem = format!("whether it was created is not known: {error}");
                    return Ok(Some(Outcome::Failed { retryable: true, problem }));
                }
                _ => return Ok(Some(failed(true, &error))),
            }
        }
    }

    /// Looks it up if in doubt, then creates it.
    async fn attempt(&self, record: &T::Record, doubtful: &mut bool) -> Result<Outcome, RemoteError> {
        if *doubtful {
            match self.target.find(record).await? {
                Lookup::Found(id) => return Ok(Outcome::Found { id }),
                Lookup::Missing => *doubtful = false,
                Lookup::Impossible => {
                    let problem = "whether it was created is not known, and it has nothing to look it up by".to_owned();
                    return Ok(Outcome::Failed { retryable: false, problem });
                }
            }
        }
        match self.target.create(record).await {
            Ok(id) => Ok(Outcome::Created { id }),
            Err(error) if error.kind() == RemoteErrorKind::Conflict => match self.target.find(record).await {
                Ok(Lookup::Found(id)) => Ok(Outcome::Found { id }),
                Ok(_) => Err(error),
                // Asked again later: the create will be refused again, and nothing be done twice.
                Err(lookup) => Err(lookup),
            },
            Err(error) => {
                *doubtful = error.kind() == RemoteErrorKind::Unknown;
                Err(error)
            }
        }
    }

    /// `None` when the run is stopped.
    async fn permit(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        tokio::select! {
            biased;
            () = self.stop.wait() => None,
            permit = self.calls.acquire() => permit.ok(),
        }
    }

    /// False when it has been tried often enough, or the run is stopped.
    async fn wait(&self, tries: &mut Tries, error: &RemoteError) -> bool {
        let backoff = |failures| {
            let BatchConfig { base_delay, max_delay, .. } = self.config;
            backoff(base_delay, max_delay, failures, &mut self.rng.lock())
        };
        let asked = error.retry_after().unwrap_or_default();
        let delay = if error.kind() == RemoteErrorKind::Throttled {
            let delay = backoff(1).max(asked);
            tries.throttled = tries.throttled.saturating_add(delay);
            if tries.throttled > self.config.throttled_for {
                return false;
            }
            delay
        } else {
            tries.retries = tries.retries.saturating_add(1);
            if tries.retries > self.config.max_retries {
                return false;
            }
            backoff(tries.retries).max(asked.min(self.config.max_delay))
        };
        tokio::select! {
            biased;
            () = self.stop.wait() => false,
            () = tokio::time::sleep_until(from_now(delay)) => true,
        }
    }
}

fn failed(retryable: bool, error: &RemoteError) -> Outcome {
    Outcome::Failed { retryable, problem: error.to_string() }
}
