//! From ended calls and attempts to spans.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use nudj_tower::{
    CallFacts, CallSpan, TraceContext,
    observe::{TracedAttempt, Went},
};

use super::{
    encode::Ids,
    sampling::Sampling,
    shapes::{Of, Shape},
    waiting::{Clock, Queue, Waiting, nanos},
};
use crate::metrics::{TracedCall, Tracer};

/// Correlation ids that are longer are left out: those that the correlation layer takes are not.
const LONGEST_ID: usize = 128;

/// Writes what ended into the queue, where its trace is sampled.
pub(super) struct Traces {
    waiting: Arc<Waiting>,
    sampling: Arc<Sampling>,
}

impl Traces {
    pub(super) fn new(waiting: Arc<Waiting>, sampling: Arc<Sampling>) -> Self {
        Self { waiting, sampling }
    }

    /// The trace and the call's place in it, if it is kept.
    fn kept<'f>(&self, facts: &CallFacts<'f>) -> Option<(&'f TraceContext, CallSpan)> {
        let (trace, call) = (facts.trace?, facts.span?);
        self.sampling.keeps(trace.trace_id.get(), trace.flags, call.begins_here).then_some((trace, call))
    }
}

impl Tracer for Traces {
    fn wants(&self, facts: &CallFacts<'_>) -> bool {
        self.kept(facts).is_some()
    }

    fn call_ended(&self, facts: &CallFacts<'_>, ended: &TracedCall<'_>) {
        // Asked once more: another observer may be the one who wanted its attempts.
        let Some((trace, call)) = self.kept(facts) else { return };
        let TracedCall { method, status, error, duration, end, attempts } = *ended;
        let (template, endpoint) = (facts.route.map(|route| route.template), facts.endpoint);
        // The attempts of a call are found by their trace; one line of the trace with the id is enough.
        let id = facts.correlation_id.map(HeaderValue::as_bytes).filter(|id| id.len() <= LONGEST_ID && id.is_ascii());
        let (has_parent, id_length) = (call.parent.is_some(), id.map(<[u8]>::len));
        let both = Shape { of: Of::Both, method, template, endpoint, status, error, has_parent, id_length };
        let is_as_the_call = |attempt: &TracedAttempt| {
            let TracedAttempt { resends, went, .. } = attempt;
            let end = (Some(attempt.method), attempt.status, attempt.error) == (method, status, error);
            end && *resends == 0 && *went == Went::Last
        };
        self.waiting.add(|queue| {
            let clock = queue.clock();
            let end = clock.unix_nanos(end);
            let own = Ids {
                trace_id: trace.trace_id.get(),
                id: call.id.get(),
                parent: call.parent.map(|id| id.get()),
                start: end.saturating_sub(nanos(duration)),
                end,
            };
            if let [attempt] = attempts
                && is_as_the_call(attempt)
            {
                return queue.push([ids(&clock, trace, call, attempt), own], both, id, call.begins_here);
            }
            for attempt in attempts {
                push_attempt(queue, trace, call, facts, attempt);
            }
            queue.push([own], Shape { of: Of::Call, endpoint: None, ..both }, id, call.begins_here);
        });
    }

    fn attempt_ended(&self, facts: &CallFacts<'_>, attempt: &TracedAttempt) {
        if let Some((trace, call)) = self.kept(facts) {
            self.waiting.add(|queue| push_attempt(queue, trace, call, facts, attempt));
        }
    }
}

fn ids(clock: &Clock, trace: &TraceContext, call: CallSpan, attempt: &TracedAttempt) -> Ids {
    let end = clock.unix_nanos(attempt.end);
    Ids {
        trace_id: trace.trace_id.get(),
        id: attempt.id.get(),
        parent: Some(call.id.get()),
        start: end.saturating_sub(nanos(attempt.end.saturating_duration_since(attempt.start))),
        end,
    }
}

