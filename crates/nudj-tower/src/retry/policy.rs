use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use fastrand::Rng;
use http::StatusCode;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::retry::Policy;

use super::{
    Keep, KeepHttp, Reservation, RetryBudget,
    backoff::{Backoff, Delays},
    decision::{Again, Rules, Situation, Stop, decide, fits, spread_asked},
};
use crate::{
    BoxError, CallContext,
    classify::{Classify, Http, Resend, error_kind},
    observe::{Event, Observers},
};

/// What decides for tower's [`Retry`](tower::retry::Retry) whether and when a request is sent again.
///
/// A clone serves one call: it shares the rules and the budget and has randomness of its own.
pub struct RetryPolicy<C = Http, K = KeepHttp> {
    shared: Arc<Shared<C, K>>,
    context: Option<CallContext>,
    /// Boxed, since the calls that need it are few and every call's future carries the policy.
    call: Option<Box<Call>>,
}

pub(super) struct Shared<C, K> {
    pub(super) rules: Rules,
    pub(super) backoff: Backoff,
    pub(super) classifier: C,
    pub(super) keep: K,
    pub(super) budget: Option<RetryBudget>,
    pub(super) observers: Observers,
    pub(super) seeds: Arc<Seeds>,
}

/// What one call knows once a repeat was wanted.
struct Call {
    rng: Rng,
    delays: Delays,
    repeats: u32,
    granted: Option<Granted>,
}

impl Call {
    fn new<C, K>(shared: &Shared<C, K>) -> Self {
        Self { rng: shared.seeds.next(), delays: shared.backoff.start(), repeats: 0, granted: None }
    }
}

/// The repeat that has been granted and not been sent.
struct Granted(Option<Reservation>);

/// Where calls get their randomness from: a new seed for each.
#[derive(Debug)]
pub(super) struct Seeds(AtomicU64);

impl Seeds {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Steps of an odd constant visit every number once; hashing them (splitmix64) makes neighbours unlike.
    fn next(&self) -> Rng {
        let mut seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Rng::with_seed(seed ^ (seed >> 31))
    }
}

impl<C, K> RetryPolicy<C, K> {
    pub(super) fn new(shared: Arc<Shared<C, K>>) -> Self {
        Self { shared, context: None, call: None }
    }

    /// Grants the repeat, or says why there is none.
    fn plan(&mut self, seen: &Situation, now: Instant) -> Result<Plan, Stop> {
        let shared = &*self.shared;
        let again = decide(&shared.rules, seen)?;
        let call = self.call.get_or_insert_with(|| Box::new(Call::new(shared)));
        let delay = match again {
            Again::Failover => Duration::ZERO,
            Again::Asked(wait) => spread_asked(wait, call.rng.f64(), seen.time_left),
            Again::Backoff => call.delays.next(&mut call.rng).ok_or(Stop::ScheduleEnded)?,
        };
        if !fits(delay, seen.time_left) {
            return Err(Stop::Deadline);
        }
        let reservation = match &shared.budget {
            Some(budget) => Some(budget.reserve(now).ok_or(Stop::Budget)?),
            None => None,
        };
        call.granted = Some(Granted(reservation));
        call.repeats = call.repeats.saturating_add(1);
        Ok(Plan { number: call.repeats, delay, failover: again == Again::Failover })
    }

    fn repeats(&self) -> u32 {
        self.call.as_ref().map_or(0, |call| call.repeats)
    }
}

struct Plan {
    number: u32,
    delay: Duration,
    failover: bool,
}

