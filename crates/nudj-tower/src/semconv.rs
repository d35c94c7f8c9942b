//! What the OpenTelemetry conventions for HTTP say about names and attributes of spans.
//!
//! Source: <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.

use std::{any::Any, error::Error, fmt};

use http::{Method, Response};
use tracing::Span;

pub(crate) use crate::observe::method_name;
use crate::{
    BoxError, Rejection,
    classify::{TransportError, error_kind},
    observe::UNKNOWN_METHOD,
};

/// The span's name: the method, and the template of the path where there is one. An unknown method is `HTTP` here.
pub(crate) fn name(method: &Method, template: Option<&'static str>) -> impl fmt::Display + use<> {
    let method = match method_name(method) {
        UNKNOWN_METHOD => "HTTP",
        known => known,
    };
    Name { method, template }
}

struct Name {
    method: &'static str,
    template: Option<&'static str>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method)?;
        match self.template {
            Some(template) => write!(f, " {template}"),
            None => Ok(()),
        }
    }
}

/// Which statuses are errors: a client counts 4xx, a server does not (it did what it should).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Client,
    #[cfg(feature = "correlation")]
    Server,
}

/// Writes how the call ended into its span.
pub(crate) fn record<T, E: 'static>(span: &Span, side: Side, result: &Result<Response<T>, E>) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(response) => {
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            let first_error = if matches!(side, Side::Client) { 400 } else { 500 };
            if status.as_u16() >= first_error {
                span.record("error.type", status.as_str());
            }
        }
        Err(error) => {
            span.record("error.type", kind(error));
        }
    }
}

/// The error's kind where it is one of ours or a boxed one, as tower's are; the error type itself need not be an `Error`.
pub(crate) fn kind<E: 'static>(error: &E) -> &'static str {
    let error: &dyn Any = error;
    match error.downcast_ref::<BoxError>() {
        Some(boxed) => error_kind(&**boxed),
        None => error
            .downcast_ref::<Rejection>()
            .map(|error| error as &(dyn Error + 'static))
            .or_else(|| error.downcast_ref::<TransportError>().map(|error| error as _))
            .map_or("_OTHER", error_kind),
    }
}
