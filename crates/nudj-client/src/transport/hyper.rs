//! The service that the stack stands on, over either transport.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::Collect};
use nudj_tower::{BoxError, classify::TransportError};
use pin_project_lite::pin_project;
use tower_http::decompression::{Decompression, DecompressionBody, ResponseFuture as DecompressionFuture};
use tower_service::Service;

use super::{
    framing,
    wire::{Wire, WireBody, WireFuture},
};
use crate::config::HttpConfig;

/// A service that sends a request with an absolute URI and answers with the whole body.
///
/// Clones share one connection pool. Its error is always a [`TransportError`].
#[derive(Clone)]
pub struct Hyper {
    wire: Decompression<Wire>,
    max_response_bytes: usize,
}

impl Hyper {
    /// A transport with a pool of its own, of the kind that [`HttpConfig::transport`] names.
    ///
    /// # Errors
    /// [`crate::Error`] of kind `config` when TLS cannot be set up.
    pub fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        Ok(Self { wire: Decompression::new(Wire::new(config)?), max_response_bytes: config.max_response_bytes })
    }

    /// Refuses new calls and those that wait for a connection, then waits until the last exchange has ended and its connection
    /// is closed. Bound it by a timeout if a server may hang. Dropping the future ends only the waiting. With
    /// `transport = "legacy"` it does nothing: there the connections close when the last clone is dropped.
    pub async fn shutdown(&self) {
        self.wire.get_ref().shutdown().await;
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
        *request.version_mut() = http::Version::HTTP_11;
        HyperFuture {
            state: State::Head { future: self.wire.call(request) },
            max_response_bytes: self.max_response_bytes,
        }
    }
}

impl fmt::Debug for Hyper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyper").field("max_response_bytes", &self.max_response_bytes).finish_non_exhaustive()
    }
}

pin_project! {
    /// The whole exchange: head, then body. Dropping it closes an HTTP/1.1 connection or resets an HTTP/2 stream.
    pub struct HyperFuture {
        #[pin]
        state: State,
        max_response_bytes: usize,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Head { #[pin] future: DecompressionFuture<WireFuture> },
        Body { parts: Option<http::response::Parts>, #[pin] body: Collect<Limited<DecompressionBody<WireBody>>> },
    }
}

impl Future for HyperFuture {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { future } => {
                    let (parts, body) = ready!(future.poll(cx))?.into_parts();
                    let limit = *this.max_response_bytes;
                    // What the head announces need not be read to be refused; the answer to a HEAD announces and sends nothing.
                    if body.size_hint().lower() > limit as u64 {
                        return Poll::Ready(Err(TransportError::BodyTooLarge { limit }.into()));
                    }
                    let body = Limited::new(body, limit).collect();
                    this.state.set(State::Body { parts: Some(parts), body });
                }
                StateProj::Body { parts, body } => {
                    let limit = *this.max_response_bytes;
                    let body = ready!(body.poll(cx)).map_err(|error| body_error(error, limit))?.to_bytes();
                    return Poll::Ready(match parts.take() {
                        Some(parts) => Ok(Response::from_parts(parts, Full::new(body))),
                        None => Err(TransportError::Exchange("polled after completion".into()).into()),
                    });
                }
            }
        }
    }
}

impl fmt::Debug for HyperFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperFuture").finish_non_exhaustive()
    }
}

fn body_error(error: BoxError, limit: usize) -> BoxError {
    Box::new(if error.is::<LengthLimitError>() {
        TransportError::BodyTooLarge { limit }
    } else {
        TransportError::Exchange(error)
    })
}
