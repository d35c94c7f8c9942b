//! What spans of one shape have in common, written once: most spans of a client differ in ids and times only.

use std::sync::Arc;

use super::encode::{Form, Kind, Out};
use crate::metrics::Server;

/// As many shapes are kept: some of each operation. A power of two.
const PLACES: usize = 128;
/// A shape is in one of so many places in a row, or is written there when it is asked for.
const WAYS: usize = 4;

/// What a shape is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A call, and its one attempt before it, which ended as the call did.
    Both,
    Call,
    /// An attempt whose request had been sent so often before.
    Attempt(u32),
}

/// What tells one shape from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) of: Of,
    pub(super) method: Option<&'static str>,
    pub(super) template: Option<&'static str>,
    pub(super) endpoint: Option<&'a Arc<str>>,
    pub(super) status: Option<u16>,
    /// Where there was no answer.
    pub(super) error: Option<&'a str>,
    /// Whether the call has a parent; an attempt always has.
    pub(super) has_parent: bool,
    /// How long the call's correlation id is.
    pub(super) id_length: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Shapes {
    places: [Option<Kept>; PLACES],
    /// Which of its places the next new shape takes, if all are.
    turn: usize,
}

#[derive(Debug)]
struct Kept {
    /// But for the texts that are not static.
    shape: Shape<'static>,
    endpoint: Option<Arc<str>>,
    error: Option<Box<str>>,
    form: Form,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { places: [const { None }; PLACES], turn: 0 }
    }
}

impl Shapes {
    /// What all spans of this shape have in common.
    pub(super) fn form(&mut self, shape: Shape<'_>) -> &Form {
        let home = shape.home();
        let place = |way: usize| (home + way) % PLACES;
        let is_here = |way: &usize| self.places[place(*way)].as_ref().is_some_and(|kept| kept.is_of(&shape));
        let way = (0..WAYS).find(is_here).unwrap_or_else(|| {
            let free = (0..WAYS).find(|way| self.places[place(*way)].is_none());
            let way = free.unwrap_or_else(|| {
                self.turn = (self.turn + 1) % WAYS;
                self.turn
            });
            self.places[place(way)] = None;
            way
        });
        &self.places[place(way)].get_or_insert_with(|| Kept::of(shape)).form
    }
}

impl Of {
    fn number(self) -> usize {
        match self {
            Self::Both => 0,
            Self::Call => 1,
            Self::Attempt(resends) => resends as usize + 2,
        }
    }
}

impl Shape<'_> {
    fn home(&self) -> usize {
        let text = |text: Option<&'static str>| text.map_or(0, |text| text.as_ptr().addr());
        let endpoint = self.endpoint.map_or(0, |name| name.as_ptr().addr() >> 3);
        let mixed = text(self.template)
            ^ text(self.method).rotate_left(7)
            ^ endpoint
            ^ usize::from(self.status.unwrap_or_default()).rotate_left(3)
            ^ self.of.number().rotate_left(11)
            ^ self.error.map_or(0, str::len).rotate_left(15)
            ^ self.id_length.map_or(0, |length| length + 1).rotate_left(19)
            ^ usize::from(self.has_parent).rotate_left(23);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize) >> (usize::BITS - PLACES.ilog2())
    }

    /// The fields of a call's span. By the conventions only what is sent is a client's request, or whoever counts those would count twice;
    /// so what the attempts say is not said again.
    fn call(&self) -> Vec<u8> {
        let mut written = Vec::new();
        let mut out = Out(&mut written);
        self.name(&mut out, Kind::Internal);
        self.end(&mut out);
        written
    }

    /// The fields of an attempt's span.
    fn attempt(&self, resends: u32) -> Vec<u8> {
        let mut written = Vec::new();
        let mut out = Out(&mut written);
        self.name(&mut out, Kind::Client);
        if let Some(method) = self.method {
            out.text("http.request.method", method);
        }
        if let Some(template) = self.template {
            out.text("url.template", template);
        }
        if let Some(endpoint) = self.endpoint {
            let Server { address, port } = Server::of(endpoint);
            out.text("server.address", &address);
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                out.number("server.port", port);
            }
        }
        if let Some(status) = self.status {
            out.number("http.response.status_code", u64::from(status));
        }
        if resends > 0 {
            out.number("http.request.resend_count", u64::from(resends));
        }
        self.end(&mut out);
        written
    }

    fn name(&self, out: &mut Out<'_>, kind: Kind) {
        out.name(self.method.filter(|method| *method != "_OTHER").unwrap_or("HTTP"), self.template);
        out.kind(kind);
    }

    fn end(&self, out: &mut Out<'_>) {
        match (self.error, self.status) {
            (Some(error), _) => out.error(error),
            // As the conventions want it of a client.
            (None, Some(status @ 400..)) => out.error(&status.to_string()),
            _ => {}
        }
        // Whether a call's parent is in another process or the handler that makes it, nobody tells.
        out.flags(false);
    }
}

