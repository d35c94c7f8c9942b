//! Asking the origin, and what becomes of its answer.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use tokio::time::Instant;

use super::{
    body::{Carry, Passed, collect},
    directives::Directives,
    exchange::{Exchange, Landed, Stale},
    headers::{self, Confirmation, Traits},
    layer::State,
    origin::Origin,
    policy::{self, Freshness, Rules, is_failure},
    route,
    store::{Names, Received, Stored},
    stored::Answer,
};
use crate::{
    error::{BoxError, CacheError, SharedError},
    flight::Lead,
    level::AsOf,
};

/// A question to the origin, without the request's body.
struct Question {
    names: Names,
    headers: HeaderMap,
    traits: Traits,
    wishes: Directives,
    rules: Rules,
    /// The key of what the URI names, whichever of its answers was asked for.
    resource: Option<String>,
    tags: Vec<String>,
    as_of: AsOf,
}

impl Question {
    /// Without wishes and conditions of its own: the answer is the one that the next such request would get.
    fn is_ordinary(&self) -> bool {
        !self.wishes.present && !self.traits.conditional
    }
}

impl<S, C> Exchange<S, C> {
    /// Asks the origin, stores what may be stored, and tells those that wait for `lead`.
    pub(super) async fn ask<A>(
        self,
        mut request: Request<A>,
        names: Names,
        stale: Option<Stale>,
        lead: Option<Lead<Landed>>,
    ) -> Result<Response<C::Body>, BoxError>
    where
        S: Origin<A>,
        C: Carry<S::Body>,
    {
        let state = self.state;
        let headers = request.headers().clone();
        let (traits, wishes) = (Traits::of(&headers), Directives::read(&headers));
        let (rules, resource, tags) = state.rules(&request, traits);
        let question = Question { names, headers, traits, wishes, rules, resource, tags, as_of: AsOf::now() };
        let known = stale.as_ref().and_then(|stale| stale.stored.answer());
        // A caller with conditions of its own wants the answer to those.
        let confirming = !question.traits.conditional
            && known.is_some_and(|known| headers::ask_if_changed(request.headers_mut(), &known.headers));

        state.cache.counters().loads.one();
        let answer = self.inner.ask(request).await;

        let instead = |stored: &Stored, lead| {
            state.cache.counters().stale.one();
            land_stored(lead, stored, question.names.name(), question.as_of);
            let known = question.traits.conditional.then_some(&question.headers);
            stored.respond::<C, S::Body>(Instant::now(), false, known)
        };
        let (parts, body) = match (answer, &stale) {
            (Ok(answer), _) => answer.into_parts(),
            (Err(_), Some(Stale { stored, on_error: true })) => return Ok(instead(stored, lead)),
            (Err(error), _) => {
                let Some(lead) = lead.filter(Lead::is_shared) else { return Err(error) };
                let error = SharedError::new(error);
                lead.land(|| Landed::Error(error.clone()));
                return Err(error.into());
            }
        };
        match state.meaning(&question, stale.as_ref(), confirming, &parts) {
            Meaning::Instead(stored) => Ok(instead(stored, lead)),
            Meaning::Holds(known) => {
                let answer = state.confirm(&question, known, &parts, lead).await;
                Ok(answer.head(question.as_of.elapsed()).map(|()| C::whole(answer.body)))
            }
            // Good for those who asked; the next asks for the whole answer.
            Meaning::Unclear(stored) => {
                state.cache.delete(question.names.name()).await;
                land_stored(lead, stored, question.names.name(), question.as_of);
                Ok(stored.respond::<C, S::Body>(Instant::now(), false, None))
            }
            Meaning::Mismatch => {
                state.cache.delete(question.names.name()).await;
                Err(CacheError::ValidatorMismatch.into())
            }
            Meaning::Storable(freshness) => match collect(body, state.config.max_body_bytes).await {
                Ok(body) => {
                    let headers = headers::storable(&parts.headers);
                    let answer = Answer::new(parts.status, headers, body.clone(), freshness);
                    state.keep(&question, answer, lead).await;
                    Ok(Response::from_parts(parts, C::whole(body)))
                }
                Err(passed) => {
                    // One that was cut off says as little as none: what is stored stays.
                    if !passed.is_cut() {
                        state.drop_replaced(&question, stale.as_ref(), parts.status).await;
                    }
                    state.not_kept(&question, &parts, lead);
                    Ok(Response::from_parts(parts, C::passed(passed)))
                }
            },
            Meaning::Failure if lead.as_ref().is_some_and(Lead::is_shared) => {
                match collect(body, state.config.max_body_bytes).await {
                    Ok(body) => {
                        land(lead, &Landed::Failure(Arc::new((parts.clone(), body.clone()))));
                        Ok(Response::from_parts(parts, C::whole(body)))
                    }
                    Err(passed) => {
                        land(lead, &Landed::Private);
                        Ok(Response::from_parts(parts, C::passed(passed)))
                    }
                }
            }
            Meaning::Failure | Meaning::Passed => {
                state.drop_replaced(&question, stale.as_ref(), parts.status).await;
                state.not_kept(&question, &parts, lead);
                Ok(Response::from_parts(parts, C::passed(Passed::untouched(body))))
            }
        }
    }
}