fn push_attempt(
    queue: &mut Queue,
    trace: &TraceContext,
    call: CallSpan,
    facts: &CallFacts<'_>,
    attempt: &TracedAttempt,
) {
    let shape = Shape {
        of: Of::Attempt(attempt.resends),
        method: Some(attempt.method),
        template: facts.route.map(|route| route.template),
        endpoint: match &attempt.went {
            Went::Nowhere => None,
            Went::Last => facts.endpoint,
            Went::To(endpoint) => Some(endpoint),
        },
        status: attempt.status,
        error: attempt.error,
        has_parent: true,
        id_length: None,
    };
    queue.push([ids(&queue.clock(), trace, call, attempt)], shape, None, call.begins_here);
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nudj_tower::{CallContext, Route, SpanId};
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message;
    use tokio::time::Instant;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Case {
        context: CallContext,
        start: Instant,
        traces: Traces,
    }

    impl Case {
        /// A call that has been to a and is at b.
        fn new() -> Self {
            let context = CallContext::new();
            let trace = TraceContext { flags: 1, ..TraceContext::start(&mut fastrand::Rng::with_seed(1)) };
            context.set_ids("order-17".parse().unwrap(), trace);
            context.set_span(CallSpan { id: SpanId::new(1).unwrap(), parent: None, begins_here: true });
            context.set_route(Route { operation: "getUser", template: "/users/{id}" });
            context.record_try(1, &Arc::from("http://b:2"), 0);
            let traces = Traces::new(Arc::new(Waiting::new(100, 0)), Arc::new(Sampling::of(1.0)));
            Self { context, start: Instant::now(), traces }
        }

        fn attempt(&self, resends: u32, status: Option<u16>, error: Option<&'static str>, went: Went) -> TracedAttempt {
            let (id, start) = (SpanId::new(u64::from(resends) + 2).unwrap(), self.start + MS);
            TracedAttempt { id, resends, method: "GET", status, error, went, start, end: start + MS }
        }

        fn spans(&self) -> Vec<Span> {
            ScopeSpans::decode(&self.traces.waiting.take(Vec::new()).bytes[..]).unwrap().spans
        }

        /// The spans of a call with this end and attempts.
        fn ended(&self, status: Option<u16>, error: Option<&str>, attempts: &[TracedAttempt]) -> Vec<Span> {
            let context = &self.context;
            let (method, duration, end) = (Some("GET"), 9 * MS, self.start + 9 * MS);
            let call = TracedCall { method, status, error, duration, end, attempts };
            context.with_facts(|facts| self.traces.call_ended(facts, &call));
            self.spans()
        }
    }

    /// Id, milliseconds, kind, status, error, address, repeats.
    fn told(span: &Span) -> (u8, u64, i32, [Option<String>; 4]) {
        let keys = ["http.response.status_code", "error.type", "server.address", "http.request.resend_count"];
        let value = |key: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
            let text = format!("{:?}", found.value.as_ref()?.value.as_ref()?);
            Some(
                text.trim_start_matches("StringValue(\"")
                    .trim_start_matches("IntValue(")
                    .trim_end_matches([')', '"'])
                    .to_owned(),
            )
        };
        let took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000;
        (span.span_id[7], took, span.kind, keys.map(value))
    }

    #[tokio::test]
    async fn a_call_and_its_attempts_are_written_with_what_each_has_of_its_own() {
        let case = Case::new();
        let text = |text: &str| Some(text.to_owned());
        let call = |error: Option<&str>| (1, 9, 1, [None, error.map(ToOwned::to_owned), None, None]);
        let at = |id, status: Option<&str>, error: Option<&str>, address: Option<&str>, resends: Option<&str>| {
            (id, 1, 3, [status, error, address, resends].map(|value| value.map(ToOwned::to_owned)))
        };
        let all = |spans: Vec<Span>| spans.iter().map(told).collect::<Vec<_>>();
        let usual = case.attempt(0, Some(200), None, Went::Last);
        assert_eq!(
            all(case.ended(Some(200), None, &[usual])),
            [at(2, text("200").as_deref(), None, Some("b"), None), call(None)]
        );
        // One attempt that ended in another way than its call, each way.
        let failed = case.attempt(0, Some(503), None, Went::Last);
        let expected = [at(2, Some("503"), Some("503"), Some("b"), None), call(None)];
        assert_eq!(all(case.ended(Some(200), None, std::slice::from_ref(&failed))), expected);
        let expected = [at(2, Some("503"), Some("503"), Some("b"), None), call(Some("timeout"))];
        assert_eq!(all(case.ended(None, Some("timeout"), &[failed])), expected);
        let lost = case.attempt(0, None, Some("connect"), Went::Last);
        let expected = [at(2, None, Some("connect"), Some("b"), None), call(Some("timeout"))];
        assert_eq!(all(case.ended(None, Some("timeout"), &[lost])), expected);
        let refused = case.attempt(0, None, Some("rate_limited"), Went::Nowhere);
        let expected = [at(2, None, Some("rate_limited"), None, None), call(Some("rate_limited"))];
        assert_eq!(all(case.ended(None, Some("rate_limited"), &[refused])), expected);
        let later = case.attempt(3, Some(200), None, Went::Last);
        let expected = [at(5, Some("200"), None, Some("b"), Some("3")), call(None)];
        assert_eq!(all(case.ended(Some(200), None, &[later])), expected);
        // Several, of which the first went elsewhere; and none.
        let first = case.attempt(0, Some(503), None, Went::To(Arc::from("http://a:1")));
        let second = case.attempt(1, Some(200), None, Went::Last);
        let expected = [
            at(2, Some("503"), Some("503"), Some("a"), None),
            at(3, Some("200"), None, Some("b"), Some("1")),
            call(None),
        ];
        assert_eq!(all(case.ended(Some(200), None, &[first, second])), expected);
        assert_eq!(all(case.ended(None, Some("rate_limited"), &[])), [call(Some("rate_limited"))]);
    }

    #[tokio::test]
    async fn an_attempt_alone_is_written_as_it_is_and_nothing_of_a_trace_that_is_not_kept() {
        let case = Case::new();
        let attempt = case.attempt(0, None, Some("cancelled"), Went::Last);
        case.context.with_facts(|facts| case.traces.attempt_ended(facts, &attempt));
        let spans = case.spans();
        assert_eq!((spans.len(), spans[0].parent_span_id[7], spans[0].name.as_str()), (1, 1, "GET /users/{id}"));
        let long = "x".repeat(LONGEST_ID + 1).parse().unwrap();
        case.context.set_ids(long, case.context.trace().unwrap());
        assert_eq!(case.ended(Some(200), None, &[])[0].attributes.len(), 0, "so long an id is left out");
        case.context.set_ids("a".parse().unwrap(), TraceContext { flags: 0, ..case.context.trace().unwrap() });
        assert!(case.ended(Some(200), None, std::slice::from_ref(&attempt)).is_empty());
        assert!(!case.context.with_facts(|facts| case.traces.wants(facts)));
        case.context.with_facts(|facts| case.traces.attempt_ended(facts, &attempt));
        assert!(case.spans().is_empty());
    }
}
