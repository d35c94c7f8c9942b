//! What one call's retry knows and decides, and what it says about it.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    Keep, Reservation, RetryBudget,
    backoff::{Backoff, Delays},
    decision::{Again, Rules, Situation, Stop, decide, fits, spread_asked},
};
use crate::{
    BoxError, CallContext,
    classify::{Classify, Resend, Verdict, error_kind},
    observe::{Event, Observers},
};

/// Whether and when a request is sent again.
pub(super) struct Policy<C, K> {
    pub(super) rules: Rules,
    pub(super) backoff: Backoff,
    pub(super) classifier: C,
    pub(super) keep: K,
    pub(super) budget: Option<RetryBudget>,
    pub(super) observers: Observers,
    pub(super) seeds: Arc<Seeds>,
}

/// A request that can be sent again, and what its call knows.
pub(super) struct Kept<K> {
    request: K,
    /// Where what was kept does not carry it.
    context: Option<CallContext>,
    /// Boxed, since the calls that need it are few and every call's future has room for it.
    repeats: Option<Box<Repeats>>,
}

/// A repeat that was granted. Dropped before it is sent, it gives back what the budget had granted.
pub(super) struct Planned<Req> {
    request: Req,
    context: CallContext,
    repeats: Option<Box<Repeats>>,
    /// How long to wait before it is sent.
    pub(super) delay: Duration,
}

/// What one call knows once a repeat was wanted.
struct Repeats {
    rng: Rng,
    delays: Delays,
    count: u32,
    /// The budget's share of the repeat that is planned and not sent. Dropped, it returns.
    reserved: Option<Reservation>,
}

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

struct Plan {
    number: u32,
    delay: Duration,
    failover: bool,
}

impl<K> Kept<K> {
    fn context<'k, Req>(&'k self, keep: &impl Keep<Req, Kept = K>) -> Option<&'k CallContext> {
        self.context.as_ref().or_else(|| keep.context(&self.request))
    }
}

impl<C, K> Policy<C, K> {
    /// Counts a new call and keeps its request; `None` when that can only be sent once.
    #[inline]
    pub(super) fn begin<Req>(&self, request: &Req) -> Option<Kept<K::Kept>>
    where
        K: Keep<Req>,
    {
        if let Some(budget) = &self.budget {
            budget.count_call();
        }
        let kept = self.keep.keep(request)?;
        let context = if self.keep.context(&kept).is_none() { self.keep.carried(request).cloned() } else { None };
        Some(Kept { request: kept, context, repeats: None })
    }

