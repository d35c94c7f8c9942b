use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{CONFLICTS_KEPT, Conflict, Fields, Link, Side, State, Version};
use crate::{Error, SystemClock, WallClock, wall_clock::millis};

/// A side in memory, for tests and trials. Clones share it.
#[derive(Clone, Debug)]
pub struct MemorySide {
    records: Arc<Mutex<BTreeMap<String, Version>>>,
    clock: Arc<dyn WallClock>,
}

impl Default for MemorySide {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }
}

impl MemorySide {
    /// Stamps changes by this clock.
    pub fn with_clock(clock: Arc<dyn WallClock>) -> Self {
        Self { records: Arc::default(), clock }
    }

    /// The record.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Version> {
        self.records.lock().get(key).cloned()
    }

    /// Changes the record as a user of that side would, making it where there is none.
    pub fn edit(&self, key: &str, change: impl FnOnce(&mut Fields)) {
        let mut records = self.records.lock();
        let record = records.entry(key.to_owned()).or_default();
        change(&mut record.fields);
        record.fields.retain(|_, value| !value.is_empty());
        record.updated_at = Some(millis(&*self.clock));
    }

    /// Deletes the record as a user of that side would.
    pub fn remove(&self, key: &str) {
        self.records.lock().remove(key);
    }
}

#[async_trait]
impl Side for MemorySide {
    async fn read(&self, key: &str, _: Option<&str>) -> Result<Option<Version>, Error> {
        Ok(self.get(key))
    }

    async fn write(&self, key: &str, fields: &Fields, was: Option<&Version>) -> Result<Option<Version>, Error> {
        let updated_at = Some(millis(&*self.clock));
        let mut records = self.records.lock();
        if records.get(key) != was {
            return Ok(None);
        }
        let new = Version { fields: fields.clone(), updated_at, id: None };
        records.insert(key.to_owned(), new.clone());
        Ok(Some(new))
    }

    async fn delete(&self, key: &str, _: &Version) -> Result<(), Error> {
        self.remove(key);
        Ok(())
    }
}

/// Links and conflicts that end with the process: the next one meets each record for the first time. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    links: Arc<Mutex<BTreeMap<String, Link>>>,
    conflicts: Arc<Mutex<VecDeque<Conflict>>>,
}

#[async_trait]
impl State for MemoryState {
    async fn link(&self, key: &str) -> Result<Option<Link>, Error> {
        Ok(self.links.lock().get(key).cloned())
    }

    async fn save(&self, key: &str, link: &Link, conflict: Option<&Conflict>) -> Result<(), Error> {
        self.links.lock().insert(key.to_owned(), link.clone());
        let mut conflicts = self.conflicts.lock();
        conflicts.extend(conflict.cloned());
        while conflicts.len() > CONFLICTS_KEPT as usize {
            conflicts.pop_front();
        }
        Ok(())
    }

    async fn forget(&self, key: &str) -> Result<(), Error> {
        self.links.lock().remove(key);
        Ok(())
    }

    async fn keys(&self, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        let links = self.links.lock();
        let later = links.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        Ok(later.take(limit as usize).map(|(key, _)| key.clone()).collect())
    }

    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>, Error> {
        Ok(self.conflicts.lock().iter().rev().take(limit as usize).cloned().collect())
    }
}
