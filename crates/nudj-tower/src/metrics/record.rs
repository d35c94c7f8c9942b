//! What is said about one call, at its start and at its end.

use std::{error::Error, time::Duration};

use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use tracing::{Level, debug, enabled, info};

use crate::{
    CallContext,
    classify::{Cause, Outcome, error_kind},
    observe::{Event, Observers, method_name},
};

/// Whether anybody wants to know; nothing is recorded and no clock is read otherwise.
#[inline]
pub(super) fn is_heard(observers: &Observers) -> bool {
    observers.is_on() || enabled!(Level::INFO)
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Record {
    context: CallContext,
    method: Option<&'static str>,
    start: Instant,
    /// Whether the observer was on at the start: only then does it learn of the end.
    told: bool,
    /// Whether it wants to know of the attempts.
    traced: bool,
}

/// How a call ended.
pub(super) struct End<'a> {
    outcome: Option<Outcome>,
    status: Option<StatusCode>,
    kind: Option<&'a str>,
    message: Option<String>,
}

impl<'a> End<'a> {
    pub(super) fn of(
        outcome: Outcome,
        status: Option<&'a StatusCode>,
        error: Option<&'a (dyn Error + 'static)>,
    ) -> Self {
        let failed = status.filter(|status| status.as_u16() >= 400);
        Self {
            outcome: Some(outcome),
            status: status.copied(),
            kind: error.map(error_kind).or(failed.map(StatusCode::as_str)),
            message: error.filter(|_| enabled!(Level::INFO)).and_then(own_words),
        }
    }

    /// The caller gave up.
    pub(super) fn dropped() -> Self {
        Self { outcome: None, status: None, kind: None, message: None }
    }
}

impl Record {
    pub(super) fn begin(observers: &Observers, context: CallContext, method: Option<&Method>) -> Self {
        let (method, told, mut traced) = (method.map(method_name), observers.is_on(), false);
        if told {
            observers.tell(|| Event::CallStarted { context: &context });
            traced = observers.traces(&context);
            if traced {
                context.keep_attempts();
            } else {
                context.set_untraced_by(observers.id());
            }
        }
        if enabled!(Level::DEBUG) {
            let route = context.route();
            debug!(
                correlation_id = context.correlation_id().as_ref().and_then(text),
                operation = route.map(|route| route.operation),
                http.request.method = method,
                url.template = route.map(|route| route.template),
                "call started"
            );
        }
        Self { context, method, start: Instant::now(), told, traced }
    }

    pub(super) fn end(&self, observers: &Observers, end: &End<'_>) {
        let (context, now) = (&self.context, Instant::now());
        let duration = now.saturating_duration_since(self.start);
        if self.told {
            let attempts = self.traced.then(|| context.take_attempts());
            context.set_untraced_by(0);
            observers.tell(|| Event::CallEnded {
                context,
                method: self.method,
                outcome: end.outcome,
                status: end.status.map(|status| status.as_u16()),
                error: end.kind,
                duration,
                at: now,
                attempts: attempts.as_deref(),
            });
        }
        if enabled!(Level::INFO) {
            self.log(end, duration);
        }
    }

    fn log(&self, end: &End<'_>, duration: Duration) {
        macro_rules! line {
            ($level:ident, $message:literal $(, $extra:tt)*) => {{
                let context = &self.context;
                let route = context.route();
                $level!(
                    correlation_id = context.correlation_id().as_ref().and_then(text),
                    trace_id = context.trace().map(|trace| tracing::field::display(Hex(trace.trace_id.get()))),
                    operation = route.map(|route| route.operation),
                    http.request.method = self.method,
                    url.template = route.map(|route| route.template),
                    http.response.status_code = end.status.map(|status| status.as_u16()),
                    outcome = end.outcome.map(outcome_name),
                    error.r#type = end.kind,
                    error = end.message.as_deref(),
                    duration_ms = duration.as_secs_f64() * 1e3,
                    // Of none it is not known whether nothing was sent or nobody counts.
                    attempts = Some(context.tries()).filter(|tries| *tries > 0),
                    endpoint = context.endpoint().as_deref(),
                    $message
                )
            }};
        }
        match end {
            End { outcome: None, .. } => line!(debug, "call dropped"),
            End { kind: None, .. } => line!(info, "call completed"),
            End { kind: Some(_), .. } => line!(info, "call failed"),
        }
    }
}

/// The error in our own words, where it is ours: those are known to hold no body, token or URL. Others' words are left out.
fn own_words(error: &(dyn Error + 'static)) -> Option<String> {
    match Cause::of(error) {
        Cause::Rejection(rejection) => Some(rejection.to_string()),
        Cause::Transport(error) => Some(error.to_string()),
        #[cfg(feature = "credentials")]
        Cause::Credential(error) => Some(error.to_string()),
        #[cfg(feature = "idempotency")]
        Cause::Key(error) => Some(error.to_string()),
        Cause::Refused(_) | Cause::Other => None,
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

struct Hex(u128);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
        Outcome::Throttled => "throttled",
        Outcome::Ignored => "ignored",
    }
}
