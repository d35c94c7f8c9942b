//! The exporter's requests over the client's own hyper transport.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use nudj_client::{config::HttpConfig, transport::Hyper};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{runtime::Handle, task::JoinSet};
use tower::ServiceExt;

/// A collector's answer is a few bytes.
const MOST_ANSWER: usize = 64 * 1024;

pub(super) struct Sender {
    hyper: Hyper,
    runtime: Handle,
}

impl Sender {
    pub(super) fn new(runtime: Handle) -> Result<Self, nudj_client::Error> {
        // Whether plain HTTP may leave this machine is for `Config::validate`, which guards the token; here goes none.
        let hyper = Hyper::new(&HttpConfig { max_response_bytes: MOST_ANSWER, ..HttpConfig::default() })?;
        Ok(Self { hyper, runtime })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The exporter's threads know no Tokio: the exchange runs on ours. Dropping the set ends it.
        let mut exchange = JoinSet::new();
        exchange.spawn_on(self.hyper.clone().oneshot(request.map(Full::new)), &self.runtime);
        let answer = exchange.join_next().await.ok_or("the runtime has gone")???;
        let (parts, body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
