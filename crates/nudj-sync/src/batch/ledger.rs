//! What was read, what is settled, what was told, what stands in the file.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{
    BatchConfig, CheckpointFile, Outcome, Report, Row, Summary, Totals, checkpoint::Checkpoint, progress::Progress,
    settle::Unit,
};
use crate::{BoxError, Error, RemoteError, RemoteErrorKind};

/// So many chunks may be started before the file is written again: a write has the time of one to end in.
const CHUNKS_AHEAD: u64 = 2;

/// Settled records are remembered one by one up to so far beyond the first that is not: one slow record holds up no other. Fewer in this
/// crate's tests, so that they come to the end of it.
const FURTHEST: u64 = if cfg!(test) { 2_000 } else { 1_000_000 };

pub(super) struct Ledger<R> {
    file: Option<Arc<CheckpointFile>>,
    /// Records that may be open at once.
    window: u64,
    chunk_size: u64,
    /// So many of `held` mean that the API is down; 0 for never.
    held_at_most: usize,
    /// The number of the next row to be read.
    next: u64,
    progress: Progress,
    totals: Totals,
    pub(super) finished: bool,
    resumed: u64,
    /// Below this, an earlier run may have started a record that is not settled.
    doubtful_until: u64,
    /// What the file says about the records that may be started.
    started_until: u64,
    /// Of this run, no record from here on was sent without being settled since.
    in_doubt_until: u64,
    /// Read and not settled.
    open: u64,
    unsaved: u64,
    saving: Option<Saving>,
    /// Given up one after the other for what passes. They count as failed once another record gets through: until then it may be
    /// the API, and the next run tries them again.
    held: Vec<Unit<R>>,
}

/// The file while it is written.
struct Saving {
    write: JoinHandle<Result<(), Error>>,
    started_until: u64,
}

impl<R> Ledger<R> {
    pub(super) fn restore(
        found: Option<Checkpoint>,
        file: Option<CheckpointFile>,
        config: &BatchConfig,
    ) -> Result<Self, Error> {
        let found = found.unwrap_or_default();
        // No run can have settled anything beyond what it may have started.
        let most = found.started_until.saturating_sub(found.settled.until).min(FURTHEST.saturating_mul(2));
        let progress = Progress::restore(&found.settled, most)
            .ok_or_else(|| Error::corrupt("checkpoint file", "its ranges are impossible; was it edited?"))?;
        let window = config.window();
        let held_at_most = usize::try_from(window).unwrap_or(usize::MAX).min(config.stop_after_failures as usize);
        Ok(Self {
            file: file.map(Arc::new),
            window,
            chunk_size: config.chunk_size as u64,
            held_at_most,
            next: 0,
            progress,
            totals: found.totals,
            finished: found.finished,
            resumed: found.totals.records(),
            doubtful_until: found.started_until,
            started_until: found.started_until,
            in_doubt_until: 0,
            open: 0,
            unsaved: 0,
            saving: None,
            held: Vec::new(),
        })
    }

    /// Whether another row may be read: the file must say that a call may have been made for it.
    pub(super) fn has_room(&self) -> bool {
        !self.is_full() && self.next < self.started_until
    }

    /// Whether something must be settled before another row is read.
    pub(super) fn is_full(&self) -> bool {
        let beyond = self.next.saturating_sub(self.progress.settled_until());
        self.open >= self.window || beyond >= FURTHEST
    }

    /// Whether nothing more can be read until the held ones are settled, which wait for a later record to get through.
    pub(super) fn waits_for_held(&self) -> bool {
        !self.held.is_empty() && self.is_full()
    }

