//! A small client: one request in, status, headers and body out.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nudj_mock::{BoxError, MockNudj, MockService};
use serde_json::Value;
use tower_service::Service;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) json: Value,
}

impl Answer {
    async fn of<B>(response: Response<B>) -> Result<Self, BoxError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, bytes, json })
    }

    /// The documented envelope, as (status, code, message, procedure).
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, &str, &str, &str) {
        let text = |value: &'_ Value| value.as_str().map(str::to_owned).unwrap_or_default();
        assert_eq!(self.json["data"]["httpStatus"], self.status.as_u16(), "{}", text(&self.json["message"]));
        (
            self.status.as_u16(),
            self.json["code"].as_str().unwrap(),
            self.json["message"].as_str().unwrap(),
            self.json["data"]["path"].as_str().unwrap(),
        )
    }
}

pub(crate) fn request(method: Method, uri: &str, token: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri).header("x-api-token", token);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    request.body(Full::new(body)).unwrap()
}

/// Calls over sockets, keeping connections alive.
pub(crate) struct Http {
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
}

impl Http {
    pub(crate) fn new() -> Self {
        Self::with(false)
    }

    pub(crate) fn with(http2: bool) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.retry_canceled_requests(false).http2_only(http2);
        Self { client: builder.build_http() }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
        let answer = async { Answer::of(self.client.request(request).await?).await };
        tokio::time::timeout(Duration::from_secs(20), answer).await?
    }

    pub(crate) async fn get(&self, mock: &MockNudj, path: &str) -> Result<Answer, BoxError> {
        self.send(request(Method::GET, &format!("{}{path}", mock.url()), mock.token(), None)).await
    }
}

/// Calls in memory.
pub(crate) async fn send(mock: &MockService, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
    Answer::of(mock.clone().call(request).await?).await
}

pub(crate) async fn call(mock: &MockService, method: Method, path: &str, body: Option<Value>) -> Answer {
    send(mock, request(method, path, mock.token(), body.as_ref())).await.unwrap()
}

pub(crate) async fn get(mock: &MockService, path: &str) -> Answer {
    call(mock, Method::GET, path, None).await
}

pub(crate) async fn post(mock: &MockService, path: &str, body: Value) -> Answer {
    call(mock, Method::POST, path, Some(body)).await
}

#[track_caller]
pub(crate) fn id_of(answer: &Answer) -> String {
    answer.json["id"].as_str().unwrap().to_owned()
}