/// What an answer of the origin means, before its body is read.
enum Meaning<'a> {
    /// It failed, and this stored answer is served.
    Instead(&'a Stored),
    /// The stored answer holds.
    Holds(&'a Answer),
    /// The stored answer holds for those who asked, and cannot be brought up to date.
    Unclear(&'a Stored),
    /// It confirms what is not stored.
    Mismatch,
    Storable(Freshness),
    /// It failed, and is as good for all who waited.
    Failure,
    /// For who asked alone.
    Passed,
}

impl State {
    /// What the configuration says for a request, the key of its resource, and the tags of its answer.
    fn rules<A>(&self, request: &Request<A>, traits: Traits) -> (Rules, Option<String>, Vec<String>) {
        let config = &self.config;
        let mut rules = Rules {
            ttl: None,
            override_origin: false,
            negative_ttl: config.negative_ttl,
            stale_while_revalidate: config.stale_while_revalidate,
            stale_if_error: config.stale_if_error,
            keep_for_revalidation: config.keep_for_revalidation,
        };
        let matched = self.route(request.uri().path());
        let route = matched.as_ref().map(|(route, values)| (*route, values));
        let resource = self.naming.resource(request, traits, route);
        let Some((route, values)) = matched else { return (rules, resource, Vec::new()) };
        rules.ttl = Some(route.rule.ttl).filter(|ttl| !ttl.is_zero());
        rules.override_origin = route.rule.override_origin;
        rules.negative_ttl = route.rule.negative_ttl.unwrap_or(rules.negative_ttl);
        let tags = route.rule.tags.iter().map(|template| route::tag(template, &values)).collect();
        (rules, resource, tags)
    }

    fn assess(&self, wishes: &Directives, rules: &Rules, status: StatusCode, headers: &HeaderMap) -> Option<Freshness> {
        policy::assess(&Method::GET, wishes, status, headers, rules, self.clock.now())
    }

    /// `confirming`: the origin was asked whether what is stored still holds.
    fn meaning<'a>(
        &self,
        question: &Question,
        stale: Option<&'a Stale>,
        confirming: bool,
        answer: &response::Parts,
    ) -> Meaning<'a> {
        if let Some(Stale { stored, on_error: true }) = stale
            && is_failure(answer.status)
        {
            return Meaning::Instead(stored);
        }
        if let Some(Stale { stored, .. }) = stale
            && confirming
            && answer.status == StatusCode::NOT_MODIFIED
            && let Some(known) = stored.answer()
        {
            return match headers::confirmation(&known.headers, &answer.headers) {
                Confirmation::Holds => Meaning::Holds(known),
                Confirmation::Unclear => Meaning::Unclear(stored),
                Confirmation::Other => Meaning::Mismatch,
            };
        }
        if let Some(freshness) = self.assess(&question.wishes, &question.rules, answer.status, &answer.headers) {
            return Meaning::Storable(freshness);
        }
        let is_shareable = answer.status.is_server_error() && !Directives::read(&answer.headers).no_store;
        if is_shareable { Meaning::Failure } else { Meaning::Passed }
    }

    /// The origin says that what is stored still holds.
    async fn confirm(
        &self,
        question: &Question,
        known: &Answer,
        confirmation: &response::Parts,
        lead: Option<Lead<Landed>>,
    ) -> Answer {
        self.cache.counters().revalidated.one();
        let headers = headers::updated(&known.headers, &confirmation.headers);
        let Some(freshness) = self.assess(&Directives::default(), &question.rules, known.status, &headers) else {
            // Confirmed, and not to be stored any longer.
            self.cache.delete(question.names.name()).await;
            land(lead, &Landed::Private);
            return Answer::new(known.status, headers, known.body.clone(), known.freshness.clone());
        };
        let answer = Answer::new(known.status, headers, known.body.clone(), freshness);
        if question.wishes.no_store {
            // Not for this request; what is stored for others stays as it is.
            land(lead, &Landed::Private);
        } else {
            self.keep(question, answer.clone(), lead).await;
        }
        answer
    }

    /// Stores an answer and gives it to those that wait.
    async fn keep(&self, question: &Question, answer: Answer, lead: Option<Lead<Landed>>) {
        self.uncacheable.invalidate(question.names.primary.as_str());
        let Question { names, headers, resource, tags, as_of, .. } = question;
        let resource = resource.as_deref();
        let received = Received { names, asked: headers, resource, tags, as_of: *as_of, answer };
        match self.store(received).await {
            Some((stored, name)) => land_stored(lead, &stored, &name, *as_of),
            None => land(lead, &Landed::Private),
        }
    }

    /// A whole answer that is not stored still says that the stored one is none any longer (RFC 9111, 4.3.3): else the
    /// stale one would be served to the end of its windows.
    async fn drop_replaced(&self, question: &Question, stale: Option<&Stale>, status: StatusCode) {
        // Those say that the origin cannot answer now; a 304 that was not asked for says nothing of what is stored.
        let says_nothing = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::NOT_MODIFIED);
        if stale.is_some() && question.is_ordinary() && !says_nothing {
            self.cache.delete(question.names.name()).await;
        }
    }

    /// Not stored. The next calls for it need not wait for each other.
    fn not_kept(&self, question: &Question, answer: &response::Parts, lead: Option<Lead<Landed>>) {
        if question.is_ordinary() && (answer.status.is_success() || answer.status.is_redirection()) {
            self.cache.counters().passed.one();
            self.remember_uncacheable(&question.names.primary);
        }
        land(lead, &Landed::Private);
    }
}

fn land(lead: Option<Lead<Landed>>, landed: &Landed) {
    if let Some(lead) = lead {
        lead.land(|| landed.clone());
    }
}

fn land_stored(lead: Option<Lead<Landed>>, stored: &Stored, name: &str, as_of: AsOf) {
    if let Some(lead) = lead {
        let name: Arc<str> = name.into();
        lead.land(|| Landed::Stored(stored.clone(), Arc::clone(&name), as_of));
    }
}
