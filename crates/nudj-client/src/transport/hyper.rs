//! The service that the stack stands on, over either transport.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
    response::Parts,
};
use http_body::Body;
use http_body_util::Full;
use nudj_tower::{BoxError, classify::TransportError};
use pin_project_lite::pin_project;
use tower::service_fn;
use tower_http::decompression::Decompression;
use tower_service::Service;

use super::{
    framing,
    reading::Reading,
    wire::{Wire, WireBody, WireFuture},
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
        request.headers_mut().entry(ACCEPT_ENCODING).or_insert(GZIP);
        *request.version_mut() = http::Version::HTTP_11;
        HyperFuture { state: State::Head { future: self.wire.call(request) }, limit: self.max_response_bytes }
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
        limit: usize,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Head { #[pin] future: WireFuture },
        Plain { parts: Option<Parts>, #[pin] body: Reading<WireBody> },
        // Boxed, so that answers which need no inflating do not carry the room for it through every layer.
        Inflating { answer: Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>> },
    }
}

impl Future for HyperFuture {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = *this.limit;
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Head { future } => {
                    let response = ready!(future.poll(cx))?;
                    if response.headers().contains_key(CONTENT_ENCODING) {
                        State::Inflating { answer: Box::pin(inflate(response, limit)) }
                    } else if response.body().size_hint().lower() > limit as u64 {
                        // What the head announces need not be read to be refused; the answer to a HEAD announces and sends
                        // nothing.
                        return Poll::Ready(Err(TransportError::BodyTooLarge { limit }.into()));
                    } else {
                        let (parts, body) = response.into_parts();
                        State::Plain { parts: Some(parts), body: Reading::new(body, limit) }
                    }
                }
                StateProj::Plain { parts, body } => {
                    let body = ready!(body.poll(cx))?;
                    return Poll::Ready(match parts.take() {
                        Some(parts) => Ok(Response::from_parts(parts, Full::new(body))),
                        None => Err(TransportError::Exchange("polled after completion".into()).into()),
                    });
                }
                StateProj::Inflating { answer } => return answer.as_mut().poll(cx),
            };
            this.state.set(next);
        }
    }
}

/// Inflates what is encoded in a way that was asked for; anything else is left to the caller as it came.
async fn inflate(response: Response<WireBody>, limit: usize) -> Result<Response<Full<Bytes>>, BoxError> {
    let mut response = Some(response);
    let answer = service_fn(move |_: Request<()>| ready(response.take().ok_or("answered twice")));
    let (parts, body) = Decompression::new(answer).call(Request::new(())).await?.into_parts();
    Ok(Response::from_parts(parts, Full::new(Reading::new(body, limit).await?)))
}

impl fmt::Debug for HyperFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperFuture").finish_non_exhaustive()
    }
}
