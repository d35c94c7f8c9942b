//! A line's fields for people.

use std::{borrow::Cow, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{MakeVisitor, VisitFmt, VisitOutput},
    fmt::format::Writer,
};

use super::redact::shown;

/// Writes fields as `name=value`, the message first as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextFields;

pub(super) struct Write<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
    is_first: bool,
}

impl Write<'_> {
    fn write(&mut self, field: &Field, value: &str) {
        if self.result.is_err() {
            return;
        }
        let space = if self.is_first { "" } else { " " };
        self.is_first = false;
        let (name, value) = (field.name(), shown(field.name(), value));
        let value = in_one_line(&value);
        self.result = match name {
            "message" => write!(self.writer, "{space}{value}"),
            _ => write!(self.writer, "{space}{name}={value}"),
        };
    }
}

/// With control characters written out, wherever they come from: others' texts make no lines and give no orders to a terminal.
fn in_one_line(value: &str) -> Cow<'_, str> {
    if !value.contains(char::is_control) {
        return value.into();
    }
    let mut line = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line.into()
}

impl Visit for Write<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // In quotes, so that a text cannot look like a field of its own.
        if field.name() == "message" { self.write(field, value) } else { self.write(field, &format!("{value:?}")) }
    }
}

impl VisitOutput<fmt::Result> for Write<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for Write<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        &mut self.writer
    }
}

impl<'w> MakeVisitor<Writer<'w>> for TextFields {
    type Visitor = Write<'w>;

    fn make_visitor(&self, writer: Writer<'w>) -> Self::Visitor {
        Write { writer, result: Ok(()), is_first: true }
    }
}
