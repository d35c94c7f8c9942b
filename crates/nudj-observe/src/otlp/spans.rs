//! The layers' spans, with the ids that went over the wire.

use std::{fmt, sync::Arc, time::SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// Exports the spans of the layers: calls, attempts, and calls that came in. Other spans are left to others.
#[derive(Clone)]
pub struct SpanLayer {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

/// What is known of a span that has not ended.
struct Open {
    trace_id: TraceId,
    span_id: SpanId,
    parent: SpanId,
    start: SystemTime,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    kind: Option<SpanKind>,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    error: Option<String>,
    attributes: Vec<KeyValue>,
}

impl SpanLayer {
    pub(super) fn new(processor: Arc<BatchSpanProcessor>) -> Self {
        Self { processor, scope: InstrumentationScope::builder("nudj").build() }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_ours(attributes.metadata().target()) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.scope().skip(1).find_map(|above| {
            let extensions = above.extensions();
            extensions.get::<Open>().map(|open| (open.trace_id, open.span_id))
        });
        let new = RandomIdGenerator::default();
        let trace_id = fields.trace_id.or(above.map(|(trace_id, _)| trace_id)).unwrap_or_else(|| new.new_trace_id());
        // Above may be another trace: a call that was told to continue somebody else's.
        let parent = above.filter(|(above, _)| *above == trace_id).map_or(SpanId::INVALID, |(_, span_id)| span_id);
        let span_id = fields.span_id.unwrap_or_else(|| new.new_span_id());
        span.extensions_mut().insert(Open { trace_id, span_id, parent, start: wall_clock(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        let Open { trace_id, span_id, parent, start, fields } = open;
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: fields.kind.unwrap_or(SpanKind::Internal),
            name: fields.name.map_or_else(|| span.name().into(), Into::into),
            start_time: start,
            end_time: wall_clock(),
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: fields.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("nudj_tower").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Fields {
    fn text(&mut self, name: &'static str, text: &str) {
        match name {
            "otel.name" => self.name = Some(text.to_owned()),
            "otel.kind" => {
                self.kind = match text {
                    "client" => Some(SpanKind::Client),
                    "server" => Some(SpanKind::Server),
                    _ => None,
                }
            }
            "trace_id" => self.trace_id = TraceId::from_hex(text).ok(),
            "span_id" => self.span_id = SpanId::from_hex(text).ok(),
            "error.type" => {
                self.error = Some(text.to_owned());
                self.attributes.push(KeyValue::new(name, text.to_owned()));
            }
            _ => self.attributes.push(KeyValue::new(name, text.to_owned())),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }
}

#[expect(clippy::disallowed_methods, reason = "a span says by the wall clock when it was; nothing is decided by it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for SpanLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanLayer").finish_non_exhaustive()
    }
}
