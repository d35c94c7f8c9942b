//! What spans of one shape have in common, written once: most spans of a client differ in ids and times only.

use std::sync::Arc;

use super::encode::{Kind, Out};
use crate::metrics::Server;

/// As many shapes are kept, each in the one place it can be in; another takes its place.
const PLACES: usize = 32;

/// What tells one shape from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    /// `None` for a call, else how often an attempt's request had been sent before.
    pub(super) resends: Option<u32>,
    pub(super) method: Option<&'static str>,
    pub(super) template: Option<&'static str>,
    pub(super) endpoint: Option<&'a Arc<str>>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<&'a str>,
}

#[derive(Debug, Default)]
pub(super) struct Shapes([Option<Kept>; PLACES]);

#[derive(Debug)]
struct Kept {
    /// But for the texts that are not static.
    shape: Shape<'static>,
    endpoint: Option<Arc<str>>,
    error: Option<Box<str>>,
    written: Vec<u8>,
}

impl Shapes {
    /// The fields that all spans of this shape have, in the protocol's form.
    pub(super) fn written(&mut self, shape: Shape<'_>) -> &[u8] {
        let place = &mut self.0[shape.place()];
        match place {
            Some(kept) if kept.is_of(&shape) => {}
            _ => *place = Some(Kept::of(shape)),
        }
        place.as_ref().map_or(&[], |kept| &kept.written)
    }
}

impl Shape<'_> {
    fn place(&self) -> usize {
        let text = |text: Option<&'static str>| text.map_or(0, |text| text.as_ptr().addr());
        let endpoint = self.endpoint.map_or(0, |name| name.as_ptr().addr() >> 3);
        let mixed = text(self.template)
            ^ text(self.method).rotate_left(7)
            ^ endpoint
            ^ usize::from(self.status.unwrap_or_default()).rotate_left(3)
            ^ self.resends.map_or(0, |resends| resends as usize + 1).rotate_left(11);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as usize) >> (usize::BITS - PLACES.ilog2())
    }
}

impl Kept {
    fn of(shape: Shape<'_>) -> Self {
        let mut written = Vec::new();
        let mut out = Out(&mut written);
        out.name(shape.method.filter(|method| *method != "_OTHER").unwrap_or("HTTP"), shape.template);
        out.kind(Kind::Client);
        if let Some(method) = shape.method {
            out.text("http.request.method", method);
        }
        if let Some(template) = shape.template {
            out.text("url.template", template);
        }
        if let Some(endpoint) = shape.endpoint {
            let Server { address, port } = Server::of(endpoint);
            out.text("server.address", &address);
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                out.number("server.port", port);
            }
        }
        if let Some(status) = shape.status {
            out.number("http.response.status_code", u64::from(status));
        }
        if let Some(resends) = shape.resends.filter(|resends| *resends > 0) {
            out.number("http.request.resend_count", u64::from(resends));
        }
        if let Some(error) = shape.error {
            out.error(error);
        }
        // Whether a call's parent is in another process or the handler that makes it, nobody tells.
        out.flags(false);
        let (endpoint, error) = (shape.endpoint.cloned(), shape.error.map(Into::into));
        let Shape { resends, method, template, status, .. } = shape;
        Self {
            shape: Shape { resends, method, template, endpoint: None, status, error: None },
            endpoint,
            error,
            written,
        }
    }

    /// Static texts are compared by where they are, which may find a difference where there is none, never the other way round.
    fn is_of(&self, other: &Shape<'_>) -> bool {
        let place = |text: Option<&'static str>| text.map(|text| (text.as_ptr(), text.len()));
        let (own, endpoints) = (&self.shape, (&self.endpoint, other.endpoint));
        own.resends == other.resends
            && own.status == other.status
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
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;

    fn shape(endpoint: &Arc<str>) -> Shape<'_> {
        let (method, template) = (Some("GET"), Some("/users/{id}"));
        Shape { resends: None, method, template, endpoint: Some(endpoint), status: Some(200), error: None }
    }

    #[test]
    fn whatever_came_before_a_span_has_its_own_facts() {
        let endpoints: [Arc<str>; 3] = ["http://a:1", "http://b:2", "east"].map(Arc::from);
        let (mut shapes, mut rng) = (Shapes::default(), fastrand::Rng::with_seed(1));
        for _ in 0..20_000 {
            let endpoint = rng.choice(&endpoints).unwrap();
            let status = *rng.choice(&[None, Some(200), Some(503)]).unwrap();
            let error = *rng.choice(&[None, Some("503"), Some("timeout")]).unwrap();
            let resends = *rng.choice(&[None, Some(0), Some(2)]).unwrap();
            let method = *rng.choice(&[None, Some("POST"), Some("_OTHER")]).unwrap();
            let template = *rng.choice(&[None, Some("/a"), Some("/b")]).unwrap();
            let shape = Shape { resends, status, error, method, template, ..shape(endpoint) };
            let span = Span::decode(shapes.written(shape)).unwrap();
            let has = |key: &str| {
                span.attributes.iter().find(|attribute| attribute.key == key).map(|found| format!("{found:?}"))
            };
            let verb = method.filter(|method| *method == "POST").unwrap_or("HTTP");
            assert_eq!(span.name, template.map_or(verb.to_owned(), |template| format!("{verb} {template}")));
            assert_eq!(span.kind, 3);
            let address = has("server.address").unwrap();
            assert!(address.contains(endpoint.trim_start_matches("http://").split(':').next().unwrap()), "{address}");
            assert_eq!(has("server.port").is_some(), &**endpoint != "east");
            assert_eq!(has("url.template").is_some(), template.is_some());
            assert_eq!(has("http.request.method").is_some(), method.is_some());
            let code = has("http.response.status_code");
            assert_eq!(
                code.is_some_and(|code| code.contains(&status.unwrap_or_default().to_string())),
                status.is_some()
            );
            assert_eq!(has("http.request.resend_count").is_some(), resends == Some(2));
            assert_eq!(span.status.map(|status| (status.code, status.message)), error.map(|_| (2, String::new())));
            let error_type = has("error.type");
            assert_eq!(error_type.is_some(), error.is_some());
            assert!(error_type.is_none_or(|found| error.is_some_and(|error| found.contains(error))));
        }
    }
}
