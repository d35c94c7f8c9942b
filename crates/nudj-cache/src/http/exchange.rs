//! A read that the memory level could not answer at once: the shared levels, waiting for another's call, or leading.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, header, response};
use tokio::{runtime::Handle, time::timeout};

use super::{
    body::Carry,
    directives::Directives,
    headers::Traits,
    layer::State,
    origin::Origin,
    policy::{Verdict, is_failure},
    store::{Lookup, Names, Stored, not_cached},
};
use crate::{
    error::{BoxError, SharedError},
    flight::{Landing, Role},
    level::AsOf,
};

/// What those that waited are given.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// An answer, the key it was stored under, and when the origin was asked for it.
    Stored(Stored, Arc<str>, AsOf),
    /// An answer that says the origin failed.
    Failure(Arc<(response::Parts, Bytes)>),
    /// No answer.
    Error(SharedError),
    /// An answer for nobody else.
    Private,
}

/// One call on its way.
pub(super) struct Exchange<S, C> {
    pub(super) inner: S,
    pub(super) state: Arc<State>,
    carry: PhantomData<fn() -> C>,
}

/// A stored answer past its lifetime, and whether it may stand in for an error.
pub(super) struct Stale {
    pub(super) stored: Stored,
    pub(super) on_error: bool,
}

impl Stale {
    fn of(lookup: Option<(Stored, Verdict)>) -> Option<Self> {
        match lookup {
            Some((stored, Verdict::Stale { on_error })) => Some(Self { stored, on_error }),
            _ => None,
        }
    }
}

/// What an earlier look found, as far as the later one in memory does not know better: what was deleted in between is
/// neither served nor gone on with.
fn renewed(names: Names, stale: Option<Stale>, later: Lookup) -> (Names, Option<Stale>) {
    let struck = later.names.as_of.is_after_delete_since(names.as_of);
    let stale = Stale::of(later.found).or(stale.filter(|_| !struck));
    (names.or_later(later.names), stale)
}

impl<S, C> Exchange<S, C> {
    pub(super) fn new(inner: S, state: Arc<State>) -> Self {
        Self { inner, state, carry: PhantomData }
    }

    /// GET or HEAD that memory had no fresh answer for.
    pub(super) async fn read<A>(self, request: Request<A>, lookup: Lookup) -> Result<Response<C::Body>, BoxError>
    where
        S: Origin<A>,
        A: Send + 'static,
        C: Carry<S::Body>,
    {
        let state = Arc::clone(&self.state);
        let traits = Traits::of(request.headers());
        let wishes = Directives::read(request.headers());
        let head_only = request.method() == Method::HEAD;
        let uncacheable = state.is_uncacheable(&lookup.names.primary, lookup.now);
        let lookup = if lookup.found.is_none() && !uncacheable {
            state.in_shared(lookup.names, request.headers(), traits).await
        } else {
            lookup
        };
        if let Some(stored) = lookup.fresh() {
            return Ok(stored.respond::<C, S::Body>(
                lookup.now,
                head_only,
                traits.conditional.then_some(request.headers()),
            ));
        }
        if wishes.only_if_cached {
            return Ok(not_cached::<C, S::Body>());
        }
        if head_only {
            return self.pass(request).await;
        }
        let names = lookup.names;
        let stale = match lookup.found {
            Some((stored, Verdict::StaleWhileRevalidate)) => {
                state.cache.counters().stale.one();
                let response =
                    stored.respond::<C, S::Body>(lookup.now, false, traits.conditional.then_some(request.headers()));
                self.revalidate(request, names, stored);
                return Ok(response);
            }
            found => Stale::of(found),
        };
        // A request with wishes or conditions of its own gets an answer of its own.
        if uncacheable || wishes.present || traits.conditional {
            return self.ask(request, names, stale, None).await;
        }
        self.wait_or_lead(request, names, stale).await
    }

