//! The transport at its place in the stack: for each endpoint, bound to it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Response, Uri};
use http_body_util::Full;
use nudj_tower::{
    BoxError, HttpRequest as _,
    classify::TransportError,
    round_robin::{Endpoint, Origin},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{Hyper, HyperFuture};
use crate::service::WholeCall;

/// What [`OriginLayer`](nudj_tower::round_robin::OriginLayer) does, and more: the endpoint's connections are looked up once, and a request
/// whose URI is a path, as ours are, is sent as it is.
#[derive(Clone, Debug)]
pub(crate) struct BoundLayer {
    origin: Option<Arc<Origin>>,
}

impl BoundLayer {
    /// Sends to the endpoint's origin. Requests to an endpoint without one stay as they are.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { origin: endpoint.origin().cloned().map(Arc::new) }
    }
}

impl Layer<Hyper> for BoundLayer {
    type Service = Bound;

    fn layer(&self, transport: Hyper) -> Bound {
        let bound = self.origin.as_deref().and_then(|origin| transport.bound_to(origin));
        let located = bound.is_none() || self.origin.as_deref().is_some_and(Origin::has_prefix);
        Bound { transport: bound.unwrap_or(transport), located, origin: self.origin.clone() }
    }
}

/// The transport, bound to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    transport: Hyper,
    origin: Option<Arc<Origin>>,
    /// Whether each URI has to be completed.
    located: bool,
}

impl Service<WholeCall> for Bound {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = BoxError;
    type Future = HyperFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.transport.poll_ready(cx)
    }

    fn call(&mut self, mut call: WholeCall) -> Self::Future {
        if let Some(origin) = &self.origin {
            if (self.located || names_an_origin(call.uri()))
                && let Err(error) = locate(call.uri_mut(), origin)
            {
                return HyperFuture::failed(TransportError::InvalidRequest(error.into()));
            }
            origin.record_in_current_span();
        }
        self.transport.call(call.into_request())
    }
}

fn names_an_origin(uri: &Uri) -> bool {
    uri.scheme().is_some() || uri.authority().is_some()
}

fn locate(uri: &mut Uri, origin: &Origin) -> Result<(), http::Error> {
    *uri = origin.locate(std::mem::take(uri))?;
    Ok(())
}
