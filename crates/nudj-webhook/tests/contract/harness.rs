//! Senders, clocks and handlers for the tests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use nudj_webhook::{Delivery, Handler, Receiver, Scheme, Verifier, WallClock, WebhookConfig, WebhookService};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::ServiceExt as _;

pub(crate) const NUDJ_SECRET: &str = "it's a secret to everybody";
pub(crate) const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The second at which [`Clock`] begins.
pub(crate) const START: i64 = 1_760_000_000;

pub(crate) const USER_UPDATED: &[u8] = br#"{"event":"user.updated","data":{"user_id":"u-1"}}"#;

/// A wall clock that follows tokio's, so that a paused test stops both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant, Duration);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), Duration::ZERO)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn later(self, by: Duration) -> Self {
        Self(self.0, by)
    }
}

impl WallClock for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START.unsigned_abs()) + self.0.elapsed() + self.1
    }
}

pub(crate) fn config() -> WebhookConfig {
    WebhookConfig { max_body_bytes: 4096, ..WebhookConfig::default() }
}

/// Signs as a sender would.
pub(crate) fn nudj() -> Verifier {
    Verifier::new(Scheme::Nudj, [NUDJ_SECRET.into()]).unwrap()
}

pub(crate) fn standard() -> Verifier {
    Verifier::new(Scheme::Standard, [STANDARD_SECRET.into()]).unwrap()
}

pub(crate) fn signed_head(signer: &Verifier, id: &str, timestamp: i64, body: &[u8]) -> HeaderMap {
    let mut head = HeaderMap::new();
    let signature = signer.sign(id, timestamp, body).parse().unwrap();
    if signer.scheme() == Scheme::Standard {
        head.insert("webhook-id", id.parse().unwrap());
        head.insert("webhook-timestamp", timestamp.into());
        head.insert("webhook-signature", signature);
    } else {
        head.insert("x-nudj-signature", signature);
        head.insert("x-nudj-delivery-id", id.parse().unwrap());
    }
    head
}

pub(crate) fn request<B>(head: HeaderMap, body: B) -> Request<B> {
    let mut request = Request::post("/webhooks").body(body).unwrap();
    *request.headers_mut() = head;
    request
}

/// A delivery in the Nudj scheme.
pub(crate) fn delivery(id: &str, body: &[u8]) -> Request<Full<Bytes>> {
    request(signed_head(&nudj(), id, START, body), Full::new(Bytes::copy_from_slice(body)))
}

/// Sends a delivery that is to be taken.
pub(crate) async fn deliver(receiver: &Receiver, id: &str) {
    assert_eq!(send(&receiver.service(), delivery(id, USER_UPDATED)).await, StatusCode::OK);
}

pub(crate) async fn send<B>(service: &WebhookService, request: Request<B>) -> StatusCode
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    answer(service, request).await.0
}

pub(crate) async fn answer<B>(service: &WebhookService, request: Request<B>) -> (StatusCode, HeaderMap, String)
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    let response = service.clone().oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (head.status, head.headers, text)
}

/// Notes what it is given, and does as `answer` says.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<(Instant, Delivery)>>>, Arc<tokio::sync::Notify>);

impl Notes {
    pub(crate) fn handler<F>(&self, answer: F) -> impl Handler + use<F>
    where
        F: Fn(&Delivery) -> Result<(), nudj_webhook::BoxError> + Send + Sync + 'static,
    {
        let notes = self.clone();
        move |delivery: Delivery| {
            let result = answer(&delivery);
            notes.0.lock().push((Instant::now(), delivery));
            notes.1.notify_waiters();
            async move { result }
        }
    }

    pub(crate) fn succeeding(&self) -> impl Handler + use<> {
        self.handler(|_| Ok(()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().iter().map(|(_, delivery)| delivery.id.to_string()).collect()
    }

    pub(crate) fn attempts(&self) -> Vec<u32> {
        self.0.lock().iter().map(|(_, delivery)| delivery.attempt).collect()
    }

    /// The pauses between calls.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.0.lock().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    /// Waits until it was called `count` times.
    pub(crate) async fn reached(&self, count: usize) {
        loop {
            let called = self.1.notified();
            tokio::pin!(called);
            called.as_mut().enable();
            if self.len() >= count {
                return;
            }
            called.await;
        }
    }
}

/// Asks again and again, a little later each time, until the answer is yes. For what another process does.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

/// The variable's value; `None` after saying which test is left out. In CI nothing may be left out.
pub(crate) fn environment(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{test}: {variable} must be set in CI");
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: {test}: set {variable} or run cargo xtask test\n"),
        );
    }
    value
}
