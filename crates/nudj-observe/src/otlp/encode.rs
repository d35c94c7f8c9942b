//! A span in the protocol's own form, written where it will be sent from: no objects between, and no allocation per span.
//!
//! Field numbers: <https://github.com/open-telemetry/opentelemetry-proto>, `trace.proto` and `common.proto`. The tests read it with the
//! published messages.

use std::ops::Range;

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
    Internal = 1,
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

/// How many bytes a span's own fields take, but for the parent.
const OWN: usize = 18 + 10 + 9 + 9;
const PARENT: usize = 10;
const CORRELATION_ID: &str = "correlation_id";

/// Spans of an export with all that such spans have in common. What each has of its own stands at places that are known, and is filled in
/// once they have been copied.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Each with its tag and length.
    written: Vec<u8>,
    spans: Vec<Place>,
    /// Where the correlation id stands.
    id: Option<Range<usize>>,
}

/// Where the own fields of a span are.
#[derive(Debug)]
struct Place {
    own: usize,
    has_parent: bool,
}

impl Form {
    /// Adds a span with these `fields`, and a correlation id of so many bytes if there is one; no more than one span has one.
    pub(super) fn span(&mut self, has_parent: bool, fields: &[u8], id_length: Option<usize>) {
        let mut rest = Vec::from(fields);
        if let Some(length) = id_length {
            Out(&mut rest).text(CORRELATION_ID, &"-".repeat(length));
        }
        let length = if has_parent { OWN + PARENT } else { OWN };
        Out(&mut self.written).length(2, length + rest.len());
        self.spans.push(Place { own: self.written.len(), has_parent });
        self.written.extend_from_slice(&[0; OWN + PARENT][..length]);
        self.written.extend_from_slice(&rest);
        if let Some(length) = id_length {
            let end = self.written.len();
            self.id = Some(end - length..end);
        }
    }

    /// Appends the spans. Parents and id must be there, or not, as they are in the form.
    pub(super) fn append(&self, bytes: &mut Vec<u8>, ids: &[Ids], correlation_id: Option<&[u8]>) {
        let start = bytes.len();
        bytes.extend_from_slice(&self.written);
        let Some(written) = bytes.get_mut(start..) else { return };
        for (place, ids) in self.spans.iter().zip(ids) {
            let Some((own, rest)) = written.get_mut(place.own..).and_then(<[u8]>::split_first_chunk_mut) else {
                continue;
            };
            *own = ids.written();
            if let Some((parent, _)) = rest.split_first_chunk_mut().filter(|_| place.has_parent) {
                *parent = written_parent(ids.parent.unwrap_or_default());
            }
        }
        if let (Some(place), Some(id)) = (&self.id, correlation_id)
            && let Some(place) = written.get_mut(place.clone()).filter(|place| place.len() == id.len())
        {
            place.copy_from_slice(id);
        }
    }
}

impl Ids {
    fn written(&self) -> [u8; OWN] {
        let mut own = [0; OWN];
        own[..2].copy_from_slice(&[1 << 3 | BYTES, 16]);
        own[2..18].copy_from_slice(&self.trace_id.to_be_bytes());
        own[18..20].copy_from_slice(&[2 << 3 | BYTES, 8]);
        own[20..28].copy_from_slice(&self.id.to_be_bytes());
        own[28] = 7 << 3 | FIXED64;
        own[29..37].copy_from_slice(&self.start.to_le_bytes());
        own[37] = 8 << 3 | FIXED64;
        own[38..].copy_from_slice(&self.end.to_le_bytes());
        own
    }
}

fn written_parent(id: u64) -> [u8; PARENT] {
    let mut parent = [4 << 3 | BYTES, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    parent[2..].copy_from_slice(&id.to_be_bytes());
    parent
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
    fn a_span_of_a_form_has_its_own_fields_those_of_the_form_and_its_correlation_id() {
        let mut name = Vec::new();
        Out(&mut name).name("GET", None);
        for (parent, id) in
            [(None, None), (None, Some("")), (Some(9), Some("id-1")), (Some(9), Some(&*"x".repeat(128)))]
        {
            let (mut form, mut spans) = (Form::default(), Vec::new());
            form.span(false, &name, None);
            form.span(parent.is_some(), &name, id.map(str::len));
            for number in [7, 9] {
                let first = Ids { trace_id: 1 << 64, id: number, parent: None, start: 1, end: 2 };
                form.append(&mut spans, &[first, Ids { id: number + 1, parent, ..first }], id.map(str::as_bytes));
            }
            let request = ExportTraceServiceRequest::decode(&export(&[], &[], &spans)[..]).unwrap();
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            assert_eq!(spans.len(), 4, "{request:?}");
            for (span, number) in spans.iter().zip([7, 8, 9, 10]) {
                let (parent, id) = if number % 2 == 0 { (parent, id) } else { (None, None) };
                assert_eq!((span.trace_id[7], span.span_id[7]), (1, number));
                assert_eq!(span.parent_span_id, parent.map_or(Vec::new(), |id: u64| id.to_be_bytes().into()));
                assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano, span.name.as_str()), (1, 2, "GET"));
                let found = span.attributes.first().map(|found| found.value.clone().unwrap().value.unwrap());
                assert_eq!(found, id.map(|id| Value::StringValue(id.to_owned())));
            }
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
