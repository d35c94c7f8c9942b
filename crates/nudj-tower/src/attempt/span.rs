//! What is kept of an attempt while it runs, for `tracing` and for who collects traces.

use http::{Response, StatusCode};
use tokio::time::Instant;
use tracing::{Span, field::Empty};

use super::headers;
use crate::{
    CallContext, HttpRequest, SpanId,
    observe::{Event, Observers, TracedAttempt, Went, method_name},
    semconv::{self, Side},
};

/// An attempt's span. Dropped without an end it says that the attempt was cancelled.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    /// Disabled once the attempt has ended.
    span: Span,
    traced: Option<Traced>,
}

/// What is kept for who traces.
#[derive(Debug)]
pub(super) struct Traced {
    context: CallContext,
    /// Told where no call's end is.
    observers: Observers,
    id: SpanId,
    resends: u32,
    method: &'static str,
    /// How many tries there were at the beginning.
    tries: u32,
    start: Instant,
}

impl AttemptSpan {
    /// `None` where nobody watches. On the heap, since the futures around it are moved, and most attempts have none.
    #[inline]
    pub(super) fn begin(request: &impl HttpRequest, resends: u32, traced: Option<Traced>) -> Option<Box<Self>> {
        let span = span(request, resends);
        if span.is_disabled() && traced.is_none() { None } else { Some(Box::new(Self { span, traced })) }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn end<T, E: 'static>(mut self, result: &Result<Response<T>, E>) {
        semconv::record(&self.span, Side::Client, result);
        self.span = Span::none();
        if let Some(traced) = self.traced.take() {
            match result {
                Ok(answer) => traced.end(Some(answer.status()), None),
                Err(error) => traced.end(None, Some(semconv::kind(error))),
            }
        }
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        // One that has ended has neither.
        self.span.record("error.type", "cancelled");
        if let Some(traced) = self.traced.take() {
            traced.end(None, Some("cancelled"));
        }
    }
}

impl Traced {
    pub(super) fn begin(
        request: &impl HttpRequest,
        context: CallContext,
        id: SpanId,
        resends: u32,
        observers: &Observers,
    ) -> Self {
        let (observers, method, tries) = (observers.clone(), method_name(request.method()), context.tries());
        Self { context, observers, id, resends, method, tries, start: Instant::now() }
    }

    fn end(self, status: Option<StatusCode>, error: Option<&'static str>) {
        let Self { context, observers, id, resends, method, tries, start } = self;
        let (status, went, end) = (status.map(|status| status.as_u16()), Went::Nowhere, Instant::now());
        let attempt = TracedAttempt { id, resends, method, status, error, went, start, end };
        if let Err(attempt) = context.keep_attempt(attempt, tries) {
            observers.tell(|| Event::AttemptTraced { context: &context, attempt: &attempt });
        }
    }
}

/// Costs a few nanoseconds while nobody listens: the fields are made on demand.
fn span(request: &impl HttpRequest, resends: u32) -> Span {
    let template = || request.context()?.route().map(|route| route.template);
    tracing::info_span!(
        "http_attempt",
        otel.name = %semconv::name(request.method(), template()),
        otel.kind = "client",
        http.request.method = semconv::method_name(request.method()),
        url.template = template(),
        server.address = request.uri().host(),
        server.port = request.uri().port_u16(),
        http.request.resend_count = (resends > 0).then_some(resends),
        http.response.status_code = Empty,
        error.r#type = Empty,
        span_id = headers::span_id(request.headers()),
    )
}
