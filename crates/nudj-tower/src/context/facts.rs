//! What a call's end is told by, and the small things in it.

use std::sync::Arc;

use http::HeaderValue;

#[cfg(doc)]
use super::CallContext;
use super::{SpanId, TraceContext};

/// A call's own place in its trace: what its attempts are parts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSpan {
    /// The call's own id.
    pub id: SpanId,
    /// What called it; `None` where the trace begins with this call.
    pub parent: Option<SpanId>,
    /// Whether the trace begins in this process: with this call, or with the one that is being served.
    pub begins_here: bool,
}

/// What a call's end is told by.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// As [`CallContext::route`].
    pub route: Option<Route>,
    /// As [`CallContext::endpoint`].
    pub endpoint: Option<&'a Arc<str>>,
    /// As [`CallContext::tries`].
    pub tries: u32,
    /// As [`CallContext::correlation_id`].
    pub correlation_id: Option<&'a HeaderValue>,
    /// As [`CallContext::trace`].
    pub trace: Option<&'a TraceContext>,
    /// As [`CallContext::span`].
    pub span: Option<CallSpan>,
}

/// The low-cardinality name of what is called: `/users/{id}`, never `/users/42`.
///
/// Metrics and spans use it wherever a raw path would make one series per user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// What the caller would say, in the seed's manner: `getUser`.
    pub operation: &'static str,
    /// The path's template.
    pub template: &'static str,
}
