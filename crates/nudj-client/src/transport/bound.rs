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

use super::{Hyper, HyperFuture, outgoing::Outgoing as _};
use crate::service::WholeCall;

/// What [`OriginLayer`](nudj_tower::round_robin::OriginLayer) does, and more: the endpoint's connections are looked up once, and a request
/// whose URI is a path, as ours are, is sent as it is.
#[derive(Clone, Debug)]
pub(crate) struct BoundLayer {
    origin: Option<Origin>,
}

impl BoundLayer {
    /// Sends to the endpoint's origin. Requests to an endpoint without one stay as they are.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { origin: endpoint.origin().cloned() }
    }
}

impl Layer<Hyper> for BoundLayer {
    type Service = Bound;

    fn layer(&self, transport: Hyper) -> Bound {
        let bound = self.origin.as_ref().and_then(|origin| transport.bound_to(origin));
        let located = bound.is_none() || self.origin.as_ref().is_some_and(Origin::has_prefix);
        Bound(Arc::new(Parts { transport: bound.unwrap_or(transport), located, origin: self.origin.clone() }))
    }
}

/// The transport, bound to one endpoint. Cloned with each call, so it is one share of its parts.
#[derive(Clone, Debug)]
pub(crate) struct Bound(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    transport: Hyper,
    origin: Option<Origin>,
    /// Whether each URI has to be completed.
    located: bool,
}

impl Service<WholeCall> for Bound {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = BoxError;
    type Future = HyperFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The transport takes any number of calls.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: WholeCall) -> Self::Future {
        let Parts { transport, origin, located } = &*self.0;
        if let Some(origin) = origin {
            if *located {
                if let Err(error) = locate(call.uri_mut(), origin) {
                    return HyperFuture::failed(TransportError::InvalidRequest(error.into()));
                }
            } else {
                // Where it goes is settled: another origin would only be replaced, and then left out of what is sent.
                call.forget_origin();
            }
            origin.record_in_current_span();
        }
        transport.send(call)
    }
}

fn locate(uri: &mut Uri, origin: &Origin) -> Result<(), http::Error> {
    *uri = origin.locate(std::mem::take(uri))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use nudj_tower::Call;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tower::ServiceExt;

    use super::*;
    use crate::config::{HttpConfig, HttpVersion};

    /// Sends a request that names another origin.
    fn strayed(listener: &TcpListener, version: HttpVersion) -> (Uri, tokio::task::JoinHandle<bool>) {
        let at: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let config = HttpConfig { version, allow_http: true, ..HttpConfig::default() };
        let endpoint = Endpoint::at(at.to_string().parse().unwrap());
        let bound = BoundLayer::of(&endpoint).layer(Hyper::new(&config).unwrap());
        let request = Request::get("https://elsewhere.example/x?y=1").body(Full::default()).unwrap();
        (at, tokio::spawn(async move { bound.oneshot(Call::new(request)).await.is_ok() }))
    }

    #[tokio::test]
    async fn http1_takes_the_path_of_a_request_that_names_another_origin() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, call) = strayed(&listener, HttpVersion::Http1);
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("GET /x?y=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", at.authority().unwrap())), "{head}");
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert!(call.await.unwrap());
    }

    #[tokio::test]
    async fn http2_takes_the_path_of_a_request_that_names_another_origin() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, call) = strayed(&listener, HttpVersion::Http2);
        let mut peer = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
        let (request, mut answer) = peer.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().to_string(), format!("{at}x?y=1"));
        answer.send_response(Response::new(()), true).unwrap();
        // Frames move only while the connection is polled.
        tokio::spawn(async move { while peer.accept().await.is_some() {} });
        assert!(call.await.unwrap());
    }
}
