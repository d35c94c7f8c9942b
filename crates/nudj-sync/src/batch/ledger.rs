//! What was read, what is settled, what was told, what stands in the file.

use std::sync::Arc;

use super::{
    BatchConfig, CheckpointFile, Outcome, Report, Row, Summary, Totals, checkpoint::Checkpoint, progress::Progress,
    settle::Unit,
};
use crate::{BoxError, Error, RemoteError, RemoteErrorKind};

pub(super) struct Ledger<R> {
    file: Option<Arc<CheckpointFile>>,
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
    unsaved: u64,
    /// Given up one after the other for what passes. They count as failed once another record gets through: until then it may be
    /// the API, and the next run tries them again.
    held: Vec<Unit<R>>,
}

impl<R> Ledger<R> {
    pub(super) fn restore(
        found: Option<Checkpoint>,
        file: Option<CheckpointFile>,
        config: &BatchConfig,
    ) -> Result<Self, Error> {
        let found = found.unwrap_or_default();
        // No run can have settled anything beyond what it may have started.
        let most = found.started_until.saturating_sub(found.settled.until).min(1_000_000);
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
            unsaved: 0,
            held: Vec::new(),
        })
    }

    /// Whether another row may be read: only so many may be unsettled.
    pub(super) fn has_room(&self) -> bool {
        self.next.saturating_sub(self.progress.settled_until()) < self.window
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
        self.unsaved = self.unsaved.saturating_add(1);
        Ok(())
    }

    pub(super) fn all_settled(&self) -> bool {
        self.progress.settled_until() >= self.next
    }

    /// Whether a chunk's worth was settled since the file was written.
    pub(super) fn is_due(&self) -> bool {
        self.unsaved >= self.chunk_size
    }

    /// Before a call is made for a row that was read, the file must say that it may have been.
    pub(super) async fn about_to_start(&mut self) -> Result<(), Error> {
        if self.next > self.started_until { self.save().await } else { Ok(()) }
    }

    pub(super) async fn save(&mut self) -> Result<(), Error> {
        self.unsaved = 0;
        // Room for what will be started before the next time.
        let ahead = self.progress.settled_until().saturating_add(self.window).max(self.next);
        self.started_until = self.started_until.max(ahead);
        let Some(file) = self.file.clone() else { return Ok(()) };
        let checkpoint = Checkpoint {
            settled: self.progress.snapshot(),
            started_until: self.started_until,
            totals: self.totals,
            finished: self.finished,
            ..Checkpoint::default()
        };
        let saved = tokio::task::spawn_blocking(move || file.save(checkpoint)).await;
        saved.map_err(|error| Error::store("checkpoint file", error))?
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { totals: self.totals, resumed: self.resumed, finished: self.finished }
    }
}
