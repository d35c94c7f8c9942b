//! The span of a call, named and attributed by the OpenTelemetry conventions for HTTP.

use std::{any::Any, error::Error, fmt};

use http::{HeaderValue, Method, Response, Uri};
use tracing::{Span, field::Empty};

use crate::{BoxError, CallContext, TraceContext, classify::error_kind};

/// The facts a span starts with.
pub(super) struct Call<'r> {
    pub(super) method: &'r Method,
    pub(super) uri: &'r Uri,
    /// `None` on the server's side, where routing is yet to come.
    pub(super) context: Option<&'r CallContext>,
    pub(super) correlation_id: &'r HeaderValue,
    pub(super) trace: &'r TraceContext,
}

impl Call<'_> {
    /// The span of a call that goes out. Costs nothing to speak of while nobody listens: the fields are made on demand.
    pub(super) fn client_span(&self) -> Span {
        tracing::info_span!(
            "http_call",
            otel.name = %self.name(),
            otel.kind = "client",
            http.request.method = self.method(),
            url.template = self.template(),
            server.address = self.uri.host(),
            http.response.status_code = Empty,
            error.r#type = Empty,
            correlation_id = self.correlation_id.to_str().ok(),
            trace_id = %format_args!("{:032x}", self.trace.trace_id.get()),
        )
    }

    /// The span of a call that came in.
    pub(super) fn server_span(&self) -> Span {
        tracing::info_span!(
            "http_request",
            otel.name = %self.name(),
            otel.kind = "server",
            http.request.method = self.method(),
            http.response.status_code = Empty,
            error.r#type = Empty,
            correlation_id = self.correlation_id.to_str().ok(),
            trace_id = %format_args!("{:032x}", self.trace.trace_id.get()),
        )
    }

    /// A method that nobody knows is a caller's free text; the conventions say `_OTHER`, and `HTTP` in the name.
    fn method(&self) -> &str {
        if self.is_known() { self.method.as_str() } else { "_OTHER" }
    }

    fn is_known(&self) -> bool {
        [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::HEAD,
            Method::OPTIONS,
            Method::TRACE,
            Method::CONNECT,
        ]
        .contains(self.method)
    }

    fn template(&self) -> Option<&'static str> {
        Some(self.context?.route()?.template)
    }

    fn name(&self) -> impl fmt::Display + '_ {
        Name { method: if self.is_known() { self.method.as_str() } else { "HTTP" }, template: self.template() }
    }
}

struct Name<'r> {
    method: &'r str,
    template: Option<&'static str>,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method)?;
        match self.template {
            Some(template) => write!(f, " {template}"),
            None => Ok(()),
        }
    }
}

/// Which statuses are errors: a client counts 4xx, a server does not (it did what it should).
#[derive(Clone, Copy)]
pub(super) enum Side {
    Client,
    Server,
}

/// Writes how the call ended into its span.
pub(super) fn record<T, E: 'static>(span: &Span, side: Side, result: &Result<Response<T>, E>) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(response) => {
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() || (matches!(side, Side::Client) && status.is_client_error()) {
                span.record("error.type", status.as_str());
            }
        }
        Err(error) => {
            span.record("error.type", kind(error));
        }
    }
}

/// The error's kind where it is one of ours or a boxed one, as tower's are; the error type itself need not be an `Error`.
fn kind<E: 'static>(error: &E) -> &'static str {
    let error: &dyn Any = error;
    match error.downcast_ref::<BoxError>() {
        Some(boxed) => error_kind(&**boxed),
        None => error
            .downcast_ref::<crate::Rejection>()
            .map(|error| error as &(dyn Error + 'static))
            .or_else(|| error.downcast_ref::<crate::classify::TransportError>().map(|error| error as _))
            .map_or("_OTHER", error_kind),
    }
}
