//! Finding stored answers and storing new ones.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::time::Instant;

use super::{
    body::Carry,
    directives::Directives,
    headers::{self, Traits},
    key,
    layer::State,
    policy::{self, Verdict},
    stored::{Answer, Cached, SCHEMA, Variants},
};
use crate::{
    entry::{Entry, Kind},
    level::AsOf,
    multi::{Format, normal_tags},
};

/// A stored answer, and how old it is.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    answer: Arc<Cached>,
    entry: Entry,
}

impl Stored {
    fn new(answer: Arc<Cached>, entry: Entry) -> Option<Self> {
        matches!(*answer, Cached::Answer(_)).then_some(Self { answer, entry })
    }

    /// `None` never happens: `new` checked it.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match &*self.answer {
            Cached::Answer(answer) => Some(answer),
            Cached::Variants(_) => None,
        }
    }

    /// The answer for a caller: only the head for HEAD, 304 for one that has this version already (`known`: the headers
    /// of a request with conditions).
    pub(super) fn respond<C: Carry<B>, B>(
        &self,
        now: Instant,
        head_only: bool,
        known: Option<&HeaderMap>,
    ) -> Response<C::Body> {
        let Some(answer) = self.answer() else {
            return Response::new(C::whole(Bytes::new()));
        };
        let mut response = answer.head(self.entry.age(now));
        if answer.status == StatusCode::OK && known.is_some_and(|known| headers::not_modified(known, &answer.headers)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_LENGTH);
            return response.map(|()| C::whole(Bytes::new()));
        }
        response.map(|()| C::whole(if head_only { Bytes::new() } else { answer.body.clone() }))
    }
}

/// The keys a request leads to.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) primary: String,
    /// What the answers are known to differ by.
    variants: Option<Variants>,
    /// The key of the variant that the request selects, where there are variants.
    variant: Option<String>,
    /// When this was looked up.
    pub(super) as_of: AsOf,
}

impl Names {
    fn plain(primary: String, as_of: AsOf) -> Self {
        Self { primary, variants: None, variant: None, as_of }
    }

    fn varied(primary: String, variants: Variants, request: &HeaderMap, as_of: AsOf) -> Self {
        let variant = key::variant(&primary, variants.generation, headers::selecting(request, &variants.names));
        Self { primary, variants: Some(variants), variant: Some(variant), as_of }
    }

    /// These or the later ones, which memory alone gave: it need not hold what another level knew, but where something
    /// was deleted in between only the later ones count.
    pub(super) fn or_later(self, later: Self) -> Self {
        if later.variants.is_none() && !later.as_of.is_after_delete_since(self.as_of) { self } else { later }
    }

    /// The key of the answer.
    pub(super) fn name(&self) -> &str {
        self.variant.as_ref().unwrap_or(&self.primary)
    }
}

/// What was found for a request.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) names: Names,
    pub(super) found: Option<(Stored, Verdict)>,
    pub(super) now: Instant,
}

impl Lookup {
    /// An answer that may be served at once.
    pub(super) fn fresh(&self) -> Option<&Stored> {
        match &self.found {
            Some((stored, Verdict::Fresh)) => Some(stored),
            _ => None,
        }
    }
}

/// An answer to be stored.
pub(super) struct Received<'a> {
    pub(super) names: &'a Names,
    /// The request's headers.
    pub(super) asked: &'a HeaderMap,
    /// The key of the resource, of which this is one answer.
    pub(super) resource: Option<&'a str>,
    pub(super) tags: &'a [String],
    pub(super) as_of: AsOf,
    pub(super) answer: Answer,
}

/// Reads a payload, and says what it takes in memory.
type Decode = fn(&Bytes) -> Option<(Cached, usize)>;

const FORMAT: Format<Decode> = Format {
    kind: Kind::Http,
    schema: SCHEMA,
    decode: |payload| {
        let cached = Cached::from_bytes(payload)?;
        let weight = cached.weight();
        Some((cached, weight))
    },
};

impl State {
    /// Looks in the memory level only, without waiting.
    pub(super) fn in_memory(&self, primary: String, request: &HeaderMap, traits: Traits) -> Lookup {
        let lookup = self.found_in_memory(primary, request, traits);
        // Once for a call: the list of what the answers differ by is not one of them.
        self.cache.count_in_memory(lookup.found.is_some());
        lookup
    }

    /// The same for a call that has looked before: it is not counted again.
    pub(super) fn again_in_memory(&self, primary: String, request: &HeaderMap) -> Lookup {
        self.found_in_memory(primary, request, Traits::default())
    }

