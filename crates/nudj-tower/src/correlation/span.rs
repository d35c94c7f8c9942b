//! The span of a call, named and attributed by the OpenTelemetry conventions for HTTP.

use std::fmt;

use http::{HeaderValue, Method, Uri};
use tracing::{Span, field::Empty};

use crate::{CallContext, CallSpan, TraceContext, semconv};

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
            otel.kind = "internal",
            http.request.method = semconv::method_name(self.method),
            url.template = self.template(),
            server.address = self.uri.host(),
            http.response.status_code = Empty,
            error.r#type = Empty,
            correlation_id = self.correlation_id.to_str().ok(),
            trace_id = %format_args!("{:032x}", self.trace.trace_id.get()),
        )
    }

    /// The span of a call that came in, under the ids that what its handler sends is a part of.
    pub(super) fn server_span(&self, own: CallSpan) -> Span {
        tracing::info_span!(
            "http_request",
            otel.name = %self.name(),
            otel.kind = "server",
            http.request.method = semconv::method_name(self.method),
            http.response.status_code = Empty,
            error.r#type = Empty,
            correlation_id = self.correlation_id.to_str().ok(),
            trace_id = %format_args!("{:032x}", self.trace.trace_id.get()),
            span_id = %Hex(own.id.get()),
            sampled = self.trace.flags & 1 == 1,
            parent_span_id = own.parent.map(|id| tracing::field::display(Hex(id.get()))),
        )
    }

    fn template(&self) -> Option<&'static str> {
        Some(self.context?.route()?.template)
    }

    fn name(&self) -> impl fmt::Display + '_ {
        semconv::name(self.method, self.template())
    }
}

struct Hex(u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
