//! The spans of calls that came in, which only `tracing` knows of.

use std::{fmt, sync::Arc};

use tokio::time::Instant;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{
    encode::{Facts, Kind, Out},
    sampling::Sampling,
    waiting::Waiting,
};

/// Exports the spans of calls that came in through
/// [`CorrelationServerLayer`](nudj_tower::correlation::CorrelationServerLayer). Calls that go out and their attempts come from the
/// observer; other spans are left to others.
#[derive(Clone)]
pub struct SpanLayer {
    waiting: Arc<Waiting>,
    sampling: Arc<Sampling>,
}

/// What is known of a span that has not ended.
struct Open {
    start: Instant,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    name: String,
    trace_id: u128,
    span_id: u64,
    parent: Option<u64>,
    is_sampled: bool,
    error: Option<String>,
    /// Written already.
    attributes: Vec<u8>,
}

impl SpanLayer {
    pub(super) fn new(waiting: Arc<Waiting>, sampling: Arc<Sampling>) -> Self {
        Self { waiting, sampling }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.name() != "http_request" || !is_ours(metadata.target()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let is_kept = self.sampling.keeps(fields.trace_id, u8::from(fields.is_sampled), fields.parent.is_none());
        if let Some(span) = context.span(id).filter(|_| is_kept) {
            span.extensions_mut().insert(Open { start: Instant::now(), fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { start, fields }) = span.extensions_mut().remove::<Open>() else { return };
        let end = Instant::now();
        let facts = |clock: &super::waiting::Clock| Facts {
            trace_id: fields.trace_id,
            id: fields.span_id,
            parent: fields.parent,
            is_remote: fields.parent.is_some(),
            kind: Kind::Server,
            name: &fields.name,
            start: clock.unix_nanos(start),
            end: clock.unix_nanos(end),
            error: fields.error.as_deref(),
        };
        let attributes = |out: &mut Out<'_>| out.0.extend_from_slice(&fields.attributes);
        self.waiting.push(facts, attributes, fields.parent.is_none());
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("nudj_tower").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Fields {
    fn text(&mut self, name: &'static str, text: &str) {
        match name {
            "otel.name" => text.clone_into(&mut self.name),
            "otel.kind" => {}
            "trace_id" => self.trace_id = u128::from_str_radix(text, 16).unwrap_or_default(),
            "span_id" => self.span_id = u64::from_str_radix(text, 16).unwrap_or_default(),
            "parent_span_id" => self.parent = u64::from_str_radix(text, 16).ok(),
            "error.type" => self.error = Some(text.to_owned()),
            _ => Out(&mut self.attributes).text(name, text),
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

    fn record_u64(&mut self, field: &Field, value: u64) {
        Out(&mut self.attributes).number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "sampled" {
            self.is_sampled = value;
        }
    }
}

impl fmt::Debug for SpanLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanLayer").finish_non_exhaustive()
    }
}
