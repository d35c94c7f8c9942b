//! The stream as the pipeline reads it: opened, opened again after a failure, snapshots reconciled, replays mixed in.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    change::{Change, Operation, Position, RecordKey},
    config::CdcConfig,
    ledger::Ledger,
    mapping::Mapping,
    source::{ChangeSource, Lag, Resumed},
    state::{Beginning, CdcState, Shown, Standing},
};
use crate::Error;

/// The mapping of each table.
pub(super) type Mappings = HashMap<String, Arc<dyn Mapping>>;

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) change: Change,
    pub(super) replayed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) items: Vec<Item>,
    /// Behind all of them.
    pub(super) position: Option<Position>,
    pub(super) generation: i64,
    /// Changes of tables that have no mapping.
    pub(super) unmapped: u64,
    pub(super) lag: Option<Lag>,
    /// The source had nothing more at this moment.
    pub(super) was_empty: bool,
    /// It was opened anew, so what follows begins behind what was handed out before.
    pub(super) snapshots_begun: u64,
}

pub(super) struct Feed {
    pub(super) source: Box<dyn ChangeSource>,
    pub(super) state: Arc<dyn CdcState>,
    pub(super) mappings: Arc<Mappings>,
    pub(super) ledger: Arc<Ledger>,
    phase: Phase,
    /// The last position handed out.
    after: Option<Position>,
    generation: i64,
    looked_at: Option<Instant>,
}

enum Phase {
    Closed,
    Streaming,
    /// The snapshot is over: what is linked and was not in it is to be deleted, and then this position is reached.
    Reconciling {
        after: Option<RecordKey>,
        position: Option<Position>,
        missing: Vec<String>,
    },
    /// What is linked in these tables is to be deleted, one table after the other, and then this position is reached.
    Emptying {
        tables: Vec<String>,
        after: Option<RecordKey>,
        position: Option<Position>,
    },
}

impl Feed {
    pub(super) fn new(
        source: Box<dyn ChangeSource>,
        state: Arc<dyn CdcState>,
        mappings: Arc<Mappings>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self { source, state, mappings, ledger, phase: Phase::Closed, after: None, generation: 0, looked_at: None }
    }

    /// Reads at most `limit` changes; with a limit of 0 it only passes on what was reached. After an error the next step opens
    /// the stream anew.
    pub(super) async fn step(
        &mut self,
        reached: Option<(i64, Position)>,
        limit: usize,
        config: &CdcConfig,
    ) -> Result<Fetched, Error> {
        // The stream stays open, and this is asked again by the next step.
        self.may_delete(config).await?;
        let stepped = self.try_step(reached, limit, config).await;
        if stepped.is_err() {
            self.phase = Phase::Closed;
        }
        stepped
    }

    async fn try_step(
        &mut self,
        reached: Option<(i64, Position)>,
        limit: usize,
        config: &CdcConfig,
    ) -> Result<Fetched, Error> {
        let mut fetched = Fetched::default();
        if matches!(self.phase, Phase::Closed) {
            fetched.snapshots_begun = self.open().await?;
        }
        fetched.generation = self.generation;
        if let Some((generation, position)) = reached
            && generation == self.generation
        {
            self.source.acknowledge(&position).await?;
        }
        let now = Instant::now();
        let looks = self.looked_at.is_none_or(|last| now.saturating_duration_since(last) >= config.look_every);
        if looks {
            let lag = self.source.lag().await;
            // Only now: a look that takes longer than it is to be apart from the next would else be made at each step.
            self.looked_at = Some(Instant::now());
            fetched.lag = Some(lag?);
        }
        if limit == 0 {
            return Ok(fetched);
        }
        if looks {
            let asked = self.state.asked_for(limit).await?;
            let replays = asked.into_iter().map(|letter| Change { position: None, ..letter.change });
            let items = self.begin(replays.collect(), not_seen(self.generation), &mut fetched).await?;
            fetched.items.extend(items.into_iter().map(|item| Item { replayed: true, ..item }));
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Reconciling { after, position, missing } => {
                let mut gone = self.state.unseen(self.generation, after.as_ref(), limit).await?;
                match gone.last().cloned() {
                    None => self.end(position, &mut fetched),
                    after => {
                        gone.retain(|record| !missing.contains(&record.table));
                        self.delete(gone, &mut fetched).await?;
                        self.phase = Phase::Reconciling { after, position, missing };
                    }
                }
            }
            Phase::Emptying { tables, after, position } => {
                self.empty(tables, after, position, limit, &mut fetched).await?;
            }
            _ => self.read(limit, &mut fetched).await?,
        }
        Ok(fetched)
    }

    /// How many snapshots were begun by it: none or one.
    async fn open(&mut self) -> Result<u64, Error> {
        let standing = self.state.standing().await?;
        self.generation = standing.generation;
        let after = self.after.clone().or(standing.position);
        if let Some(after) = after
            && self.source.resume(&after).await? == Resumed::Yes
        {
            self.after = Some(after);
            self.phase = Phase::Streaming;
            return Ok(0);
        }
        // First the position goes: a process that dies behind this line begins the snapshot again.
        let Standing { generation, .. } = self.state.begin_snapshot().await?;
        (self.generation, self.after) = (generation, None);
        self.source.begin_snapshot().await?;
        self.phase = Phase::Streaming;
        Ok(1)
    }

