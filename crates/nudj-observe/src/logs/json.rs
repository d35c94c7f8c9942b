//! A line as one JSON object.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::redact::shown;

/// `{"timestamp":…,"level":…,"target":…,"message":…, fields…, "spans":[{"name":…, fields…}]}`; the fields of a call's line keep
/// their names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JsonLine;

/// Span fields, kept as JSON objects, one per recording.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JsonFields;

#[derive(Default)]
struct Collect(Map<String, Value>);

impl Collect {
    fn text(&mut self, field: &Field, text: &str) {
        self.0.insert(field.name().to_owned(), shown(field.name(), text).into());
    }

    /// A number or a flag may be a secret by its name alone.
    fn plain(&mut self, field: &Field, value: Value) {
        let hidden = shown(field.name(), "");
        let value = if hidden.is_empty() { value } else { hidden.into() };
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collect {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value.into());
    }
}

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut collect = Collect::default();
        fields.record(&mut collect);
        writeln!(writer, "{}", Value::Object(collect.0))
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut collect = Collect::default();
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        event.record(&mut collect);
        let Collect(mut line) = collect;
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        let spans = context.event_scope().into_iter().flat_map(|scope| scope.from_root()).map(|span| {
            let mut fields = Map::new();
            if let Some(kept) = span.extensions().get::<FormattedFields<JsonFields>>() {
                let parts =
                    kept.fields.lines().filter_map(|part| serde_json::from_str::<Map<String, Value>>(part).ok());
                parts.for_each(|part| fields.extend(part));
            }
            fields.insert("name".to_owned(), span.name().into());
            Value::Object(fields)
        });
        let spans: Vec<Value> = spans.collect();
        if !spans.is_empty() {
            line.insert("spans".to_owned(), spans.into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}