    /// What is to be done for this row, if anything.
    pub(super) fn read<F>(&mut self, row: Row<R>, report: &mut F) -> Result<Option<Unit<R>>, Error>
    where
        F: FnMut(Report<'_, R>) -> Result<(), BoxError>,
    {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        if self.progress.is_settled(number) {
            return Ok(None);
        }
        match row.record {
            Ok(record) => {
                let doubtful = number < self.doubtful_until;
                self.open = self.open.saturating_add(1);
                Ok(Some(Unit { number, line: row.line, record, doubtful, outcome: None }))
            }
            Err((field, problem)) => {
                self.settle(number, row.line, None, &Outcome::Invalid { field, problem }, report)?;
                Ok(None)
            }
        }
    }

    pub(super) fn take<F>(&mut self, unit: Unit<R>, report: &mut F) -> Result<(), Error>
    where
        F: FnMut(Report<'_, R>) -> Result<(), BoxError>,
    {
        let may_be_there = match &unit.outcome {
            None | Some(Outcome::Failed { retryable: true, .. }) => unit.doubtful,
            Some(_) => true, // Until it is settled.
        };
        if may_be_there {
            self.in_doubt_until = self.in_doubt_until.max(unit.number.saturating_add(1));
        }
        match &unit.outcome {
            None => Ok(()),
            Some(Outcome::Failed { retryable: true, problem }) if self.held_at_most > 0 => {
                let problem = problem.clone();
                self.held.push(unit);
                if self.held.len() < self.held_at_most {
                    return Ok(());
                }
                let count = self.held.len();
                let text = format!("{count} records in a row failed, so the run ended; the last one: {problem}");
                Err(RemoteError::new(RemoteErrorKind::Unknown, text).into())
            }
            Some(outcome) => {
                self.settle(unit.number, unit.line, Some(&unit.record), outcome, report)?;
                self.give_up_held(report)
            }
        }
    }

    /// What failed alone did fail.
    pub(super) fn give_up_held<F>(&mut self, report: &mut F) -> Result<(), Error>
    where
        F: FnMut(Report<'_, R>) -> Result<(), BoxError>,
    {
        for unit in std::mem::take(&mut self.held) {
            if let Some(outcome) = &unit.outcome {
                self.settle(unit.number, unit.line, Some(&unit.record), outcome, report)?;
            }
        }
        Ok(())
    }

    fn settle<F>(
        &mut self,
        number: u64,
        line: u64,
        record: Option<&R>,
        outcome: &Outcome,
        report: &mut F,
    ) -> Result<(), Error>
    where
        F: FnMut(Report<'_, R>) -> Result<(), BoxError>,
    {
        let mut totals = self.totals;
        totals.count(outcome);
        report(Report { line, record, outcome, totals }).map_err(Error::Local)?;
        // Told first: what nobody was told of is not settled.
        self.totals = totals;
        self.progress.settle(number);
        self.open = self.open.saturating_sub(u64::from(record.is_some()));
        self.unsaved = self.unsaved.saturating_add(1);
        Ok(())
    }

    pub(super) fn all_settled(&self) -> bool {
        self.progress.settled_until() >= self.next
    }

    /// Whether the file is to be written: a chunk's worth was settled since, or only so much may still be started.
    pub(super) fn is_due(&self) -> bool {
        let ahead = self.started_until.saturating_sub(self.next);
        self.saving.is_none() && (self.unsaved >= self.chunk_size || ahead < self.chunk_size)
    }

    /// Begins to write the file; calls go on meanwhile. [`Ledger::saved`] tells of the end.
    pub(super) fn begin_save(&mut self) {
        let ahead = self.next.saturating_add(self.chunk_size.saturating_mul(CHUNKS_AHEAD));
        self.write(self.started_until.max(ahead));
    }

    fn write(&mut self, started_until: u64) {
        self.unsaved = 0;
        let Some(file) = self.file.clone() else {
            self.started_until = started_until;
            return;
        };
        let checkpoint = Checkpoint {
            settled: self.progress.snapshot(),
            started_until,
            totals: self.totals,
            finished: self.finished,
            ..Checkpoint::default()
        };
        let write = tokio::task::spawn_blocking(move || file.save(checkpoint));
        self.saving = Some(Saving { write, started_until });
    }

    pub(super) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Waits until the write under way, if any, has ended. May be dropped.
    pub(super) async fn saved(&mut self) -> Result<(), Error> {
        let Some(saving) = &mut self.saving else { return Ok(()) };
        let written = (&mut saving.write).await;
        let started_until = saving.started_until;
        self.saving = None;
        written.map_err(|error| Error::store("checkpoint file", error))??;
        // Not before: what the file does not say must not happen.
        self.started_until = started_until;
        Ok(())
    }

    /// Writes the file as it is to be now.
    pub(super) async fn save(&mut self) -> Result<(), Error> {
        self.saved().await?;
        self.begin_save();
        self.saved().await
    }

    /// Writes the file for the last time, when no call is under way: what was read and never sent is not in doubt.
    pub(super) async fn close(&mut self, finished: bool) -> Result<(), Error> {
        self.saved().await?;
        self.finished = finished;
        let settled_until = self.progress.settled_until();
        let of_earlier_runs = if settled_until < self.doubtful_until { self.doubtful_until } else { 0 };
        // Of what is settled the file must say as well that it was started.
        self.write(self.progress.reached().max(self.in_doubt_until).max(of_earlier_runs));
        self.saved().await
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { totals: self.totals, resumed: self.resumed, finished: self.finished }
    }
}

#[cfg(test)]
mod tests;
