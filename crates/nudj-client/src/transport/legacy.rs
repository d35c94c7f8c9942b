//! The transport over hyper-util's `client::legacy`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::Collect};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as LegacyError, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use nudj_tower::{
    BoxError,
    classify::{TransportError, find_in_chain},
};
use pin_project_lite::pin_project;
use tower_http::decompression::{Decompression, DecompressionBody, ResponseFuture as DecompressionFuture};
use tower_service::Service;

use super::framing;
use crate::config::{HttpConfig, HttpVersion};

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
type Connector = HttpConnector;

/// A service that sends a request with an absolute URI and answers with the whole body.
///
/// Clones share one connection pool. Its error is always a [`TransportError`].
#[derive(Clone)]
pub struct Hyper {
    client: Decompression<Client<Connector, Full<Bytes>>>,
    max_response_bytes: usize,
}

impl Hyper {
    /// A transport with a pool of its own.
    ///
    /// # Errors
    /// [`crate::Error`] of kind `config` when TLS cannot be set up.
    pub fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle_timeout)
            .pool_max_idle_per_host(config.pool_max_idle_per_host)
            .retry_canceled_requests(false)
            .http2_only(config.version == HttpVersion::Http2)
            .http2_keep_alive_interval(Some(Duration::from_secs(20)))
            .http2_keep_alive_timeout(Duration::from_secs(10));
        Ok(Self {
            client: Decompression::new(builder.build(connector(config)?)),
            max_response_bytes: config.max_response_bytes,
        })
    }
}

fn connector(config: &HttpConfig) -> Result<Connector, crate::Error> {
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(config.connect_timeout));
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(60)));
    http.enforce_http(false);
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    {
        let ca = config
            .ca_file
            .as_deref()
            .map(std::fs::read)
            .transpose()
            .map_err(|error| crate::Error::config("http.ca_file", format!("cannot be read: {error}")))?;
        let tls = super::tls::client_config(ca.as_deref())
            .map_err(|error| crate::Error::config("http.ca_file", error.to_string()).caused_by(error))?;
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        Ok(match config.version {
            HttpVersion::Auto => https.enable_all_versions().wrap_connector(http),
            HttpVersion::Http1 => https.enable_http1().wrap_connector(http),
            HttpVersion::Http2 => https.enable_http2().wrap_connector(http),
        })
    }
    #[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
    Ok(http)
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
            state: State::Head { future: self.client.call(request) },
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
        Head { #[pin] future: DecompressionFuture<ResponseFuture> },
        Body { parts: Option<http::response::Parts>, #[pin] body: Collect<Limited<DecompressionBody<Incoming>>> },
    }
}

impl Future for HyperFuture {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { future } => {
                    let (parts, body) = ready!(future.poll(cx)).map_err(head_error)?.into_parts();
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

fn head_error(error: LegacyError) -> BoxError {
    let connect = error.is_connect();
    // hyper cancels a request that still stands in its queue when a pooled connection turns out to be dead.
    let unsent = find_in_chain::<hyper::Error>(&error).is_some_and(hyper::Error::is_canceled);
    let error = Box::new(error);
    Box::new(match (connect, unsent) {
        (true, _) => TransportError::Connect(error),
        (_, true) => TransportError::Unsent(error),
        _ => TransportError::Exchange(error),
    })
}

fn body_error(error: BoxError, limit: usize) -> BoxError {
    Box::new(if error.is::<LengthLimitError>() {
        TransportError::BodyTooLarge { limit }
    } else {
        TransportError::Exchange(error)
    })
}