    async fn read(&mut self, limit: usize, fetched: &mut Fetched) -> Result<(), Error> {
        let batch = self.source.next(limit).await?;
        fetched.was_empty =
            batch.changes.is_empty() && batch.position.is_none() && !batch.snapshot_complete && !batch.held_back;
        let last = batch.changes.iter().rev().find_map(|change| change.position.clone());
        let items = self.begin(batch.changes, self.generation, fetched).await?;
        fetched.items.extend(items);
        if batch.snapshot_complete {
            self.after = last.or(self.after.take());
            self.phase = Phase::Reconciling { after: None, position: batch.position, missing: batch.missing };
        } else if !batch.emptied.is_empty() {
            self.after = last.clone().or(self.after.take());
            fetched.position = last;
            self.phase = Phase::Emptying { tables: batch.emptied, after: None, position: batch.position };
        } else {
            // Only now: what could not be begun is read again.
            self.after = batch.position.clone().or(last.clone()).or(self.after.take());
            fetched.position = batch.position.or(last);
            self.phase = Phase::Streaming;
        }
        Ok(())
    }

    /// Whether what a snapshot did not show is taken for gone. Before the first deletion of it, as after that there are fewer.
    async fn may_delete(&mut self, config: &CdcConfig) -> Result<(), Error> {
        let Phase::Reconciling { after: None, missing, .. } = &self.phase else { return Ok(()) };
        let shown = self.state.shown(self.generation).await?;
        for Shown { table, unseen, of } in shown.iter().filter(|shown| self.mappings.contains_key(&shown.table)) {
            if *unseen > 0 && missing.contains(table) {
                let problem = format!(
                    "there is no table {table}, and {unseen} of its records are at Nudj; none was deleted there. Is it the right \
                     database? If it is, take the table's mapping away"
                );
                return Err(Error::Local(problem.into()));
            }
            if *unseen > config.most_gone(*of) {
                let [gone, of] = [*unseen, *of].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
                return Err(Error::Local(format!("table {table}: {}", Error::TooManyGone { gone, of }).into()));
            }
        }
        Ok(())
    }

    /// What had to be deleted is; the stream goes on.
    fn end(&mut self, position: Option<Position>, fetched: &mut Fetched) {
        self.after = position.clone().or(self.after.take());
        fetched.position = position;
        self.phase = Phase::Streaming;
    }

    async fn empty(
        &mut self,
        mut tables: Vec<String>,
        after: Option<RecordKey>,
        position: Option<Position>,
        limit: usize,
        fetched: &mut Fetched,
    ) -> Result<(), Error> {
        let Some(table) = tables.last().cloned() else {
            self.end(position, fetched);
            return Ok(());
        };
        let from = after.unwrap_or_else(|| RecordKey { table: table.clone(), key: String::new() });
        // Of this generation and all before it: whatever was ever begun and is not gone.
        let mut gone = self.state.unseen(self.generation.saturating_add(1), Some(&from), limit).await?;
        gone.retain(|record| record.table == table);
        let after = gone.last().cloned();
        if gone.is_empty() {
            tables.pop();
        }
        self.delete(gone, fetched).await?;
        self.phase = Phase::Emptying { tables, after, position };
        Ok(())
    }

    async fn delete(&mut self, gone: Vec<RecordKey>, fetched: &mut Fetched) -> Result<(), Error> {
        let deletions = gone.into_iter().map(|record| Change {
            record,
            operation: Operation::Delete,
            old: None,
            new: None,
            position: None,
        });
        let items = self.begin(deletions.collect(), not_seen(self.generation), fetched).await?;
        fetched.items.extend(items);
        Ok(())
    }

    /// Leaves out what has no mapping, and notes the others before anything is sent for them.
    async fn begin(
        &mut self,
        changes: Vec<Change>,
        generation: i64,
        fetched: &mut Fetched,
    ) -> Result<Vec<Item>, Error> {
        let before = changes.len();
        let mapped: Vec<Change> =
            changes.into_iter().filter(|change| self.mappings.contains_key(&change.record.table)).collect();
        fetched.unmapped = fetched.unmapped.saturating_add((before - mapped.len()) as u64);
        if mapped.is_empty() {
            return Ok(Vec::new());
        }
        let beginnings: Vec<Beginning> = mapped.iter().map(|change| beginning(&self.mappings, change)).collect();
        let known = self.state.begin(&beginnings, generation).await?;
        for (change, known) in mapped.iter().zip(known) {
            self.ledger.note(&change.record, known);
        }
        Ok(mapped.into_iter().map(|change| Item { change, replayed: false }).collect())
    }
}

/// For what does not come from the source. Were it begun as seen, a process that dies before it is deleted at Nudj would leave it
/// there: the next one, at the same end of the snapshot, would not find it among the unseen.
fn not_seen(generation: i64) -> i64 {
    generation.saturating_sub(1)
}

pub(super) fn beginning(mappings: &Mappings, change: &Change) -> Beginning {
    let hint = mappings.get(&change.record.table).and_then(|mapping| mapping.hint(change));
    Beginning { record: change.record.clone(), hint }
}
