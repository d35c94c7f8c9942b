//! Exports over the client's own hyper transport, tried again while the collector cannot take them.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, Full};
use nudj_client::{config::HttpConfig, transport::Hyper};
use nudj_tower::ConfigError;
use prost::Message;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::{
    config::{ExportError, OtlpConfig, OtlpError},
    message::{Answer, PartialSuccess},
};

/// A collector's answer is a few bytes.
const MOST_ANSWER: usize = 64 * 1024;
/// The wait before the first repeat, half of it left to chance; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Sender {
    hyper: Hyper,
    to: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

impl Sender {
    /// Sends to `path` of the configured collector.
    pub(super) fn new(config: &OtlpConfig, path: &str) -> Result<Self, OtlpError> {
        // Whether plain HTTP may leave this machine was for `OtlpConfig::validate`, which guards the headers.
        let hyper = Hyper::new(&HttpConfig { max_response_bytes: MOST_ANSWER, ..HttpConfig::default() })?;
        let to = format!("{}{path}", config.endpoint.trim_end_matches('/'))
            .parse()
            .map_err(|_| ConfigError::new("endpoint", "is no URL"))?;
        let mut headers = config.headers.to_send()?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self { hyper, to, headers, timeout: config.timeout })
    }

    /// Sends `body` within the timeout, repeats and waits included. Says what of it was not taken after all.
    pub(super) async fn send(&self, body: &Bytes) -> Result<PartialSuccess, ExportError> {
        let mut last = None;
        match timeout(self.timeout, self.until_taken(body, &mut last)).await {
            Ok(ended) => ended,
            Err(_) => Err(last.unwrap_or(ExportError::Timeout)),
        }
    }

    async fn until_taken(&self, body: &Bytes, last: &mut Option<ExportError>) -> Result<PartialSuccess, ExportError> {
        let mut wait = FIRST_WAIT;
        loop {
            let asked = match self.once(body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err((error, None)) => return Err(error),
                Err((error, Some(asked))) => {
                    *last = Some(error);
                    asked
                }
            };
            sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// An error comes with the time to wait before another try, where one makes sense.
    async fn once(&self, body: Bytes) -> Result<PartialSuccess, (ExportError, Option<Duration>)> {
        let mut request = Request::post(self.to.clone()).body(Full::new(body)).unwrap_or_default();
        request.headers_mut().clone_from(&self.headers);
        let answer = match self.hyper.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(error) => return Err((ExportError::Unreachable(error), Some(Duration::ZERO))),
        };
        let status = answer.status();
        if status.is_success() {
            // An answer that cannot be read says nothing against what was sent.
            let body = answer.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
            return Ok(Answer::decode(body).unwrap_or_default().partial_success.unwrap_or_default());
        }
        let is_busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]
        .contains(&status);
        let seconds = || answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok();
        let wait = is_busy.then(|| seconds().map_or(Duration::ZERO, Duration::from_secs));
        Err((ExportError::Refused(status.as_u16()), wait))
    }
}

/// A header of the configuration as it is sent: its value shows nowhere.
pub(super) fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, mut value) = (HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    value.set_sensitive(true);
    Some((name, value))
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("to", &self.to).finish_non_exhaustive()
    }
}