    /// The repeat, if there is to be one; `None` when `result` stands.
    #[inline]
    pub(super) fn retry<Req, Res>(
        &self,
        kept: &mut Option<Kept<K::Kept>>,
        result: &Result<Res, BoxError>,
    ) -> Option<Planned<Req>>
    where
        C: Classify<Req, Res>,
        K: Keep<Req>,
    {
        let result = result.as_ref().map_err(|error| &**error as &(dyn Error + 'static));
        let status = result.ok().and_then(|response| self.classifier.status(response));
        if let Some(status) = status
            && let Some(context) = kept.as_ref()?.context(&self.keep)
        {
            context.set_last_status(status);
        }
        let verdict = self.classifier.classify(result);
        if verdict.resend == Resend::Never {
            return None;
        }
        let reason = result.err().map(error_kind).or(status.as_ref().map(StatusCode::as_str));
        self.again(kept.take()?, verdict, reason)
    }

    #[cold]
    fn again<Req, Res>(&self, kept: Kept<K::Kept>, verdict: Verdict, reason: Option<&str>) -> Option<Planned<Req>>
    where
        C: Classify<Req, Res>,
        K: Keep<Req>,
    {
        let now = Instant::now();
        let Kept { request, context, mut repeats } = kept;
        let context = context.or_else(|| self.keep.context(&request).cloned());
        let mut request = self.keep.restore(request);
        let context = self.keep.carried(&request).cloned().unwrap_or_else(|| {
            let context = context.unwrap_or_default();
            self.keep.attach(&mut request, &context);
            context
        });
        let seen = Situation {
            verdict,
            idempotent: self.classifier.is_idempotent(&request),
            intact: self.keep.is_intact(&request),
            repeats: count(repeats.as_deref()),
            elsewhere: context.untried_endpoints() > 0,
            time_left: context.deadline().map(|deadline| deadline.saturating_duration_since(now)),
        };
        let plan = self.plan(&mut repeats, &seen, now).and_then(|plan| {
            // From here on the one before cannot be sent on.
            if self.keep.claim(&request) { Ok(plan) } else { Err(Stop::BodyGone) }
        });
        match plan {
            Ok(plan) => {
                self.tell_plan(&context, &plan, reason);
                if verdict.resend == Resend::IfIdempotent {
                    context.set_in_doubt();
                }
                Some(Planned { request, context, repeats, delay: plan.delay })
            }
            Err(stop) => {
                self.tell_stop(&context, count(repeats.as_deref()), stop, reason);
                None
            }
        }
    }

    /// Grants the repeat, or says why there is none.
    fn plan(&self, repeats: &mut Option<Box<Repeats>>, seen: &Situation, now: Instant) -> Result<Plan, Stop> {
        let again = decide(&self.rules, seen)?;
        let repeats = repeats.get_or_insert_with(|| {
            Box::new(Repeats { rng: self.seeds.next(), delays: self.backoff.start(), count: 0, reserved: None })
        });
        let delay = match again {
            Again::Failover => Duration::ZERO,
            Again::Asked(wait) => spread_asked(wait, repeats.rng.f64(), seen.time_left),
            Again::Backoff => repeats.delays.next(&mut repeats.rng).ok_or(Stop::ScheduleEnded)?,
        };
        if !fits(delay, seen.time_left) {
            return Err(Stop::Deadline);
        }
        if let Some(budget) = &self.budget {
            repeats.reserved = Some(budget.reserve(now).ok_or(Stop::Budget)?);
        }
        repeats.count = repeats.count.saturating_add(1);
        Ok(Plan { number: repeats.count, delay, failover: again == Again::Failover })
    }

    /// The request of the repeat, to be sent now, and what is kept in its place.
    pub(super) fn resend<Req>(&self, planned: Planned<Req>) -> (Req, Option<Kept<K::Kept>>)
    where
        K: Keep<Req>,
    {
        let Planned { request, context, mut repeats, .. } = planned;
        if let Some(reserved) = repeats.as_mut().and_then(|repeats| repeats.reserved.take()) {
            reserved.spend(Instant::now());
        }
        context.count_resend();
        let next = self.keep.keep(&request).map(|kept| {
            let context = if self.keep.context(&kept).is_none() { Some(context) } else { None };
            Kept { request: kept, context, repeats }
        });
        (request, next)
    }

    fn tell_plan(&self, context: &CallContext, plan: &Plan, reason: Option<&str>) {
        self.observers.tell(|| Event::Retried { number: plan.number, delay: plan.delay, failover: plan.failover });
        let id = context.correlation_id();
        tracing::info!(
            correlation_id = id.as_ref().and_then(|id| id.to_str().ok()),
            endpoint = context.endpoint().as_deref(),
            attempt = plan.number,
            delay_ms = plan.delay.as_secs_f64() * 1e3,
            failover = plan.failover,
            reason,
            "sending again"
        );
    }

    fn tell_stop(&self, context: &CallContext, repeats: u32, stop: Stop, reason: Option<&str>) {
        if stop == Stop::Budget {
            self.observers.tell(|| Event::RetryBudgetExhausted);
        }
        let Some(stopped_by) = stop.name() else { return };
        let id = context.correlation_id();
        tracing::debug!(
            correlation_id = id.as_ref().and_then(|id| id.to_str().ok()),
            repeats,
            reason,
            stopped_by,
            "not sent again"
        );
    }
}

fn count(repeats: Option<&Repeats>) -> u32 {
    repeats.map_or(0, |repeats| repeats.count)
}

impl<C, K> fmt::Debug for Policy<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules).finish_non_exhaustive()
    }
}
