//! Dead letters: listed, replayed, discarded.

use std::collections::HashSet;

use async_nats::jetstream::stream::RawMessageErrorKind;

use super::bus::Shared;
use super::heads::{Head, Heads};
use super::wire::{Entry, decode_entry, event_id, failed};
use crate::Error;
use crate::event::{AfterDeadLetter, DeadLetter, Event};

impl Shared {
    /// Under `Hold` the first of a key is dead and the others wait for it.
    fn is_parked(&self, head: &Head, keys: &HashSet<String>) -> bool {
        self.config.after_dead_letter == AfterDeadLetter::Hold && keys.contains(&head.subject)
    }

    /// `None`: it is gone, or it is no entry, and hides no other.
    async fn entry(&self, number: u64) -> Result<Option<Entry>, Error> {
        match self.dead.get_raw_message(number).await {
            Ok(found) => {
                let entry = decode_entry(&found.payload);
                Ok(entry.inspect_err(|error| tracing::error!(number, %error, "no dead letter")).ok())
            }
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut heads = Heads::new(&self.dead).await?;
        let letters = self.first_letters(&mut heads, limit).await;
        heads.end().await;
        letters
    }

    async fn first_letters(&self, heads: &mut Heads<'_>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let (mut letters, mut keys) = (Vec::new(), HashSet::new());
        while letters.len() < limit
            && let Some(head) = heads.next().await?
        {
            if self.is_parked(&head, &keys) {
                continue;
            }
            let Some(entry) = self.entry(head.number).await? else { continue };
            keys.insert(head.subject);
            let again = || "it waited behind a dead letter and is being replayed, or failed when it was".to_owned();
            letters.push(DeadLetter {
                event: entry.event,
                attempts: entry.attempts,
                reason: entry.reason.unwrap_or_else(again),
            });
        }
        Ok(letters)
    }

    async fn find(&self, id: &str) -> Result<Option<(u64, Event)>, Error> {
        let mut heads = Heads::new(&self.dead).await?;
        let found = self.find_among(&mut heads, id).await;
        heads.end().await;
        found
    }

    async fn find_among(&self, heads: &mut Heads<'_>, id: &str) -> Result<Option<(u64, Event)>, Error> {
        let (mut keys, wanted) = (HashSet::new(), event_id(id));
        while let Some(head) = heads.next().await? {
            if self.is_parked(&head, &keys) {
                continue;
            }
            if head.id.is_none_or(|id| id == wanted) {
                let Some(entry) = self.entry(head.number).await? else { continue };
                if entry.event.id == id {
                    return Ok(Some((head.number, entry.event)));
                }
            }
            keys.insert(head.subject);
        }
        Ok(None)
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
}
