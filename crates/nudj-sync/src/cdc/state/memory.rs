use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Beginning, CdcState, DeadLetter, Known, Progress, Shown, Standing};
use crate::{Error, cdc::RecordKey};

/// State that ends with the process: for tests, and where a new snapshot at each start is right.
///
/// That is for users, who are found by their `externalUserId`. Challenges need a state that lasts: see
/// [`ChallengeMapping`](crate::cdc::ChallengeMapping).
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    standing: Standing,
    links: BTreeMap<RecordKey, Link>,
    letters: Vec<(DeadLetter, bool)>,
}

#[derive(Debug, Default)]
struct Link {
    remote_id: Option<String>,
    seen: i64,
    times: u32,
    hints: Vec<String>,
}

#[async_trait]
impl CdcState for MemoryState {
    async fn standing(&self) -> Result<Standing, Error> {
        Ok(self.0.lock().standing.clone())
    }

    async fn begin_snapshot(&self) -> Result<Standing, Error> {
        let standing = &mut self.0.lock().standing;
        *standing = Standing { position: None, generation: standing.generation.saturating_add(1) };
        Ok(standing.clone())
    }

    async fn begin(&self, records: &[Beginning], generation: i64) -> Result<Vec<Known>, Error> {
        let mut held = self.0.lock();
        let known = records.iter().map(|Beginning { record, hint }| {
            let buried = held.letters.iter().any(|(letter, _)| letter.change.record == *record);
            let begun = held.links.contains_key(record);
            let link = held.links.entry(record.clone()).or_default();
            link.seen = link.seen.max(generation);
            link.times = link.times.saturating_add(1);
            if link.remote_id.is_some() {
                link.hints.clear();
            } else if let Some(hint) = hint.as_ref().filter(|hint| !link.hints.contains(hint)) {
                link.hints.push(hint.clone());
            }
            let in_doubt = begun && link.remote_id.is_none();
            Known { in_doubt, remote_id: link.remote_id.clone(), hints: link.hints.clone(), buried }
        });
        Ok(known.collect())
    }

    async fn commit(&self, progress: &Progress) -> Result<(), Error> {
        let held = &mut *self.0.lock();
        for (record, remote_id) in &progress.links {
            match remote_id {
                Some(id) => held.links.entry(record.clone()).or_default().remote_id = Some(id.clone()),
                None => drop(held.links.remove(record)),
            }
        }
        held.letters.retain(|(letter, _)| !progress.healed.contains(&letter.change.record));
        for letter in &progress.buried {
            held.letters.retain(|(other, _)| other.id != letter.id);
            held.letters.push((letter.clone(), false));
        }
        if progress.position.is_some() && progress.generation == held.standing.generation {
            held.standing.position.clone_from(&progress.position);
        }
        Ok(())
    }

    async fn owner(&self, table: &str, remote_id: &str) -> Result<Option<String>, Error> {
        let held = self.0.lock();
        let mut links = held.links.iter();
        let owner = links.find(|(record, link)| record.table == table && link.remote_id.as_deref() == Some(remote_id));
        Ok(owner.map(|(record, _)| record.key.clone()))
    }

    async fn unseen(&self, generation: i64, after: Option<&RecordKey>, limit: usize) -> Result<Vec<RecordKey>, Error> {
        let held = self.0.lock();
        let unseen = held
            .links
            .iter()
            .filter(|(record, link)| link.seen < generation && after.is_none_or(|after| *record > after));
        Ok(unseen.map(|(record, _)| record.clone()).take(limit).collect())
    }

    async fn shown(&self, generation: i64) -> Result<Vec<Shown>, Error> {
        let mut tables = BTreeMap::<String, Shown>::new();
        for (record, link) in &self.0.lock().links {
            let is_unseen = link.seen < generation;
            if link.remote_id.is_some() && (is_unseen || link.times > 1) {
                let table = || Shown { table: record.table.clone(), unseen: 0, of: 0 };
                let shown = tables.entry(record.table.clone()).or_insert_with(table);
                shown.unseen += u64::from(is_unseen);
                shown.of += 1;
            }
        }
        Ok(tables.into_values().collect())
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.0.lock().letters.iter().map(|(letter, _)| letter.clone()).take(limit).collect())
    }

    async fn dead_letter_count(&self) -> Result<u64, Error> {
        Ok(self.0.lock().letters.len() as u64)
    }

    async fn replay(&self, id: &str) -> Result<bool, Error> {
        let mut held = self.0.lock();
        let found = held.letters.iter_mut().find(|(letter, _)| letter.id == id);
        Ok(found.map(|(_, asked)| *asked = true).is_some())
    }

    async fn discard(&self, id: &str) -> Result<bool, Error> {
        let mut held = self.0.lock();
        let before = held.letters.len();
        held.letters.retain(|(letter, _)| letter.id != id);
        Ok(held.letters.len() < before)
    }

    async fn asked_for(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let held = self.0.lock();
        Ok(held.letters.iter().filter(|(_, asked)| *asked).map(|(letter, _)| letter.clone()).take(limit).collect())
    }
}
