//! What is kept of an attempt while it runs, for `tracing` and for who collects traces.

use http::{Response, StatusCode};
use tokio::time::Instant;
use tracing::{Span, field::Empty};

use super::headers;
use crate::{
    CallContext, HttpRequest, SpanId,
    observe::{AttemptId, EndedSpan, Event, Observers, method_name},
    semconv::{self, Side},
};

/// An attempt's span. Dropped without an end it says that the attempt was cancelled.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    /// Disabled once the attempt has ended.
    span: Span,
    /// On the heap, since most futures around it are moved while nobody collects traces.
    traced: Option<Box<Traced>>,
}

/// What an observer of traces will be told.
#[derive(Debug)]
pub(super) struct Traced {
    observers: Observers,
    context: CallContext,
    attempt: AttemptId,
    method: &'static str,
    start: Instant,
}

impl AttemptSpan {
    pub(super) fn begin(request: &impl HttpRequest, resends: u32, traced: Option<Box<Traced>>) -> Self {
        Self { span: span(request, resends), traced }
    }

    /// Of an attempt that nobody watches.
    pub(super) fn none() -> Self {
        Self { span: Span::none(), traced: None }
    }

    pub(super) fn is_none(&self) -> bool {
        self.span.is_disabled() && self.traced.is_none()
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn end<T, E: 'static>(&mut self, result: &Result<Response<T>, E>) {
        semconv::record(&self.span, Side::Client, result);
        self.span = Span::none();
        if let Some(traced) = self.traced.take() {
            match result {
                Ok(answer) => {
                    let status = answer.status();
                    let failed = status.is_client_error() || status.is_server_error();
                    traced.tell(Some(status), failed.then_some(status.as_str()));
                }
                Err(error) => traced.tell(None, Some(semconv::kind(error))),
            }
        }
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        self.span.record("error.type", "cancelled");
        if let Some(traced) = &self.traced {
            traced.tell(None, Some("cancelled"));
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
    ) -> Box<Self> {
        let (observers, method) = (observers.clone(), method_name(request.method()));
        Box::new(Self { observers, context, attempt: AttemptId { id, resends }, method, start: Instant::now() })
    }

    fn tell(&self, status: Option<StatusCode>, error: Option<&str>) {
        self.observers.tell(|| {
            Event::SpanEnded(EndedSpan {
                context: &self.context,
                attempt: Some(self.attempt),
                method: Some(self.method),
                status: status.map(|status| status.as_u16()),
                error,
                start: self.start,
                end: Instant::now(),
            })
        });
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
