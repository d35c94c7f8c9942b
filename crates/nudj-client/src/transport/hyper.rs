//! The service that the stack stands on, over either transport.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, RANGE},
};
use http_body_util::Full;
use nudj_tower::{BoxError, classify::TransportError, round_robin::Origin};
use tower_service::Service;

use super::{
    framing,
    outgoing::Outgoing,
    wire::{WholeExchange, Wire},
};
use crate::config::HttpConfig;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// A service that sends a request with an absolute URI and answers with the whole body.
///
/// Clones share one connection pool. Its error is always a [`TransportError`].
#[derive(Clone)]
pub struct Hyper {
    wire: Wire,
    max_response_bytes: usize,
}

impl Hyper {
    /// A transport with a pool of its own, of the kind that [`HttpConfig::transport`] names.
    ///
    /// # Errors
    /// [`crate::Error`] of kind `config` when TLS cannot be set up.
    pub fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        Ok(Self { wire: Wire::new(config)?, max_response_bytes: config.max_response_bytes })
    }

    /// Refuses new calls and those that wait for a connection, then waits until the last exchange has ended and its connection
    /// is closed. Bound it by a timeout if a server may hang. Dropping the future ends only the waiting. With
    /// `transport = "legacy"` it does nothing: there the connections close when the last clone is dropped.
    pub async fn shutdown(&self) {
        self.wire.shutdown().await;
    }

    /// Sends what has no framing headers of its own.
    #[inline]
    pub(super) fn send(&self, mut request: impl Outgoing) -> HyperFuture {
        // A range is one of what the server would send, so that a part of what is encoded could not be inflated.
        let headers = request.headers_mut();
        if !headers.contains_key(RANGE) {
            headers.entry(ACCEPT_ENCODING).or_insert(GZIP);
        }
        HyperFuture(self.wire.exchange(request, self.max_response_bytes))
    }

    /// The same transport for requests to one origin only, whose URIs need not name it; `None` where that is no advantage. Keeps no
    /// connection open by itself: that takes the transport it was made of.
    pub(super) fn bound_to(&self, origin: &Origin) -> Option<Self> {
        let Wire::Pool(pool) = &self.wire else { return None };
        let wire = Wire::Bound(pool.bound_to(origin).ok()?);
        Some(Self { wire, max_response_bytes: self.max_response_bytes })
    }
}

impl Service<Request<Full<Bytes>>> for Hyper {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = HyperFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The pool takes any number of calls; what bounds them stands above.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> HyperFuture {
        framing::strip(request.headers_mut());
        self.send(request)
    }
}

impl fmt::Debug for Hyper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyper").field("max_response_bytes", &self.max_response_bytes).finish_non_exhaustive()
    }
}

/// The whole exchange: head, then body. Dropping it closes an HTTP/1.1 connection or resets an HTTP/2 stream.
pub struct HyperFuture(WholeExchange);

impl HyperFuture {
    pub(super) fn failed(error: TransportError) -> Self {
        Self(Box::pin(ready(Err(error.into()))))
    }
}

impl Future for HyperFuture {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for HyperFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperFuture").finish_non_exhaustive()
    }
}
