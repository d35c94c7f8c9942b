//! Dead letters: listed, replayed, discarded.

use std::collections::HashSet;

use async_nats::jetstream::stream::RawMessageErrorKind;

use super::bus::Shared;
use super::wire::{Entry, decode_entry, encode, failed, partition, subject};
use crate::Error;
use crate::event::{AfterDeadLetter, DeadLetter, Event};

impl Shared {
    /// Reads the entries from the first one on until `wanted` has an answer.
    async fn look_through<T>(
        &self,
        mut wanted: impl FnMut(u64, Entry) -> Option<T> + Send,
    ) -> Result<Option<T>, Error> {
        let every = format!("{}_dead.*", self.config.name);
        let mut from = 1;
        loop {
            match self.dead.get_first_raw_message_by_subject(&every, from).await {
                Ok(found) => {
                    // One that is no entry hides no other.
                    match decode_entry(&found.payload) {
                        Ok(entry) => {
                            if let Some(answer) = wanted(found.sequence, entry) {
                                return Ok(Some(answer));
                            }
                        }
                        Err(error) => tracing::error!(number = found.sequence, %error, "no dead letter"),
                    }
                    from = found.sequence.saturating_add(1);
                }
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => return Ok(None),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn is_dead(&self, entry: &Entry, keys: &mut HashSet<String>) -> bool {
        // Under `Hold` the first of a key is dead and the others wait for it.
        self.config.after_dead_letter == AfterDeadLetter::Pass || keys.insert(entry.event.key.clone())
    }

    pub(super) async fn letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let (mut letters, mut keys) = (Vec::new(), HashSet::new());
        if limit == 0 {
            return Ok(letters);
        }
        let full = self.look_through(|_, entry| {
            if self.is_dead(&entry, &mut keys) {
                let again = || "it waited behind a dead letter and is being replayed, or failed when it was".to_owned();
                letters.push(DeadLetter {
                    event: entry.event,
                    attempts: entry.attempts,
                    reason: entry.reason.unwrap_or_else(again),
                });
            }
            (letters.len() >= limit).then_some(())
        });
        full.await?;
        Ok(letters)
    }

    async fn find(&self, id: &str) -> Result<Option<(u64, Event)>, Error> {
        let mut keys = HashSet::new();
        let found = self.look_through(|number, entry| {
            (self.is_dead(&entry, &mut keys) && entry.event.id == id).then_some((number, entry.event))
        });
        found.await
    }

    pub(super) async fn replay(&self, id: &str) -> Result<bool, Error> {
        let Some((number, event)) = self.find(id).await? else { return Ok(false) };
        // Its entry stays until the copy is done: what comes meanwhile is put behind it, and nothing is lost in between.
        self.send_copy(number, &event).await?;
        Ok(true)
    }

    pub(super) async fn discard(&self, id: &str) -> Result<bool, Error> {
        let Some((number, event)) = self.find(id).await? else { return Ok(false) };
        self.entry_done(&event.key, number).await?;
        Ok(true)
    }

    /// Sends the copy of the next of the key that waits, and takes this entry away. In this order: after a crash in between a copy is sent
    /// twice, and the second finds its entry gone.
    pub(super) async fn entry_done(&self, key: &str, number: u64) -> Result<(), Error> {
        let next = self.first_entry(key, number.saturating_add(1)).await?;
        let holds = self.config.after_dead_letter == AfterDeadLetter::Hold;
        let nobody_waited = next.is_none();
        if let Some((next, body)) = next.filter(|_| holds) {
            self.send_copy(next, &decode_entry(&body)?.event).await?;
        }
        if let Err(error) = self.dead.delete_message(number).await {
            let is_gone = self.first_entry(key, number).await?.is_none_or(|(first, _)| first != number);
            if !is_gone {
                return Err(failed(error));
            }
        }
        // One may have been put behind it meanwhile, by a claim that found it still there.
        match self.first_entry(key, number).await? {
            Some((next, body)) if holds && nobody_waited => self.send_copy(next, &decode_entry(&body)?.event).await,
            _ => Ok(()),
        }
    }

    /// The other side of that: an event was put behind a dead letter that is gone by now.
    pub(super) async fn release_if_first(&self, event: &Event) -> Result<(), Error> {
        match self.first_entry(&event.key, 1).await? {
            Some((number, body)) if decode_entry(&body)?.event.id == event.id => self.send_copy(number, event).await,
            _ => Ok(()),
        }
    }

    async fn send_copy(&self, number: u64, event: &Event) -> Result<(), Error> {
        let place = subject(&self.config.name, partition(&event.key, self.config.partitions));
        self.send(place, None, Some(number), encode(event)?).await.map(drop)
    }
}
