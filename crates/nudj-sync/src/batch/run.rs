//! Reads, settles, reports, saves: one task, with as many calls in flight as the configuration says.

use std::{fmt, pin::pin};

use futures_util::{Stream, StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    BatchConfig, CheckpointFile, Report, Row, Stop, Summary, Target, Totals,
    ledger::Ledger,
    settle::{Fatal, Settler, Unit},
};
use crate::{
    BoxError, Error,
    status::{Observed, SyncObserver, SyncStatus},
};

/// A batch, ready to run.
pub struct Batch<T> {
    settler: Settler<T>,
    checkpoint: Option<CheckpointFile>,
    told: Told,
}

/// Who is told of the progress.
#[derive(Default)]
struct Told {
    observed: Observed,
    total: Option<u64>,
}

impl Told {
    fn tell(&self, totals: Totals) {
        let dead_letters = totals.failed.saturating_add(totals.invalid);
        let (done, total) = (totals.records(), self.total);
        let waiting = total.map(|total| total.saturating_sub(done));
        self.observed.tell(|| SyncStatus { done, total, waiting, dead_letters, ..SyncStatus::default() });
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Batch");
        shown.field("config", &self.settler.config).field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

impl<T: Target> Batch<T> {
    /// A batch without a checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn new(target: T, config: BatchConfig) -> Result<Self, Error> {
        config.validate()?;
        let calls = Semaphore::new(config.calls_in_flight);
        let rng = Mutex::new(fastrand::Rng::new());
        Ok(Self {
            settler: Settler { target, config, calls, stop: Stop::new(), rng },
            checkpoint: None,
            told: Told::default(),
        })
    }

    /// Writes what is settled to this file, and goes on from what stands there.
    #[must_use]
    pub fn checkpoint(mut self, file: CheckpointFile) -> Self {
        self.checkpoint = Some(file);
        self
    }

    /// Ends when this stop is pulled.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.settler.stop = stop;
        self
    }

    /// Told of the progress as records are settled, and of how many there are, where that is known.
    #[must_use]
    pub fn observer(mut self, total: Option<u64>, observer: impl SyncObserver) -> Self {
        self.told = Told { observed: Observed::by(observer), total };
        self
    }

    /// Waits of repeats are drawn from this.
    #[must_use]
    pub fn rng(mut self, rng: fastrand::Rng) -> Self {
        self.settler.rng = Mutex::new(rng);
        self
    }

    /// Runs to the end of `rows`, or to the stop, which an error pulls too. `report` is told about each record as it is settled, in any order; before a crash
    /// it may have been told of records that are settled anew.
    ///
    /// # Errors
    /// [`Error::Remote`] when no record can succeed: the token is refused, or so many in a row failed that the API is down;
    /// [`Error::Store`] and [`Error::Corrupt`] for the checkpoint; [`Error::Local`] when `rows` or `report` gave an error. What was
    /// settled by then stands in the checkpoint.
    pub async fn run<S, F>(self, rows: S, mut report: F) -> Result<Summary, Error>
    where
        S: Stream<Item = Result<Row<T::Record>, BoxError>>,
        F: FnMut(Report<'_, T::Record>) -> Result<(), BoxError>,
    {
        let found = match &self.checkpoint {
            Some(file) => file.load()?,
            None => None,
        };
        let mut ledger = Ledger::restore(found, self.checkpoint, &self.settler.config)?;
        if ledger.finished {
            self.told.tell(ledger.summary().totals);
            return Ok(ledger.summary());
        }
        ledger.save().await?;
        self.told.tell(ledger.summary().totals);
        let ended = drive(&self.settler, &self.told, rows, &mut report, &mut ledger).await;
        // Also after an error: what is settled is settled.
        let saved = ledger.close(matches!(ended, Ok(true))).await;
        self.told.tell(ledger.summary().totals);
        ended.and(saved)?;
        Ok(ledger.summary())
    }
}

/// True when the input was read to its end and all of it is settled.
async fn drive<T, S, F>(
    settler: &Settler<T>,
    told: &Told,
    rows: S,
    report: &mut F,
    ledger: &mut Ledger<T::Record>,
) -> Result<bool, Error>
where
    T: Target,
    S: Stream<Item = Result<Row<T::Record>, BoxError>>,
    F: FnMut(Report<'_, T::Record>) -> Result<(), BoxError>,
{
    let mut rows = pin!(rows.fuse());
    let mut stopped = pin!(settler.stop.wait());
    let unit_size = if settler.target.in_bulk() { settler.config.chunk_size } else { 1 };
    let (mut in_flight, mut next_unit) = (FuturesUnordered::new(), Vec::new());
    let (mut ended, mut failure) = (false, None);
    loop {
        let reading = !ended && !settler.stop.is_now();
        if reading && in_flight.is_empty() && ledger.waits_for_held() {
            // No other record is left to say whether these failed alone, and none may be read before they are settled.
            if let Err(error) = ledger.give_up_held(report) {
                failure.get_or_insert(error);
                settler.stop.now();
            }
            continue;
        }
        if failure.is_none() && ledger.is_due() {
            ledger.begin_save();
        }
        tokio::select! {
            biased;
            () = &mut stopped, if reading => {}
            Some(settled) = in_flight.next(), if !in_flight.is_empty() => {
                if let Err(error) = take(settled, report, ledger) {
                    failure.get_or_insert(error);
                    // Calls in flight are finished, and nothing new begins.
                    settler.stop.now();
                }
                told.tell(ledger.summary().totals);
            }
            saved = ledger.saved(), if ledger.is_saving() => {
                if let Err(error) = saved {
                    failure.get_or_insert(error);
                    settler.stop.now();
                }
            }
            row = rows.next(), if reading && ledger.has_room() => {
                let read = match row {
                    Some(Ok(row)) => ledger.read(row, report),
                    Some(Err(error)) => Err(Error::Local(error)),
                    None => {
                        ended = true;
                        Ok(None)
                    }
                };
                match read {
                    Ok(unit) => next_unit.extend(unit),
                    Err(error) => {
                        failure.get_or_insert(error);
                        settler.stop.now();
                    }
                }
                let last = ended || ledger.is_full();
                if next_unit.len() >= unit_size || (last && !next_unit.is_empty()) {
                    in_flight.push(settler.settle(std::mem::take(&mut next_unit)));
                }
            }
            else => break,
        }
    }
    match failure {
        Some(error) => Err(error),
        None if ended => ledger.give_up_held(report).map(|()| ledger.all_settled()),
        None => Ok(false),
    }
}

/// All of them, also after an error: what was done is noted.
fn take<R, F>(
    (units, ended): (Vec<Unit<R>>, Result<(), Fatal>),
    report: &mut F,
    ledger: &mut Ledger<R>,
) -> Result<(), Error>
where
    F: FnMut(Report<'_, R>) -> Result<(), BoxError>,
{
    units.into_iter().fold(ended.map_err(Error::from), |ended, unit| ended.and(ledger.take(unit, report)))
}

#[cfg(test)]
mod tests;