    /// Only for requests without wishes and conditions.
    async fn wait_or_lead<A>(
        self,
        request: Request<A>,
        mut names: Names,
        mut stale: Option<Stale>,
    ) -> Result<Response<C::Body>, BoxError>
    where
        S: Origin<A>,
        A: Send + 'static,
        C: Carry<S::Body>,
    {
        let state = Arc::clone(&self.state);
        let coalesced = || state.cache.counters().coalesced.one();
        let on_error = |names: Names, stale: Option<Stale>, again: Lookup| {
            let now = again.now;
            let (_, stale) = renewed(names, stale, again);
            let stored = stale.filter(|stale| stale.on_error)?.stored;
            state.cache.counters().stale.one();
            Some(stored.respond::<C, S::Body>(now, false, None))
        };
        // Twice: the first answer may show that there are variants, and then this request's variant has its own flight.
        for _ in 0..2 {
            let joined = AsOf::now();
            let landing = match state.flights.join(names.name()) {
                Role::Lead(lead) => Some(Landing::Lead(lead)),
                Role::Wait(wait) => wait.await,
            };
            let again = state.again_in_memory(names.primary.clone(), request.headers());
            let respond = |stored: &Stored| stored.respond::<C, S::Body>(again.now, false, None);
            match landing {
                Some(Landing::Lead(lead)) => {
                    // Somebody may have stored it between the miss and the lead.
                    if let Some(stored) = again.fresh() {
                        let landed = Landed::Stored(stored.clone(), again.names.name().into(), joined);
                        lead.land(|| landed.clone());
                        return Ok(respond(stored));
                    }
                    let (names, stale) = renewed(names, stale, again);
                    return self.ask(request, names, stale, Some(lead)).await;
                }
                Some(Landing::Answer(Landed::Stored(stored, name, as_of))) => {
                    // An answer the origin was asked for before a change that this call comes after is not its answer,
                    // unless it still counts in memory.
                    if *again.names.name() == *name && as_of.deletes >= joined.deletes {
                        coalesced();
                        return Ok(respond(&stored));
                    }
                    if let Some(stored) = again.fresh() {
                        coalesced();
                        return Ok(respond(stored));
                    }
                    names = again.names;
                    stale = Stale::of(again.found);
                }
                // Who led may have had nothing to fall back on, or no leave to: a revalidation in the background has none.
                Some(Landing::Answer(Landed::Failure(failure))) => {
                    coalesced();
                    let (parts, body) = (*failure).clone();
                    let instead = if is_failure(parts.status) { on_error(names, stale, again) } else { None };
                    return Ok(instead.unwrap_or_else(|| Response::from_parts(parts, C::whole(body))));
                }
                Some(Landing::Answer(Landed::Error(error))) => {
                    coalesced();
                    return on_error(names, stale, again).ok_or_else(|| error.into());
                }
                Some(Landing::Answer(Landed::Private)) | None => break,
            }
        }
        self.ask(request, names, stale, None).await
    }

    /// Asks the origin in the background, unless somebody does already.
    fn revalidate<A>(self, mut request: Request<A>, names: Names, stored: Stored)
    where
        S: Origin<A>,
        A: Send + 'static,
        C: Carry<S::Body>,
    {
        let state = Arc::clone(&self.state);
        let (Ok(runtime), Ok(permit)) = (Handle::try_current(), Arc::clone(&state.revalidations).try_acquire_owned())
        else {
            return;
        };
        let Some(lead) = state.flights.try_lead(names.name()) else { return };
        // The caller has its answer; what the origin is asked now is whether the stored one holds.
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
            request.headers_mut().remove(name);
        }
        let limit = state.config.revalidation_timeout;
        runtime.spawn(async move {
            let stale = Stale { stored, on_error: false };
            // Its failure is nobody's: the next caller finds the answer as stale as it was.
            let _ = timeout(limit, self.ask(request, names, Some(stale), Some(lead))).await;
            drop(permit);
        });
    }
}
