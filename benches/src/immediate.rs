use std::{
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_tower::BoxError;
use tower::Service;

/// The body of requests and answers.
pub type Body = Full<Bytes>;

/// A service that answers at once.
#[derive(Clone, Copy, Debug)]
pub struct Immediate;

impl Service<Request<Body>> for Immediate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::default())))
    }
}

/// A request as a client makes it: four headers, no context.
#[must_use]
pub fn request() -> Request<Body> {
    Request::post("http://localhost/api/v2/admin/users")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("x-language", "en")
        .header("user-agent", "bench")
        .body(Full::from(Bytes::from_static(b"{\"email\":\"ada@example.org\"}")))
        .unwrap_or_default()
}
