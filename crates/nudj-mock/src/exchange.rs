//! One request from arrival to the order of what to send: the log, the faults, the API.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::Router;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header, response};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, sleep};
use tower_service::Service;

use crate::{
    api::{Arrived, Failure, World, envelope, refuse},
    body::{Pace, len},
    error::lock,
    faults::{Arrival, Ending, Payload, RetryAfter, Rules, Verdict},
    log::RequestLog,
};

/// Everything that instances share.
pub(crate) struct Core {
    pub(crate) world: Arc<World>,
    pub(crate) router: Router,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) log: Mutex<RequestLog>,
    pub(crate) most_body_bytes: usize,
    pub(crate) accepted: Vec<AtomicU64>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Tls>,
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Nothing: the connection closes.
    Closed,
    /// Nothing, since the client gave up its request: over HTTP/2 its stream ends and no other, over HTTP/1.1 the connection.
    Abandoned,
    Answer {
        head: response::Parts,
        body: Payload,
        pace: Pace,
    },
}

impl Core {
    pub(crate) async fn exchange<B>(&self, instance: usize, request: Request<B>) -> Delivery
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let to_head = head.method == Method::HEAD;
        let body = match Limited::new(body, self.most_body_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = "The request body is too large".to_owned();
                let (head, body) =
                    received(refuse(&Failure { status: StatusCode::PAYLOAD_TOO_LARGE, message }, "")).await;
                return deliver(to_head, head, body, Ending::Whole);
            }
            // The client went away inside its own body.
            Err(_) => return Delivery::Abandoned,
        };
        let now = Instant::now();
        let sequence = lock(&self.log).record(instance, &head, &body, now);
        let arrival = Arrival { instance, method: &head.method, path: head.uri.path() };
        let plan = lock(&self.rules).decide(arrival, now);
        if !plan.delay.is_zero() {
            sleep(plan.delay).await;
        }
        let (mut head, body) = match plan.verdict {
            Verdict::Close => return Delivery::Closed,
            Verdict::Hang => std::future::pending().await,
            Verdict::Execute => self.execute(Request::from_parts(head, body)).await,
            Verdict::Status(status) => fault_envelope(status),
            Verdict::Answer(canned) => (parts(canned.status, canned.content_type), canned.body),
        };
        match plan.ending {
            Ending::Lost => return Delivery::Closed,
            Ending::Never => std::future::pending().await,
            Ending::Whole | Ending::Truncated(_) | Ending::Drip { .. } => {}
        }
        // Replaces what has the same name.
        head.headers.extend(plan.headers);
        if let Some(retry_after) = plan.retry_after {
            head.headers.insert(header::RETRY_AFTER, self.retry_after(retry_after));
        }
        lock(&self.log).answered(sequence, head.status);
        deliver(to_head, head, body, plan.ending)
    }

    async fn execute(&self, request: Request<Bytes>) -> (response::Parts, Payload) {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Arrived(body));
        let request = Request::from_parts(head, axum::body::Body::empty());
        // axum's router is always ready, and cannot fail.
        let response = match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        received(response).await
    }

    fn retry_after(&self, wait: RetryAfter) -> HeaderValue {
        match wait {
            RetryAfter::Seconds(seconds) => HeaderValue::from(seconds),
            RetryAfter::Date(wait) => {
                let at = self.world.clock.now().checked_add(wait);
                let date = httpdate::fmt_http_date(writable(at));
                HeaderValue::from_str(&date).unwrap_or(HeaderValue::from_static("0"))
            }
        }
    }

    pub(crate) fn count_connection(&self, instance: usize) {
        if let Some(accepted) = self.accepted.get(instance) {
            accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The time, or what comes closest to it among those that an HTTP-date can say: from 1970 to 9999. `None` is later than all.
fn writable(at: Option<SystemTime>) -> SystemTime {
    let last = UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799)).unwrap_or(UNIX_EPOCH);
    at.map_or(last, |at| at.clamp(UNIX_EPOCH, last))
}

/// Of an answer to HEAD only the head is sent, with the length of what it would have been; HTTP/2 takes a body there for an error.
fn deliver(to_head: bool, mut head: response::Parts, body: Payload, ending: Ending) -> Delivery {
    let full = len(&body);
    if to_head && full > 0 {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(full));
    }
    let body = if to_head { Payload::Bytes(Bytes::new()) } else { body };
    let pace = pace(ending, len(&body));
    Delivery::Answer { head, body, pace }
}

fn pace(ending: Ending, len: u64) -> Pace {
    match ending {
        Ending::Truncated(bytes) if len > 0 => {
            let most = usize::try_from(len - 1).unwrap_or(usize::MAX);
            Pace::Cut(bytes.min(most))
        }
        Ending::Drip { chunk, every } => Pace::Drip { chunk, every },
        Ending::Whole | Ending::Lost | Ending::Never | Ending::Truncated(_) => Pace::Whole,
    }
}

fn parts(status: StatusCode, content_type: Option<HeaderValue>) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    if let Some(content_type) = content_type {
        head.headers.insert(header::CONTENT_TYPE, content_type);
    }
    head
}

/// A fault's status in the documented envelope; without a body where HTTP allows none.
fn fault_envelope(status: StatusCode) -> (response::Parts, Payload) {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return (parts(status, None), Payload::Bytes(Bytes::new()));
    }
    let message = status.canonical_reason().unwrap_or("Injected fault");
    let body = match status.is_success() {
        true => "{}".to_owned(),
        false => envelope(status, message, "injectedFault").to_string(),
    };
    (parts(status, Some(HeaderValue::from_static("application/json"))), Payload::Bytes(Bytes::from(body)))
}

async fn received(response: axum::response::Response) -> (response::Parts, Payload) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    (head, Payload::Bytes(body))
}