    fn found_in_memory(&self, primary: String, request: &HeaderMap, traits: Traits) -> Lookup {
        let as_of = AsOf::now();
        let get = |name: &str| self.kept_in_memory(name, as_of.at);
        let (names, found) = match get(&primary) {
            None => (Names::plain(primary, as_of), None),
            Some((cached, entry)) => match &*cached {
                Cached::Answer(_) => (Names::plain(primary, as_of), Stored::new(cached, entry)),
                Cached::Variants(variants) => {
                    let names = Names::varied(primary, variants.clone(), request, as_of);
                    let found = get(names.name()).and_then(|(cached, entry)| Stored::new(cached, entry));
                    (names, found)
                }
            },
        };
        self.judged(names, found, request, traits, as_of.at)
    }

    fn kept_in_memory(&self, name: &str, now: Instant) -> Option<(Arc<Cached>, Entry)> {
        let entry = self.cache.memory().lookup_at(name, now)?.entry;
        Some((entry.decoded::<Cached>()?, entry))
    }

    /// Looks in the shared levels for what memory did not have.
    pub(super) async fn in_shared(&self, names: Names, request: &HeaderMap, traits: Traits) -> Lookup {
        let mut names = names;
        let first = self.cache.find_shared(names.name(), &FORMAT).await;
        let found = if let Some((_, cached, _)) = &first
            && let Cached::Variants(variants) = &**cached
        {
            names = Names::varied(names.primary, variants.clone(), request, names.as_of);
            match self.kept_in_memory(names.name(), Instant::now()) {
                Some(kept) => {
                    self.cache.count_in_memory(true);
                    Some(kept)
                }
                None => self.cache.lookup_shared(names.name(), &FORMAT).await,
            }
        } else {
            self.cache.count_in_shared(first.as_ref().map(|(level, ..)| *level));
            first.map(|(_, cached, entry)| (cached, entry))
        };
        let stored = found.and_then(|(cached, entry)| Stored::new(cached, entry));
        self.judged(names, stored, request, traits, Instant::now())
    }

    fn judged(
        &self,
        names: Names,
        stored: Option<Stored>,
        request: &HeaderMap,
        traits: Traits,
        now: Instant,
    ) -> Lookup {
        let found = stored.and_then(|stored| {
            let answer = stored.answer()?;
            let wishes = if traits.directives { Directives::read(request) } else { Directives::default() };
            let kept = (answer.status, &answer.headers);
            let age = stored.entry.age(now);
            let verdict = policy::judge(&wishes, &answer.freshness, kept, age, || self.clock.now());
            Some((stored, verdict))
        });
        Lookup { names, found, now }
    }

    /// Stores an answer. Also returns the key it lies under.
    pub(super) async fn store(&self, received: Received<'_>) -> Option<(Stored, String)> {
        let Received { names, asked, resource, tags, as_of, answer } = received;
        // An answer under another key than its resource's has that as a tag: by it a change finds them all.
        let tags = |name: &str| -> Vec<String> {
            let resource = resource.filter(|resource| *resource != name).map(str::to_owned);
            resource.into_iter().chain(tags.iter().cloned()).collect()
        };
        let keep = answer.freshness.keep;
        let vary = headers::vary_names(&answer.headers);
        let names = if vary.is_empty() {
            Names::plain(names.primary.clone(), names.as_of)
        } else {
            let known = names.variants.clone().filter(|variants| *variants.names == vary);
            let variants = known.unwrap_or_else(|| Variants { generation: fastrand::u64(..), names: vary.into() });
            let list = Cached::Variants(variants.clone());
            // As old as what it was made from: the generation it goes on with may have ended since.
            self.write(&names.primary, list, &tags(&names.primary), None, names.as_of).await;
            Names::varied(names.primary.clone(), variants, asked, names.as_of)
        };
        let tags = tags(names.name());
        let stored = self.write(names.name(), Cached::Answer(answer), &tags, Some(keep), as_of).await?;
        Some((stored, names.variant.unwrap_or(names.primary)))
    }

    async fn write(
        &self,
        name: &str,
        cached: Cached,
        tags: &[String],
        ttl: Option<Duration>,
        as_of: AsOf,
    ) -> Option<Stored> {
        let payload = cached.to_bytes();
        // Read back, so that body and headers are slices of the payload: else memory would hold them twice.
        let cached = Arc::new(Cached::from_bytes(&payload)?);
        // As old as the question: it may have been made as soon as the origin was asked (RFC 9111, 4.2.3).
        let entry = Entry::aged(Kind::Http, SCHEMA, payload, &normal_tags(tags), as_of.elapsed());
        let entry = entry.with_decoded(Arc::clone(&cached) as _, cached.weight());
        self.cache.write_through(name, &entry, ttl, Some(as_of)).await;
        Stored::new(cached, entry)
    }
}

/// The answer to `only-if-cached` when there is none (RFC 9111, 5.2.1.7).
pub(super) fn not_cached<C: Carry<B>, B>() -> Response<C::Body> {
    let mut response = Response::new(C::whole(Bytes::new()));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}
