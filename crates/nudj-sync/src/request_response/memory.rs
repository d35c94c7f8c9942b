use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use async_trait::async_trait;
use nudj_client::model::NewUser;
use parking_lot::Mutex;

use super::{Entry, Journal, Step, journal::no_record};
use crate::Error;

const WHAT: &str = "request-response journal";

/// A journal that ends with the process: for tests, and where a lost record is found otherwise. It holds only what is under way. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn begin(&self, id: &str, user: &NewUser) -> Result<Option<Entry>, Error> {
        let mut entries = self.entries.lock();
        if let Some(known) = entries.get(id) {
            return Ok(Some(known.clone()));
        }
        entries.insert(id.to_owned(), Entry { id: id.to_owned(), user: user.clone(), step: Step::Begun });
        Ok(None)
    }

    async fn get(&self, id: &str) -> Result<Option<Entry>, Error> {
        Ok(self.entries.lock().get(id).cloned())
    }

    async fn reached(&self, id: &str, step: &Step) -> Result<(), Error> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(id).ok_or_else(|| no_record(WHAT, id))?;
        entry.step = step.clone();
        Ok(())
    }

    async fn finished(&self, id: &str) -> Result<(), Error> {
        self.entries.lock().remove(id);
        Ok(())
    }

    async fn unfinished(&self, after: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        let entries = self.entries.lock();
        let later = entries.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        Ok(later.take(limit as usize).map(|(_, entry)| entry.clone()).collect())
    }
}
