//! What the messages of a stream come to: changes, their places, tables that were emptied. No clock, no network.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

use super::{
    decode::{Cell, Malformed, Message, Old, Relation},
    place::Place,
    table::{Tables, prints},
    value::{kind, value},
};
use crate::cdc::{
    change::{Change, Operation, Position, RecordKey, Row, key_text},
    source::Batch,
};

/// The stream cannot be followed from here on; a snapshot can make up for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a row of a table that was not described")]
    Unknown,
    #[error("a row of table {0} without the primary key that it had; was the key changed?")]
    Keyless(String),
    #[error("more tables or types were described than a stream may have")]
    Crowded,
}

#[derive(Debug, PartialEq)]
enum Entry {
    /// With the columns that were not told.
    Change(Change, Vec<String>),
    Emptied(Vec<String>, Position),
    /// All before is reached with this place.
    Mark(Position),
}

/// A change whose row lacks what was not told.
#[derive(Debug, PartialEq)]
pub(super) struct Gap {
    /// Its index in the batch.
    pub(super) at: usize,
    pub(super) columns: Vec<String>,
}

#[derive(Debug)]
struct Described {
    relation: Relation,
    /// The columns of the primary key; `None` where it is not known which they are.
    key: Option<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Assembler {
    tables: Arc<Tables>,
    /// Of the tables, for each place.
    prints: String,
    relations: HashMap<u32, Described>,
    /// Types that are made of one of PostgreSQL's own, and which. A snapshot is told the latter.
    domains: HashMap<u32, u32>,
    /// Behind the last whole transaction.
    after: u64,
    /// The one that is being told: its commit, and how many of its changes were told.
    within: Option<(u64, u64)>,
    /// Of the transaction with this commit so many are done already.
    skip: Option<(u64, u64)>,
    /// The last place given out.
    marked: u64,
    ready: VecDeque<Entry>,
}

impl Assembler {
    pub(super) fn new(tables: Arc<Tables>, at: Place) -> Self {
        Self {
            prints: prints(&tables),
            tables,
            relations: HashMap::new(),
            domains: HashMap::new(),
            after: at.after,
            within: None,
            skip: at.within,
            marked: at.after,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn is_ready(&self, limit: usize) -> bool {
        self.ready.len() >= limit || matches!(self.ready.back(), Some(Entry::Emptied(..)))
    }

    /// Between transactions the server has come to here.
    pub(super) fn passed(&mut self, upto: u64) {
        if self.within.is_none() {
            self.after = self.after.max(upto);
            // Writing a place down writes to the log: not for every little thing that is none of ours.
            if self.after.saturating_sub(self.marked) >= QUIET_STEP {
                self.mark();
            }
        }
    }

    pub(super) fn take(&mut self, message: Message<'_>) -> Result<(), Broken> {
        match message {
            Message::Begin { commit } => self.within = Some((commit, 0)),
            Message::Commit { end } => {
                let had_changes = self.within.take().is_some_and(|(_, told)| told > 0);
                self.skip = None;
                self.after = self.after.max(end);
                if had_changes {
                    self.mark();
                } else {
                    self.passed(end);
                }
            }
            Message::Relation(relation) => self.describe(relation)?,
            Message::Type { id, schema, name } => {
                if self.domains.len() >= MAX_RELATIONS {
                    return Err(Broken::Crowded);
                }
                match kind(&name).filter(|_| schema.is_empty()) {
                    Some(own) => self.domains.insert(id, own),
                    None => self.domains.remove(&id),
                };
            }
            Message::Insert { relation, new } => {
                let row = self.row(relation, &new, None)?;
                self.push(relation, Operation::Insert, None, Some(row))?;
            }
            Message::Update { relation, old, new } => self.update(relation, old.as_ref(), &new)?,
            Message::Delete { relation, old } => {
                let old = self.old(relation, &old)?;
                self.push(relation, Operation::Delete, Some(old), None)?;
            }
            Message::Truncate { relations } => {
                let names: Vec<String> = relations.iter().map(|relation| self.name(*relation)).collect();
                if let Some(position) = self.step() {
                    self.ready.push_back(Entry::Emptied(names, position));
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// At most `limit` changes of what is ready.
    pub(super) fn give(&mut self, limit: usize) -> (Batch, Vec<Gap>) {
        let (mut batch, mut gaps) = (Batch::default(), Vec::new());
        while let Some(entry) = self.ready.pop_front() {
            match entry {
                Entry::Change(change, gap) => {
                    if batch.changes.len() >= limit {
                        self.ready.push_front(Entry::Change(change, gap));
                        break;
                    }
                    if !gap.is_empty() {
                        gaps.push(Gap { at: batch.changes.len(), columns: gap });
                    }
                    batch.changes.push(change);
                    batch.position = None;
                }
                Entry::Emptied(names, position) => {
                    batch.position = Some(position);
                    batch.emptied = names;
                    break;
                }
                Entry::Mark(position) => batch.position = Some(position),
            }
        }
        (batch, gaps)
    }

    fn describe(&mut self, mut relation: Relation) -> Result<(), Broken> {
        if self.relations.len() >= MAX_RELATIONS && !self.relations.contains_key(&relation.id) {
            return Err(Broken::Crowded);
        }
        let key = match self.tables.get(&relation.id) {
            Some(table) => table.key_in(&relation),
            // It is not asked for, and has the key that the stream knows.
            None => {
                Some(relation.columns.iter().filter(|column| column.is_key).map(|column| column.name.clone()).collect())
            }
        };
        for column in &mut relation.columns {
            column.kind = self.domains.get(&column.kind).copied().unwrap_or(column.kind);
        }
        self.relations.insert(relation.id, Described { relation, key });
        Ok(())
    }

    fn mark(&mut self) {
        self.marked = self.after;
        self.ready.push_back(Entry::Mark(Place::between(self.after).position(&self.prints)));
    }

    /// The place behind the next change of this transaction; `None` where it was done before.
    fn step(&mut self) -> Option<Position> {
        let (commit, told) = self.within.as_mut()?;
        *told = told.saturating_add(1);
        let (commit, told) = (*commit, *told);
        let is_done = self.skip.is_some_and(|(other, done)| other == commit && told <= done);
        (!is_done).then(|| Place { after: self.after, within: Some((commit, told)) }.position(&self.prints))
    }

    fn update(&mut self, relation: u32, old: Option<&Old<'_>>, new: &[Cell<'_>]) -> Result<(), Broken> {
        let before = old.map(|old| self.old(relation, old)).transpose()?;
        let row = self.row(relation, new, before.as_ref())?;
        let is_moved = match &before {
            Some(before) => self.key(relation, before)? != self.key(relation, &row)?,
            None => false,
        };
        if is_moved {
            self.push(relation, Operation::Delete, before, None)?;
            return self.push(relation, Operation::Insert, None, Some(row));
        }
        // Of a key alone there is nothing to learn.
        let before = before.filter(|_| matches!(old, Some(Old::Full(_))));
        self.push(relation, Operation::Update, before, Some(row))
    }

    fn push(&mut self, id: u32, operation: Operation, old: Option<Row>, new: Option<Row>) -> Result<(), Broken> {
        let row = new.as_ref().or(old.as_ref()).ok_or(Broken::Unknown)?;
        let key = self.key(id, row)?;
        let Some(position) = self.step() else { return Ok(()) };
        let columns = self.relation(id)?.columns.as_slice();
        let gap = match &new {
            Some(new) => {
                columns.iter().map(|column| &column.name).filter(|name| !new.contains_key(*name)).cloned().collect()
            }
            None => Vec::new(),
        };
        let record = RecordKey { table: self.name(id), key };
        self.ready.push_back(Entry::Change(Change { record, operation, old, new, position: Some(position) }, gap));
        Ok(())
    }

    fn name(&self, id: u32) -> String {
        if let Some(table) = self.tables.get(&id) {
            return table.name.clone();
        }
        self.relation(id).map(|relation| format!("{}.{}", relation.schema, relation.name)).unwrap_or_default()
    }

    fn relation(&self, id: u32) -> Result<&Relation, Broken> {
        self.relations.get(&id).map(|described| &described.relation).ok_or(Broken::Unknown)
    }

    fn key(&self, id: u32, row: &Row) -> Result<String, Broken> {
        let described = self.relations.get(&id).ok_or(Broken::Unknown)?;
        let values: Option<Vec<Value>> =
            described.key.as_ref().and_then(|key| key.iter().map(|name| row.get(name).cloned()).collect());
        match values {
            Some(values) if !values.is_empty() && !values.contains(&Value::Null) => Ok(key_text(&values)),
            // It is not asked for.
            _ if !self.tables.contains_key(&id) => Ok(String::new()),
            _ => Err(Broken::Keyless(self.name(id))),
        }
    }

    fn old(&self, id: u32, old: &Old<'_>) -> Result<Row, Broken> {
        match old {
            Old::Full(cells) => self.row(id, cells, None),
            Old::Key(cells) => {
                let relation = self.relation(id)?;
                let mut row = self.row(id, cells, None)?;
                row.retain(|name, _| relation.columns.iter().any(|column| column.is_key && column.name == *name));
                Ok(row)
            }
        }
    }

    fn row(&self, id: u32, cells: &[Cell<'_>], before: Option<&Row>) -> Result<Row, Broken> {
        let relation = self.relation(id)?;
        if cells.len() != relation.columns.len() {
            return Err(Malformed("a row has not the columns of its table").into());
        }
        let mut row = Row::new();
        for (column, cell) in relation.columns.iter().zip(cells) {
            let told = match cell {
                Cell::Null => Some(Value::Null),
                Cell::Text(text) => Some(value(column.kind, text)),
                Cell::Unchanged => before.and_then(|before| before.get(&column.name).cloned()),
            };
            if let Some(told) = told {
                row.insert(column.name.clone(), told);
            }
        }
        Ok(row)
    }
}

/// So much log of others passes before a place is given out for it.
const QUIET_STEP: u64 = 1024 * 1024;
const MAX_RELATIONS: usize = 10_000;

#[cfg(test)]
mod tests;
