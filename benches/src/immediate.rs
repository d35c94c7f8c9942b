use std::{
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use nudj_tower::{BoxError, Call};
use tower::Service;

/// What `RequestBuilder` of nudj-client reserves. A clone keeps the table's size, though not the room in the list beside it.
const ROOM: usize = 12;

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

impl Service<Call<Body>> for Immediate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Body>) -> Self::Future {
        self.call(call.into_request())
    }
}

/// A request as the typed client makes it: four headers, a table with room for what layers and connection add, no context.
#[must_use]
pub fn request() -> Request<Body> {
    let mut request = Request::new(Full::from(Bytes::from_static(b"{\"email\":\"ada@example.org\"}")));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/api/v2/admin/users");
    let headers = request.headers_mut();
    headers.reserve(ROOM);
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-language", HeaderValue::from_static("en"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    request
}
