use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{gate::Gate, refusal::Refusal};
use crate::{
    Availability, Available, BoxError, Rejection,
    classify::{Cause, Classify, Http, Outcome, parse_rate_limit, wall_clock},
    observe::{Event, Observers},
};

/// What a layer was given by its builder: whom it asks and whom it tells.
#[derive(Clone)]
pub(super) struct Rules<C> {
    pub(super) classifier: C,
    pub(super) observers: Observers,
    pub(super) endpoints: Option<Arc<dyn Available>>,
    pub(super) wall_clock: fn() -> SystemTime,
}

impl Rules<Http> {
    pub(super) fn new() -> Self {
        Self { classifier: Http::default(), observers: Observers::default(), endpoints: None, wall_clock }
    }
}

impl<C> Rules<C> {
    pub(super) fn classifier<D>(self, classifier: D) -> Rules<D> {
        let Self { observers, endpoints, wall_clock, .. } = self;
        Rules { classifier, observers, endpoints, wall_clock }
    }

    /// Whether there is somebody to send `request` to.
    pub(super) fn ask<Req, Res>(&self, request: Option<&Req>) -> Result<(), Rejection>
    where
        C: Classify<Req, Res>,
    {
        match self.endpoints.as_ref().map(|endpoints| endpoints.availability()) {
            Some(Availability::Unavailable { retry_after }) => {
                // The balancer is not asked, so this says in its place that a repeat would find no endpoint either.
                if let Some(context) = request.and_then(|request| self.classifier.context(request)) {
                    context.set_untried_endpoints(0);
                }
                Err(Rejection::CircuitOpen { endpoint: None, retry_after })
            }
            Some(Availability::Available) | None => Ok(()),
        }
    }

    pub(super) fn tell_refused(&self, refusal: &Refusal) {
        self.observers.tell(|| Event::LimiterRefused { queue_full: matches!(refusal, Refusal::Full { .. }) });
    }

    pub(super) fn tell_waited(&self, waited: Duration) {
        self.observers.tell(|| Event::LimiterWaited { waited });
    }

    /// Learns from how a call ended: a server that wants less is left alone for as long as it asks. Whether the call was sent; one that
    /// was not is to give its quota back.
    pub(super) fn learn<Req, Res>(&self, result: &Result<Res, BoxError>, gate: &Gate) -> bool
    where
        C: Classify<Req, Res>,
    {
        let result = result.as_ref().map_err(|error| {
            let error: &(dyn Error + 'static) = &**error;
            error
        });
        let was_sent = match result.map_err(Cause::of) {
            Err(Cause::Rejection(rejection)) => rejection.was_sent(),
            #[cfg(feature = "credentials")]
            Err(Cause::Credential(_)) => false,
            #[cfg(feature = "idempotency")]
            Err(Cause::Key(_)) => false,
            _ => true,
        };
        if !was_sent {
            return false;
        }
        let verdict = self.classifier.classify(result);
        let throttled = verdict.outcome == Outcome::Throttled;
        let told = result
            .ok()
            .and_then(|response| self.classifier.headers(response))
            .and_then(|headers| parse_rate_limit(headers, self.wall_clock))
            .filter(|limit| limit.remaining.map_or(throttled, |remaining| remaining == 0))
            .and_then(|limit| limit.reset);
        let asked = if throttled { verdict.retry_after } else { None };
        if let Some(pause) = asked.max(told) {
            let pause = gate.settings().cap(pause);
            if !pause.is_zero() && gate.pause(pause) {
                self.observers.tell(|| Event::LimiterPaused { pause });
            }
        }
        true
    }
}

impl<C> fmt::Debug for Rules<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("observers", &self.observers).finish_non_exhaustive()
    }
}
