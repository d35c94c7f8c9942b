//! A span in the protocol's own form, written where it will be sent from: no objects between, and no allocation per span.
//!
//! Field numbers: <https://github.com/open-telemetry/opentelemetry-proto>, `trace.proto` and `common.proto`. The tests read it with the
//! published messages.

/// The facts of a span that every span has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) trace_id: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    /// Whether the parent is in another process.
    pub(super) is_remote: bool,
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) error: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Client = 3,
}

/// `SAMPLED`, and "whether the parent is remote is known".
const FLAGS: u32 = 0x101;
const REMOTE: u32 = 0x200;
const ERROR: u8 = 2;

/// Appends the protocol's primitives.
pub(super) struct Out<'b>(pub(super) &'b mut Vec<u8>);

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

impl Out<'_> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u8, wire: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire));
    }

    fn length(&mut self, field: u8, length: usize) {
        self.tag(field, BYTES);
        self.varint(length as u64);
    }

    pub(super) fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.length(field, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn fixed64(&mut self, field: u8, value: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A text attribute of a span.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        let any = 1 + varint_len(value.len() as u64) + value.len();
        self.key(key, any);
        self.bytes(1, value.as_bytes());
    }

    /// A whole number as an attribute of a span.
    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key, 1 + varint_len(value));
        self.tag(3, VARINT);
        self.varint(value);
    }

    /// The head of an attribute whose value takes `any` bytes.
    fn key(&mut self, key: &str, any: usize) {
        let key_value = 1 + varint_len(key.len() as u64) + key.len() + 1 + varint_len(any as u64) + any;
        self.length(9, key_value);
        self.bytes(1, key.as_bytes());
        self.length(2, any);
    }

    pub(super) fn span(&mut self, facts: &Facts<'_>, attributes: impl FnOnce(&mut Self)) {
        self.bytes(1, &facts.trace_id.to_be_bytes());
        self.bytes(2, &facts.id.to_be_bytes());
        if let Some(parent) = facts.parent {
            self.bytes(4, &parent.to_be_bytes());
        }
        self.name(facts.name, None);
        self.kind(facts.kind);
        self.fixed64(7, facts.start);
        self.fixed64(8, facts.end);
        attributes(self);
        if let Some(error) = facts.error {
            self.error(error);
        }
        self.flags(facts.is_remote);
    }

    /// A span's name, in one part or two with a space between.
    pub(super) fn name(&mut self, first: &str, second: Option<&str>) {
        match second {
            Some(second) => {
                self.length(5, first.len() + 1 + second.len());
                self.0.extend_from_slice(first.as_bytes());
                self.0.push(b' ');
                self.0.extend_from_slice(second.as_bytes());
            }
            None => self.bytes(5, first.as_bytes()),
        }
    }

    pub(super) fn kind(&mut self, kind: Kind) {
        self.tag(6, VARINT);
        self.0.push(kind as u8);
    }

    /// What a span failed with, and that it failed. Its status says no more: the conventions want no words there that stand elsewhere.
    pub(super) fn error(&mut self, error: &str) {
        self.text("error.type", error);
        self.length(15, 2);
        self.tag(3, VARINT);
        self.0.push(ERROR);
    }

    pub(super) fn flags(&mut self, is_remote: bool) {
        self.tag(16, FIXED32);
        let flags = if is_remote { FLAGS | REMOTE } else { FLAGS };
        self.0.extend_from_slice(&flags.to_le_bytes());
    }
}

/// The fields that differ from span to span of one shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) trace_id: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Where a parent would begin.
const UP_TO_PARENT: usize = 18 + 10 + 9 + 9;

impl Ids {
    /// The fields in one piece, and how much of it there is.
    fn written(&self) -> ([u8; UP_TO_PARENT + 10], usize) {
        let mut head = [0; UP_TO_PARENT + 10];
        head[..2].copy_from_slice(&[1 << 3 | BYTES, 16]);
        head[2..18].copy_from_slice(&self.trace_id.to_be_bytes());
        head[18..20].copy_from_slice(&[2 << 3 | BYTES, 8]);
        head[20..28].copy_from_slice(&self.id.to_be_bytes());
        head[28] = 7 << 3 | FIXED64;
        head[29..37].copy_from_slice(&self.start.to_le_bytes());
        head[37] = 8 << 3 | FIXED64;
        head[38..46].copy_from_slice(&self.end.to_le_bytes());
        let Some(parent) = self.parent else { return (head, UP_TO_PARENT) };
        head[46..48].copy_from_slice(&[4 << 3 | BYTES, 8]);
        head[48..].copy_from_slice(&parent.to_be_bytes());
        (head, UP_TO_PARENT + 10)
    }
}

const CORRELATION_ID: &str = "correlation_id";

/// Appends a span of an export: its own fields, those of its shape, and the correlation id if it has one.
pub(super) fn span_of_shape(bytes: &mut Vec<u8>, ids: &Ids, shape: &[u8], correlation_id: Option<&str>) {
    let (head, length) = ids.written();
    let attribute = |id: &str| {
        let any = 1 + varint_len(id.len() as u64) + id.len();
        let key_value = 1 + 1 + CORRELATION_ID.len() + 1 + varint_len(any as u64) + any;
        1 + varint_len(key_value as u64) + key_value
    };
    let mut out = Out(bytes);
    out.length(2, length + shape.len() + correlation_id.map_or(0, attribute));
    out.0.extend_from_slice(&head[..length]);
    out.0.extend_from_slice(shape);
    if let Some(id) = correlation_id {
        out.text(CORRELATION_ID, id);
    }
}

