//! What the call being served was called with.

use http::HeaderValue;

use crate::TraceContext;

/// The ids of the call being served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) correlation_id: HeaderValue,
    pub(super) trace: TraceContext,
    /// Whether the trace begins with this call.
    pub(super) begins_here: bool,
}

tokio::task_local! {
    pub(super) static SERVED: Served;
}

/// The correlation id of the call that this task serves, as set by
/// [`CorrelationServerLayer`](super::CorrelationServerLayer); `None` outside of one.
#[must_use]
pub fn current() -> Option<HeaderValue> {
    SERVED.try_with(|served| served.correlation_id.clone()).ok()
}

/// The trace of the call that this task serves, as set by [`CorrelationServerLayer`](super::CorrelationServerLayer); `None`
/// outside of one.
#[must_use]
pub fn current_trace() -> Option<TraceContext> {
    SERVED.try_with(|served| served.trace.clone()).ok()
}
