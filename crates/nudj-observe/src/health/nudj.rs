//! The checks that a client gives: can Nudj be reached, does it take our credential, which circuits are open.

use std::{sync::Arc, time::Duration};

use http::{Method, header::CACHE_CONTROL, header::HeaderValue};
use nudj_client::{Client, Error, ErrorKind, stack::Handles};
use nudj_tower::{BoxError, CallContext, Route, circuit_breaker::State};
use serde::{Deserialize, de::IgnoredAny};
use tokio::{sync::Mutex, time::Instant};

use super::check::{Check, Checking, Finding};

/// The call that Nudj's troubleshooting page uses to test a token.
const ROUTE: Route = Route { operation: "healthCheck", template: "/api/v2/integration/me" };

/// What Nudj documents of its answer, and a proxy's or another server's page has not.
#[derive(Deserialize)]
struct Me {
    #[serde(rename = "id")]
    _id: IgnoredAny,
}

/// What one call told about both.
#[derive(Clone, Debug)]
struct Answer {
    api: Result<Finding, String>,
    authentication: Result<Finding, String>,
}

/// One call through the whole stack, shared by the checks of the same moment.
pub(super) struct Probe {
    client: Client,
    limit: Duration,
    last: Mutex<Option<(Instant, Answer)>>,
}

pub(super) struct Api(pub(super) Arc<Probe>);
pub(super) struct Authentication(pub(super) Arc<Probe>);
pub(super) struct Breakers(pub(super) Handles);

impl Probe {
    /// For checks that may take `timeout`. The call gets a little less, and as its deadline: limiter and retry then say at once what they
    /// would wait for, and the check does not cut off what the call has seen.
    pub(super) fn new(client: Client, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { client, limit: timeout.saturating_sub(timeout / 10), last: Mutex::default() })
    }

    async fn ask(&self) -> Answer {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match &*last {
            Some((ended, answer)) if *ended > asked => answer.clone(),
            _ => {
                let answer = self.call().await;
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }

    async fn call(&self) -> Answer {
        let context = CallContext::new();
        if let Some(deadline) = Instant::now().checked_add(self.limit) {
            context.limit_deadline(deadline);
        }
        let is_throttled = self.client.handles().rate_limit().available() == 0;
        let call = self.client.routed(Method::GET, ROUTE, &[]);
        // Of the API itself, not of a cache in the client.
        let call = call.header(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")).send_in(context);
        match call.await.and_then(|answer| answer.json::<Me>()) {
            Ok(_) => Answer { api: Ok(Finding::Healthy), authentication: Ok(Finding::Healthy) },
            Err(error) => read(&error, is_throttled),
        }
    }
}

/// What a failed call tells; `is_throttled` when our own limiter had it wait.
fn read(error: &Error, is_throttled: bool) -> Answer {
    use ErrorKind::{Auth, Busy, Decode, RateLimited, Status, Timeout};
    let (kind, status) = (error.kind(), error.status().map(|status| status.as_u16()));
    let text = match (kind, status) {
        (Status { .. } | Auth { .. } | Decode { .. }, _) | (_, None) => error.to_string(),
        // What ended the call is not yet what the API said.
        (_, Some(status)) => format!("the API answered {status}, then {error}"),
    };
    let unknown = || Ok(Finding::Degraded(format!("could not be checked: {text}")));
    let throttled = || Ok(Finding::Degraded(text.clone()));
    match (kind, status) {
        (Auth { .. }, Some(401)) | (Status { .. }, Some(403)) => {
            Answer { api: Ok(Finding::Healthy), authentication: Err(text) }
        }
        (Auth { .. }, _) => Answer { api: unknown(), authentication: Err(text) },
        // Before an endpoint is tried, nothing but a credential is waited for so long.
        (Timeout, None) if !error.was_sent() => {
            Answer { api: unknown(), authentication: Err(format!("no credential in time: {text}")) }
        }
        (_, Some(429)) | (RateLimited | Busy, None) => Answer { api: throttled(), authentication: unknown() },
        (Timeout, None) if is_throttled => Answer { api: unknown(), authentication: unknown() },
        // In its own words, which a proxy or another server at a wrong address has not.
        (Status { code: Some(_), .. }, Some(400..=499)) => {
            Answer { api: Ok(Finding::Healthy), authentication: unknown() }
        }
        _ => Answer { authentication: unknown(), api: Err(text) },
    }
}

impl Check for Api {
    fn check(&self) -> Checking {
        let probe = Arc::clone(&self.0);
        Box::pin(async move { Ok(probe.ask().await.api?) })
    }
}

impl Check for Authentication {
    fn check(&self) -> Checking {
        let probe = Arc::clone(&self.0);
        Box::pin(async move { Ok(probe.ask().await.authentication?) })
    }
}

impl Check for Breakers {
    fn check(&self) -> Checking {
        let breakers = self.0.breakers();
        let is_open = |state| matches!(state, State::Open | State::ForcedOpen);
        let open: Vec<_> = breakers
            .iter()
            .filter(|breaker| is_open(breaker.state()))
            .map(|breaker| breaker.name().to_owned())
            .collect();
        let found = match open.len() {
            0 => Ok(Finding::Healthy),
            all if all == breakers.len() => Err(BoxError::from(format!("every circuit is open: {}", open.join(", ")))),
            _ => Ok(Finding::Degraded(format!("open: {}", open.join(", ")))),
        };
        Box::pin(std::future::ready(found))
    }
}
