//! A cached value as the levels hold it, and its form on the wire.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::envelope::{self, Envelope};

/// What the payload of an entry is. An entry of another kind than asked for is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Bytes, as the caller gave them.
    Bytes,
    /// JSON of a typed value.
    Json,
    /// An HTTP response, or the list of headers its variants differ by.
    Http,
}

/// A value, its tags and its age. Cheap to clone.
///
/// Besides the payload an entry can carry the value in decoded form, so that the memory level hands out what it has
/// and parses nothing on a hit.
#[derive(Clone)]
pub struct Entry(Arc<Parts>);

struct Parts {
    kind: Kind,
    schema: u32,
    payload: Bytes,
    tags: Box<[Box<str>]>,
    age: Duration,
    read_at: Instant,
    decoded: Option<Arc<dyn Any + Send + Sync>>,
    decoded_weight: usize,
}

impl Entry {
    /// A value just made: its age is 0.
    ///
    /// `schema` is the version of the payload's format; a reader that expects another one sees a miss.
    #[must_use]
    pub fn new(kind: Kind, schema: u32, payload: Bytes, tags: &[String]) -> Self {
        Self::aged(kind, schema, payload, tags, Duration::ZERO)
    }

    /// A value that was made `age` ago.
    #[must_use]
    pub(crate) fn aged(kind: Kind, schema: u32, payload: Bytes, tags: &[String], age: Duration) -> Self {
        let tags = tags.iter().map(|tag| tag.as_str().into()).collect();
        Self(Arc::new(Parts {
            kind,
            schema,
            payload,
            tags,
            age,
            read_at: Instant::now(),
            decoded: None,
            decoded_weight: 0,
        }))
    }

    /// The same entry, carrying its decoded form, which takes about `weight` bytes of memory.
    #[must_use]
    pub(crate) fn with_decoded(self, decoded: Arc<dyn Any + Send + Sync>, weight: usize) -> Self {
        let Parts { kind, schema, ref payload, ref tags, age, read_at, .. } = *self.0;
        Self(Arc::new(Parts {
            kind,
            schema,
            payload: payload.clone(),
            tags: tags.clone(),
            age,
            read_at,
            decoded: Some(decoded),
            decoded_weight: weight,
        }))
    }

    /// What the payload is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The version of the payload's format.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.0.schema
    }

    /// The value's bytes.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.0.payload
    }

    /// The tags it can be invalidated by.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.tags.iter().map(AsRef::as_ref)
    }

    /// Time since the value was made, over all levels and processes it passed, by no machine's wall clock.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.0.age.saturating_add(now.saturating_duration_since(self.0.read_at))
    }

    /// The decoded form, where there is one and it is a `T`.
    pub(crate) fn decoded<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.decoded.as_ref()?).downcast().ok()
    }

    /// Bytes of memory this entry takes, near enough to bound a cache by.
    pub(crate) fn weight(&self) -> usize {
        // The Arc with its fields, and a Box per tag.
        const PARTS: usize = 160;
        const TAG: usize = 24;
        let tags: usize = self.0.tags.iter().map(|tag| tag.len().saturating_add(TAG)).sum();
        PARTS.saturating_add(self.0.payload.len()).saturating_add(tags).saturating_add(self.0.decoded_weight)
    }

    /// The bytes a level that keeps bytes stores, to be kept for `ttl`.
    #[must_use]
    pub fn to_bytes(&self, ttl: Duration) -> Bytes {
        envelope::write(&Envelope {
            kind: self.0.kind,
            schema: self.0.schema,
            age: self.age(Instant::now()),
            ttl,
            tags: &self.0.tags,
            payload: &self.0.payload,
        })
    }

    /// Reads what [`Entry::to_bytes`] wrote. `remaining` is the time the level will still keep it, by the level's own
    /// clock: the difference to the time it was to be kept is how long it lay there. `None` when it is not readable.
    #[must_use]
    pub fn from_bytes(bytes: &Bytes, remaining: Duration) -> Option<Self> {
        let read = envelope::read(bytes)?;
        let lay = read.ttl.saturating_sub(remaining);
        Some(Self(Arc::new(Parts {
            kind: read.kind,
            schema: read.schema,
            payload: read.payload,
            tags: read.tags,
            age: read.age.saturating_add(lay),
            read_at: Instant::now(),
            decoded: None,
            decoded_weight: 0,
        })))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the payload: it may hold a user's data.
        f.debug_struct("Entry")
            .field("kind", &self.0.kind)
            .field("schema", &self.0.schema)
            .field("bytes", &self.0.payload.len())
            .field("tags", &self.0.tags)
            .finish_non_exhaustive()
    }
}
