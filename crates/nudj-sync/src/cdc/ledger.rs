//! What is known of the records in the window, ahead of what is written.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    change::RecordKey,
    mapping::Applied,
    state::{CdcState, Known},
};
use crate::Error;

/// Shared by the tasks of one pipeline.
pub(super) struct Ledger {
    state: Arc<dyn CdcState>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    known: HashMap<RecordKey, Known>,
    /// Records that were unlinked since their next change was begun: it has to begin again.
    unlinked: HashSet<RecordKey>,
    /// Ids taken by records in the window, by table and id.
    owners: HashMap<(String, String), String>,
}

impl Held {
    fn learn(&mut self, record: &RecordKey, applied: &Applied) -> &mut Known {
        let known = self.known.entry(record.clone()).or_default();
        match applied {
            Applied::Linked(id) => {
                known.remote_id = Some(id.clone());
                known.in_doubt = false;
                self.owners.insert((record.table.clone(), id.clone()), record.key.clone());
            }
            Applied::Gone => {
                *known = Known { buried: known.buried, ..Known::default() };
                self.unlinked.insert(record.clone());
                self.owners.retain(|(table, _), key| *table != record.table || *key != record.key);
            }
            Applied::Nothing => {}
        }
        known
    }
}

impl Ledger {
    pub(super) fn new(state: Arc<dyn CdcState>) -> Self {
        Self { state, held: Mutex::default() }
    }

    /// What the state knows, where it is not behind.
    pub(super) fn note(&self, record: &RecordKey, known: Known) {
        let mut held = self.held.lock();
        match held.known.get_mut(record) {
            Some(ahead) => ahead.hints = known.hints,
            None => drop(held.known.insert(record.clone(), known)),
        }
    }

    /// True once after a record was unlinked.
    pub(super) fn must_begin_again(&self, record: &RecordKey) -> bool {
        self.held.lock().unlinked.remove(record)
    }

    pub(super) fn known(&self, record: &RecordKey) -> Known {
        self.held.lock().known.get(record).cloned().unwrap_or_default()
    }

    /// A call was sent and its outcome is not known.
    pub(super) fn doubt(&self, record: &RecordKey) {
        let mut held = self.held.lock();
        let known = held.known.entry(record.clone()).or_default();
        known.in_doubt = known.remote_id.is_none();
    }

    pub(super) fn bury(&self, record: &RecordKey) {
        self.held.lock().known.entry(record.clone()).or_default().buried = true;
    }

    /// What a change that got through makes known; true when dead letters of the record are out of date by it.
    pub(super) fn applied(&self, record: &RecordKey, applied: &Applied) -> bool {
        std::mem::take(&mut self.held.lock().learn(record, applied).buried)
    }

    /// What is known before the change got through: its record's dead letters stay.
    pub(super) fn learn(&self, record: &RecordKey, applied: &Applied) {
        self.held.lock().learn(record, applied);
    }

    pub(super) async fn claim(&self, record: &RecordKey, remote_id: &str) -> Result<bool, Error> {
        if let Some(owner) = self.state.owner(&record.table, remote_id).await? {
            return Ok(owner == record.key);
        }
        let mut held = self.held.lock();
        let owner = held.owners.entry((record.table.clone(), remote_id.to_owned()));
        Ok(*owner.or_insert_with(|| record.key.clone()) == record.key)
    }

    /// Everything is written: what is not in the window any more may go.
    pub(super) fn forget(&self, still_needed: impl Fn(&RecordKey) -> bool) {
        let held = &mut *self.held.lock();
        held.known.retain(|record, _| still_needed(record));
        held.unlinked.retain(&still_needed);
        let known = &held.known;
        held.owners.retain(|(table, _), key| known.contains_key(&RecordKey { table: table.clone(), key: key.clone() }));
    }
}