impl<C, K, Req, Res> Policy<Req, Res, BoxError> for RetryPolicy<C, K>
where
    C: Classify<Req, Res>,
    K: Keep<Req>,
{
    type Future = RetryWait;

    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, BoxError>) -> Option<RetryWait> {
        let classifier = &self.shared.classifier;
        let result = result.as_ref().map_err(|error| &**error as &(dyn Error + 'static));
        let status = result.ok().and_then(|response| classifier.status(response));
        if let (Some(context), Some(status)) = (&self.context, status) {
            context.set_last_status(status);
        }
        let verdict = classifier.classify(result);
        if verdict.resend == Resend::Never {
            return None;
        }
        let now = Instant::now();
        let context = self.context.as_ref();
        let deadline = context.and_then(CallContext::deadline);
        let seen = Situation {
            verdict,
            idempotent: classifier.is_idempotent(request),
            intact: self.shared.keep.is_intact(request),
            repeats: self.repeats(),
            elsewhere: context.is_some_and(|context| context.untried_endpoints() > 0),
            time_left: deadline.map(|deadline| deadline.saturating_duration_since(now)),
        };
        let reason = result.err().map(error_kind).or(status.as_ref().map(StatusCode::as_str));
        let plan = match self.plan(&seen, now) {
            Ok(plan) => plan,
            Err(stop) => {
                self.tell_stop(stop, reason);
                return None;
            }
        };
        if !self.shared.keep.claim(request) {
            // What was granted returns with this policy, which ends with the call.
            self.tell_stop(Stop::BodyGone, reason);
            return None;
        }
        self.tell_plan(&plan, reason);
        self.shared.keep.attach(request, self.context.get_or_insert_default());
        Some(RetryWait::new(plan.delay, now))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        match self.call.as_mut().and_then(|call| call.granted.take()) {
            // Called for a repeat, right before it is sent.
            Some(Granted(reservation)) => {
                if let Some(reservation) = reservation {
                    reservation.spend(Instant::now());
                }
                if let Some(context) = &self.context {
                    context.count_resend();
                }
            }
            // Called for a new call, on the policy that calls are cloned from.
            None => {
                self.context = self.shared.keep.context(request).cloned();
                if let Some(budget) = &self.shared.budget {
                    budget.count_call();
                }
            }
        }
        self.shared.keep.copy(request)
    }
}

impl<C, K> RetryPolicy<C, K> {
    fn tell_plan(&self, plan: &Plan, reason: Option<&str>) {
        self.shared.observers.tell(|| Event::Retried {
            number: plan.number,
            delay: plan.delay,
            failover: plan.failover,
        });
        let id = self.context.as_ref().and_then(CallContext::correlation_id);
        tracing::info!(
            correlation_id = id.as_ref().and_then(|id| id.to_str().ok()),
            endpoint = self.context.as_ref().and_then(CallContext::endpoint).as_deref(),
            attempt = plan.number,
            delay_ms = plan.delay.as_secs_f64() * 1e3,
            failover = plan.failover,
            reason,
            "sending again"
        );
    }

    fn tell_stop(&self, stop: Stop, reason: Option<&str>) {
        if stop == Stop::Budget {
            self.shared.observers.tell(|| Event::RetryBudgetExhausted);
        }
        let Some(stopped_by) = stop.name() else { return };
        let id = self.context.as_ref().and_then(CallContext::correlation_id);
        tracing::debug!(
            correlation_id = id.as_ref().and_then(|id| id.to_str().ok()),
            repeats = self.repeats(),
            reason,
            stopped_by,
            "not sent again"
        );
    }
}

impl<C, K> Clone for RetryPolicy<C, K> {
    /// Shares rules and budget. What was granted and drawn belongs to one call and is not cloned.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), context: self.context.clone(), call: None }
    }
}

impl<C, K> fmt::Debug for RetryPolicy<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("rules", &self.shared.rules).finish_non_exhaustive()
    }
}

pin_project! {
    /// The wait before a repeat.
    #[derive(Debug)]
    pub struct RetryWait {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl RetryWait {
    fn new(delay: Duration, now: Instant) -> Self {
        let sleep = (!delay.is_zero()).then(|| match now.checked_add(delay) {
            Some(end) => tokio::time::sleep_until(end),
            None => tokio::time::sleep(delay),
        });
        Self { sleep }
    }
}

impl Future for RetryWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = self.project().sleep.as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        Poll::Ready(())
    }
}