fn varint_len(value: u64) -> usize {
    // Seven bits a byte; zero takes one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// What stands before `spans` bytes of written spans, each with its tag and length, in an export: who and what sends them.
pub(super) fn head(resource: &[u8], scope: &[u8], spans: usize) -> Vec<u8> {
    let of = |bytes: usize| 1 + varint_len(bytes as u64) + bytes;
    let scope_spans = of(scope.len()) + spans;
    let resource_spans = of(resource.len()) + of(scope_spans);
    let mut head = Vec::with_capacity(of(resource_spans) - spans);
    let mut out = Out(&mut head);
    out.length(1, resource_spans);
    out.bytes(1, resource);
    out.length(2, scope_spans);
    out.bytes(1, scope);
    head
}

/// No [`head`] of a batch is longer.
pub(super) fn longest_head(resource: &[u8], scope: &[u8]) -> usize {
    head(resource, scope, u32::MAX as usize).len()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
    };
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::otlp::message;

    fn export(resource: &[u8], scope: &[u8], spans: &[u8]) -> Vec<u8> {
        [&*head(resource, scope, spans.len()), spans].concat()
    }

    fn facts() -> Facts<'static> {
        Facts {
            trace_id: 7,
            id: 8,
            parent: Some(9),
            is_remote: true,
            kind: Kind::Server,
            name: "GET /users/{id}",
            start: 1,
            end: u64::MAX,
            error: None,
        }
    }

    fn read(facts: &Facts<'_>, attributes: impl FnOnce(&mut Out<'_>)) -> Span {
        let (mut one, mut spans) = (Vec::new(), Vec::new());
        Out(&mut one).span(facts, attributes);
        Out(&mut spans).bytes(2, &one);
        let body = export(&message::resource("shop").encode_to_vec(), &message::scope().encode_to_vec(), &spans);
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let resource = &request.resource_spans[0];
        assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
        assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "nudj");
        resource.scope_spans[0].spans[0].clone()
    }

    #[test]
    fn a_span_reads_as_it_was_written() {
        let span = read(&facts(), |out| out.number("http.response.status_code", 200));
        assert_eq!((span.trace_id[15], span.span_id[7], span.parent_span_id[7]), (7, 8, 9));
        assert_eq!((span.name.as_str(), span.kind, span.flags), ("GET /users/{id}", 2, 0x301));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1, u64::MAX));
        assert!(span.status.is_none());
        let failed = Facts { parent: None, is_remote: false, name: "HTTP", error: Some("timeout"), ..facts() };
        let span = read(&failed, |_| ());
        assert_eq!((span.name.as_str(), span.parent_span_id.len(), span.flags), ("HTTP", 0, 0x101));
        let status = span.status.unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, ""), "what it was stands in its attribute");
        assert_eq!(span.attributes[0].key, "error.type");
        assert_eq!(span.attributes[0].value.clone().unwrap().value, Some(Value::StringValue("timeout".into())));
    }

    #[test]
    fn a_span_of_a_shape_has_its_own_fields_those_of_the_shape_and_its_correlation_id() {
        let mut shape = Vec::new();
        Out(&mut shape).name("GET", None);
        for (parent, id) in [(None, None), (Some(9), Some("id-1")), (Some(9), Some(&*"x".repeat(128)))] {
            let ids = Ids { trace_id: 7, id: 8, parent, start: 1, end: 2 };
            let mut spans = Vec::new();
            span_of_shape(&mut spans, &ids, &shape, id);
            span_of_shape(&mut spans, &ids, &shape, None);
            let request = ExportTraceServiceRequest::decode(&export(&[], &[], &spans)[..]).unwrap();
            let [span, second] = &request.resource_spans[0].scope_spans[0].spans[..] else {
                panic!("two: {request:?}")
            };
            assert_eq!(
                (span.trace_id[15], span.span_id[7], span.parent_span_id.len()),
                (7, 8, if parent.is_some() { 8 } else { 0 })
            );
            assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano, span.name.as_str()), (1, 2, "GET"));
            assert_eq!((span.attributes.len(), second.attributes.len()), (usize::from(id.is_some()), 0));
        }
    }

    proptest! {
        #[test]
        fn any_attribute_reads_as_it_was_written(key in ".{0,200}", start in ".{0,9}", length in 0..40_000usize, number in any::<u32>()) {
            let text = start + &"x".repeat(length);
            let span = read(&facts(), |out| {
                out.text(&key, &text);
                out.number(&key, u64::from(number));
            });
            let value = |index: usize| span.attributes[index].value.clone().unwrap().value.unwrap();
            prop_assert_eq!(&span.attributes[0].key, &key);
            prop_assert_eq!(value(0), Value::StringValue(text));
            prop_assert_eq!(value(1), Value::IntValue(i64::from(number)));
        }
    }
}
