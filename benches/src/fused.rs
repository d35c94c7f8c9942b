//! The floor of a stack: what its layers do for a call that goes well, in one function.
//!
//! The ingredients are there: ids and `traceparent` in one buffer, the credential, a context to read afterwards, the copy for a retry and
//! its budget, quota, a turn among the endpoints and their counts, the circuit, the attempt's timer, what the answer means and what it says of
//! limits. What a call needs that does not go well is kept at hand and not done: it answers with the error, and a call that is dropped tells
//! nobody. Nor is there a list of endpoints that changes, a look whether any of them would take the call, an observer or a span; and no layer can be
//! put in, taken out or replaced.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use nudj_tower::{
    BoxError, CallContext, LimitedBy, Rejection, SpanId, TraceContext,
    circuit_breaker::{Breaker, CircuitBreakerConfig, Permit, Tick},
    classify::{Outcome, parse_rate_limit},
    correlation::CORRELATION_ID,
    rate_limit::{RateLimitHandle, RateLimitLayer},
    retry::{BudgetConfig, RetryBudget},
    timeout::{AttemptTimeout, AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::{Body, free_quota};

/// All in one, around `S`.
#[derive(Clone, Debug)]
pub struct Fused<S> {
    inner: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    quota: RateLimitHandle,
    budget: RetryBudget,
    breaker: Breaker,
    epoch: Instant,
    endpoint: Arc<str>,
    endpoints: usize,
    turn: AtomicUsize,
    started: AtomicU64,
    ended: AtomicU64,
    /// The header and the credential of the whole stack; the five layers have none, nor a deadline or timer.
    whole: Option<(HeaderName, HeaderValue)>,
}

const TOTAL: Duration = Duration::from_secs(30);
const ATTEMPT: Duration = Duration::from_secs(10);
const UUID: usize = 36;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl<S> Fused<S> {
    /// # Errors
    /// When a part refuses its configuration.
    pub fn new(inner: S) -> Result<Fused<AttemptTimeout<S>>, BoxError> {
        let token = (HeaderName::from_static("x-api-token"), HeaderValue::from_static("token"));
        // The one part that stays a layer: what its time is offered to, our transport, keeps it without a timer.
        let timed = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: ATTEMPT })?.one_task();
        Fused::of(timed.layer(inner), Some(token))
    }

    /// What correlation, retry, rate limit, round robin and circuit breaker do, and no more.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn five(inner: S) -> Result<Self, BoxError> {
        Self::of(inner, None)
    }

    fn of(inner: S, whole: Option<(HeaderName, HeaderValue)>) -> Result<Self, BoxError> {
        let shared = Shared {
            quota: RateLimitLayer::new(&free_quota())?.handle(),
            budget: RetryBudget::new(BudgetConfig::default())?,
            breaker: Breaker::new(&CircuitBreakerConfig::default(), 1)?,
            epoch: Instant::now(),
            endpoint: Arc::from("http://127.0.0.1"),
            endpoints: 1,
            turn: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            whole,
        };
        Ok(Self { inner, shared: Arc::new(shared) })
    }
}

impl<S> Service<Request<Body>> for Fused<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (shared, now) = (Arc::clone(&self.shared), Instant::now());
        let context = CallContext::new();
        if shared.whole.is_some() {
            context.limit_deadline(now + TOTAL);
        }
        dress(&mut request, &context);
        let copy = Copy::of(&request);
        if let Some((name, token)) = &shared.whole {
            request.headers_mut().insert(name, token.clone());
        }
        shared.budget.count_call();
        if !shared.quota.try_acquire() {
            return Box::pin(async {
                Err(Rejection::RateLimited { by: LimitedBy::MaxWait, retry_after: None }.into())
            });
        }
        let place = shared.turn.fetch_add(1, Relaxed) % shared.endpoints;
        let Ok(permit) = shared.breaker.admit(|| shared.tick(now)).permit else {
            return Box::pin(async { Err(Rejection::CircuitOpen { endpoint: None, retry_after: None }.into()) });
        };
        shared.started.fetch_add(1, Relaxed);
        context.record_try(place as u64, &shared.endpoint, 0);
        let inner = self.inner.call(request);
        Box::pin(Called { inner, permit, _copy: copy, context, shared })
    }
}

impl Shared {
    fn tick(&self, at: Instant) -> Tick {
        Tick::default().after(at.saturating_duration_since(self.epoch))
    }
}

#[expect(clippy::disallowed_methods, reason = "the ids' and the resets' time of day, as in the layers")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Makes the ids, and writes them into the request and the context.
fn dress(request: &mut Request<Body>, context: &CallContext) {
    let mut rng = fastrand::Rng::new();
    let trace = TraceContext::start(&mut rng);
    let first = SpanId::random(&mut rng);
    let mut both = [0; UUID + 55];
    let millis = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut ten = [0; 10];
    ten.copy_from_slice(&rng.u128(..).to_ne_bytes()[..10]);
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), &ten).into_uuid();
    id.hyphenated().encode_lower(&mut both[..UUID]);
    both[UUID..].copy_from_slice(&trace.traceparent(first));
    let mut both = Bytes::from_owner(both);
    let traceparent = both.split_off(UUID);
    if let (Ok(id), Ok(traceparent)) =
        (HeaderValue::from_maybe_shared(both), HeaderValue::from_maybe_shared(traceparent))
    {
        request.headers_mut().insert(CORRELATION_ID, id.clone());
        request.headers_mut().insert(TRACEPARENT, traceparent);
        context.set_ids(id, trace);
    }
}

/// What a repeat would be made of.
struct Copy {
    _method: Method,
    _uri: Uri,
    _headers: Vec<(HeaderName, HeaderValue)>,
    _body: Body,
}

impl Copy {
    fn of(request: &Request<Body>) -> Self {
        Self {
            _method: request.method().clone(),
            _uri: request.uri().clone(),
            _headers: request.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            _body: request.body().clone(),
        }
    }
}

pin_project_lite::pin_project! {
    struct Called<F> {
        #[pin]
        inner: F,
        permit: Permit,
        _copy: Copy,
        context: CallContext,
        shared: Arc<Shared>,
    }
}

impl<F> Future for Called<F>
where
    F: Future<Output = Result<Response<Body>, BoxError>>,
{
    type Output = Result<Response<Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let failed = result.as_ref().map_or(true, |answer| answer.status().is_server_error());
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        this.shared.ended.fetch_add(1, Relaxed);
        this.shared.breaker.settle(*this.permit, outcome.into(), || this.shared.tick(Instant::now()));
        if let Ok(answer) = &result {
            this.context.set_last_status(answer.status());
            let limit = parse_rate_limit(answer.headers(), wall_clock).filter(|limit| limit.remaining == Some(0));
            if let Some(reset) = limit.and_then(|limit| limit.reset) {
                this.shared.quota.pause(reset);
            }
        }
        Poll::Ready(result)
    }
}