impl Kept {
    fn of(shape: Shape<'_>) -> Self {
        let mut form = Form::default();
        match shape.of {
            Of::Both => {
                form.span(true, &shape.attempt(0), None);
                form.span(shape.has_parent, &shape.call(), shape.id_length);
            }
            Of::Call => form.span(shape.has_parent, &shape.call(), shape.id_length),
            Of::Attempt(resends) => form.span(true, &shape.attempt(resends), None),
        }
        Self {
            form,
            endpoint: shape.endpoint.cloned(),
            error: shape.error.map(Into::into),
            shape: Shape { endpoint: None, error: None, ..shape },
        }
    }

    /// Static texts are compared by where they are, which may find a difference where there is none, never the other way round.
    fn is_of(&self, other: &Shape<'_>) -> bool {
        let place = |text: Option<&'static str>| text.map(|text| (text.as_ptr(), text.len()));
        let (own, endpoints) = (&self.shape, (&self.endpoint, other.endpoint));
        own.of == other.of
            && own.status == other.status
            && own.has_parent == other.has_parent
            && own.id_length == other.id_length
            && place(own.template) == place(other.template)
            && place(own.method) == place(other.method)
            && self.error.as_deref() == other.error
            && match endpoints {
                (Some(own), Some(other)) => Arc::ptr_eq(own, other),
                (None, None) => true,
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message;

    use super::*;
    use crate::otlp::encode::Ids;

    fn attribute(span: &Span, key: &str) -> Option<String> {
        span.attributes.iter().find(|attribute| attribute.key == key).map(|found| format!("{found:?}"))
    }

    #[test]
    fn whatever_came_before_a_span_has_its_own_facts() {
        let endpoints: [Arc<str>; 3] = ["http://a:1", "http://b:2", "east"].map(Arc::from);
        let (mut shapes, mut rng) = (Shapes::default(), fastrand::Rng::with_seed(1));
        for _ in 0..20_000 {
            let endpoint = rng.choice(&endpoints).unwrap();
            let status = *rng.choice(&[None, Some(200), Some(503)]).unwrap();
            let kind = if status.is_some() { None } else { *rng.choice(&[None, Some("timeout")]).unwrap() };
            let of = *rng.choice(&[Of::Both, Of::Call, Of::Attempt(0), Of::Attempt(2)]).unwrap();
            let method = *rng.choice(&[None, Some("POST"), Some("_OTHER")]).unwrap();
            let template = *rng.choice(&[None, Some("/a"), Some("/b")]).unwrap();
            let (has_parent, id_length) = (rng.bool(), *rng.choice(&[None, Some(1), Some(36)]).unwrap());
            let shape =
                Shape { of, method, template, endpoint: Some(endpoint), status, error: kind, has_parent, id_length };
            let error = if status == Some(503) { Some("503") } else { kind };
            let id = id_length.map(|length| "a".repeat(length));
            let call = Ids { trace_id: 1, id: 2, parent: has_parent.then_some(3), start: 4, end: 5 };
            let attempt = Ids { id: 4, parent: Some(2), ..call };
            let ids = match of {
                Of::Both => vec![attempt, call],
                Of::Call => vec![call],
                Of::Attempt(_) => vec![attempt],
            };
            let mut bytes = Vec::new();
            shapes.form(shape).append(&mut bytes, &ids, id.as_deref().map(str::as_bytes));
            let spans = ScopeSpans::decode(&bytes[..]).unwrap().spans;
            assert_eq!(spans.len(), ids.len());
            for span in &spans {
                let verb = method.filter(|method| *method == "POST").unwrap_or("HTTP");
                assert_eq!(span.name, template.map_or(verb.to_owned(), |template| format!("{verb} {template}")));
                assert_eq!(span.status.as_ref().map(|status| status.code), error.map(|_| 2));
                assert!(span.status.as_ref().is_none_or(|status| status.message.is_empty()));
                let told = attribute(span, "error.type");
                assert_eq!(told.is_some(), error.is_some());
                assert!(told.is_none_or(|told| error.is_some_and(|error| told.contains(error))));
                if span.kind == 1 {
                    assert_eq!((span.span_id[7], span.parent_span_id.is_empty()), (2, !has_parent));
                    let told = attribute(span, "correlation_id");
                    assert_eq!(told.is_some(), id.is_some());
                    assert!(told.is_none_or(|told| told.contains(id.as_deref().unwrap())));
                    assert_eq!(span.attributes.len(), usize::from(id.is_some()) + usize::from(error.is_some()));
                } else {
                    assert_eq!((span.kind, span.span_id[7], span.parent_span_id[7]), (3, 4, 2));
                    assert_eq!(attribute(span, "correlation_id"), None);
                    let address = attribute(span, "server.address").unwrap();
                    let host = endpoint.trim_start_matches("http://").split(':').next().unwrap();
                    assert!(address.contains(host), "{address}");
                    assert_eq!(attribute(span, "server.port").is_some(), &**endpoint != "east");
                    assert_eq!(attribute(span, "url.template").is_some(), template.is_some());
                    assert_eq!(attribute(span, "http.request.method").is_some(), method.is_some());
                    let code = attribute(span, "http.response.status_code");
                    assert_eq!(code.is_some(), status.is_some());
                    assert!(code.is_none_or(|code| code.contains(&status.unwrap().to_string())));
                    assert_eq!(attribute(span, "http.request.resend_count").is_some(), of == Of::Attempt(2));
                }
            }
        }
    }
}
