//! Typed values, as JSON in the shared levels and as they are in memory.

use std::{any::Any, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    cache::{Anything, Loaded, MultiLevelCache},
    read::Format,
};
use crate::{
    entry::{Entry, Kind},
    error::CacheError,
    flight::{Landing, Lead, Role},
    key,
    level::AsOf,
};

/// How often a call waits for others before it loads on its own. A value that landed may be too old for it, and deletes
/// that go on and on must not keep it waiting.
const ROUNDS: usize = 3;

/// How a value is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetOptions {
    /// Longest time any level keeps it. `None`: each level's own TTL.
    pub ttl: Option<Duration>,
    /// Tags it can be invalidated by; at most 64 count.
    pub tags: Vec<String>,
}

impl SetOptions {
    /// Kept no longer than this.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// With this tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

/// Tags as the levels take them.
pub(crate) fn normal_tags(tags: &[String]) -> Vec<String> {
    tags.iter().take(key::MAX_TAGS).map(|tag| key::normal(tag).into_owned()).collect()
}

impl MultiLevelCache {
    /// The value under `key`, if a level has one that reads as a `T`.
    pub async fn get<T: DeserializeOwned + Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        self.lookup(&key::normal(key), &self.json()).await.map(|(value, _)| value)
    }

    /// Stores a value in all levels. A level that is down is passed over.
    ///
    /// # Errors
    /// [`CacheError::Encode`] when the value does not serialize; nothing was stored.
    pub async fn set<T>(&self, key: &str, value: T, options: &SetOptions) -> Result<Arc<T>, CacheError>
    where
        T: Serialize + Any + Send + Sync,
    {
        let value = Arc::new(value);
        self.store(key, &value, options, None).await?;
        Ok(value)
    }

    /// The value under `key`, or what `load` brings, stored.
    ///
    /// Of all callers in this process that miss the key at once one loads; the others sleep and get its value or its
    /// error. When the loading caller is dropped, one of those that wait loads instead. Those that come after a delete
    /// do not take a value read before it; of them, too, one loads.
    ///
    /// # Errors
    /// What `load` returned, shared by all who waited for it. Errors are not stored: the next call loads again.
    pub async fn get_or_load<T, E, F, Fut>(&self, key: &str, options: &SetOptions, load: F) -> Result<Arc<T>, Arc<E>>
    where
        T: Serialize + DeserializeOwned + Any + Send + Sync,
        E: Any + Send + Sync,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let name = key::normal(key);
        if let Some((value, _)) = self.lookup(&name, &self.json()).await {
            return Ok(value);
        }
        let mut joined = AsOf::now();
        let mut lead = None;
        for _ in 0..ROUNDS {
            joined = AsOf::now();
            let landing = match self.0.flights.join(&name) {
                Role::Lead(lead) => Some(Landing::Lead(lead)),
                Role::Wait(wait) => wait.await,
            };
            let (as_of, loaded) = match landing {
                Some(Landing::Answer(answer)) => answer,
                Some(Landing::Lead(given)) => {
                    lead = Some(given);
                    break;
                }
                None => break,
            };
            // What was read before a delete that this call comes after is not its answer, unless it still counts in
            // memory: the delete may have been of something else. An error is no value that a delete could end.
            if loaded.is_err() || as_of.deletes >= joined.deletes {
                // What was loaded as another type is no answer: this call is then on its own.
                let Some(result) = downcast(loaded) else { break };
                self.0.counters.coalesced.one();
                return result;
            }
            if let Some(value) = self.in_memory(&name) {
                self.0.counters.coalesced.one();
                return Ok(value);
            }
            // Those that came too late for it wait for one of them again, or each would load.
        }
        // Somebody may have stored it between the miss and the lead.
        if let Some(value) = self.in_memory::<T>(&name) {
            land(lead, || (joined, Ok(Arc::clone(&value) as _)));
            return Ok(value);
        }
        let as_of = AsOf::now();
        self.0.counters.loads.one();
        match load().await {
            Ok(value) => {
                let value = Arc::new(value);
                // A value that does not serialize is still this call's answer.
                if let Err(error) = self.store(key, &value, options, Some(as_of)).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "loaded value not cached");
                }
                land(lead, || (as_of, Ok(Arc::clone(&value) as _)));
                Ok(value)
            }
            Err(error) => {
                let error = Arc::new(error);
                land(lead, || (as_of, Err(Arc::clone(&error) as _)));
                Err(error)
            }
        }
    }

    /// The bytes under `key`, stored by [`set_bytes`](Self::set_bytes).
    pub async fn get_bytes(&self, key: &str) -> Option<Bytes> {
        let decode = |payload: &Bytes| Some((payload.clone(), 0));
        let format = Format { kind: Kind::Bytes, schema: self.0.config.schema_version, decode };
        self.lookup(&key::normal(key), &format).await.map(|(value, _)| Bytes::clone(&value))
    }

    /// Stores bytes in all levels.
    pub async fn set_bytes(&self, key: &str, value: Bytes, options: &SetOptions) {
        let tags = normal_tags(&options.tags);
        let entry = Entry::new(Kind::Bytes, self.0.config.schema_version, value.clone(), &tags);
        let entry = entry.with_decoded(Arc::new(value), 0);
        self.write_through(&key::normal(key), &entry, options.ttl, None).await;
        self.tell_repaired().await;
    }

    /// The value as memory has it, for a call that has looked before: it is not counted again.
    fn in_memory<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        self.0.memory.lookup(name).and_then(|found| found.entry.decoded())
    }

    fn json<T: DeserializeOwned>(&self) -> Format<impl Fn(&Bytes) -> Option<(T, usize)> + use<T>> {
        let decode = |payload: &Bytes| {
            let value = serde_json::from_slice(payload).ok()?;
            // The value's own size is not known; JSON's length is a fair guess.
            Some((value, payload.len()))
        };
        Format { kind: Kind::Json, schema: self.0.config.schema_version, decode }
    }

    async fn store<T>(
        &self,
        key: &str,
        value: &Arc<T>,
        options: &SetOptions,
        as_of: Option<AsOf>,
    ) -> Result<(), CacheError>
    where
        T: Serialize + Any + Send + Sync,
    {
        let payload = serde_json::to_vec(&**value).map_err(|source| CacheError::Encode { key: key.into(), source })?;
        let weight = payload.len();
        let tags = normal_tags(&options.tags);
        let entry = Entry::new(Kind::Json, self.0.config.schema_version, payload.into(), &tags);
        let entry = entry.with_decoded(Arc::clone(value) as _, weight);
        self.write_through(&key::normal(key), &entry, options.ttl, as_of).await;
        self.tell_repaired().await;
        Ok(())
    }
}

fn land(lead: Option<Lead<Loaded>>, answer: impl FnMut() -> Loaded) {
    if let Some(lead) = lead {
        lead.land(answer);
    }
}

fn downcast<T, E>(loaded: Result<Anything, Anything>) -> Option<Result<Arc<T>, Arc<E>>>
where
    T: Any + Send + Sync,
    E: Any + Send + Sync,
{
    match loaded {
        Ok(value) => value.downcast().ok().map(Ok),
        Err(error) => error.downcast().ok().map(Err),
    }
}
