//! The checks that a client gives: can Nudj be reached, does it take our credential, which circuits are open.

use std::sync::Arc;

use http::Method;
use nudj_client::{Client, ErrorKind, stack::Handles};
use nudj_tower::{BoxError, Route, circuit_breaker::State};
use tokio::{sync::Mutex, time::Instant};

use super::check::{Check, Checking, Finding};

/// The call that Nudj's troubleshooting page uses to test a token.
const ROUTE: Route = Route { operation: "healthCheck", template: "/api/v2/integration/me" };

/// What one call told about both.
#[derive(Clone, Debug)]
struct Answer {
    api: Result<Finding, String>,
    authentication: Result<Finding, String>,
}

/// One call through the whole stack, shared by the checks of the same moment.
pub(super) struct Probe {
    client: Client,
    last: Mutex<Option<(Instant, Answer)>>,
}

pub(super) struct Api(pub(super) Arc<Probe>);
pub(super) struct Authentication(pub(super) Arc<Probe>);
pub(super) struct Breakers(pub(super) Handles);

impl Probe {
    pub(super) fn new(client: Client) -> Arc<Self> {
        Arc::new(Self { client, last: Mutex::default() })
    }

    async fn ask(&self) -> Answer {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match &*last {
            Some((ended, answer)) if *ended > asked => answer.clone(),
            _ => {
                let answer = read(self.client.routed(Method::GET, ROUTE, &[]).send().await.err());
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }
}

fn read(error: Option<nudj_client::Error>) -> Answer {
    let Some(error) = error else {
        return Answer { api: Ok(Finding::Healthy), authentication: Ok(Finding::Healthy) };
    };
    let text = error.to_string();
    let status = error.status().map(|status| status.as_u16());
    let unknown = || Ok(Finding::Degraded(format!("could not be checked: {text}")));
    match (status, error.kind()) {
        (Some(401 | 403), _) => Answer { api: Ok(Finding::Healthy), authentication: Err(text) },
        (_, ErrorKind::Auth { .. }) => Answer { api: unknown(), authentication: Err(text) },
        (Some(429), _) | (_, ErrorKind::RateLimited) => {
            Answer { api: Ok(Finding::Degraded(text.clone())), authentication: unknown() }
        }
        // It answers, and has let us in.
        (Some(400..=499), _) | (_, ErrorKind::Decode { .. }) => {
            Answer { api: Ok(Finding::Healthy), authentication: Ok(Finding::Healthy) }
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
