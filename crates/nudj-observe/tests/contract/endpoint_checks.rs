//! Endpoints that are asked by themselves, and the round robin that is told.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_client::{Client, ClientBuilder, stack::Handles};
use nudj_observe::health::{EndpointChecks, EndpointChecksConfig};
use nudj_tower::{
    BoxError,
    classify::TransportError,
    round_robin::{Endpoint, Origin},
};
use tower::{Service, service_fn};

const ENDPOINTS: [&str; 2] = ["http://east.localhost", "http://west.localhost/nudj"];

/// Two endpoints, of which the second may be sick; how often it was asked.
#[derive(Clone, Default)]
struct Servers {
    sick: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Servers {
    fn transport(
        &self,
    ) -> impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static {
        let servers = self.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let servers = servers.clone();
            async move {
                assert!(request.headers().is_empty(), "no credential goes with it");
                if request.uri().host() != Some("west.localhost") {
                    return Ok(Response::builder().status(401).body(Full::default())?);
                }
                assert_eq!(request.uri(), "http://west.localhost/nudj/health");
                servers.asked.fetch_add(1, Relaxed);
                if servers.hangs.load(Relaxed) {
                    std::future::pending::<Infallible>().await;
                }
                if servers.sick.load(Relaxed) {
                    return Err(TransportError::Connect("refused".into()).into());
                }
                Ok(Response::new(Full::default()))
            }
        })
    }

    fn start(&self) -> (Handles, EndpointChecks) {
        let builder = ENDPOINTS.into_iter().fold(Client::builder(), ClientBuilder::endpoint);
        let client = builder.token("token").build().unwrap();
        let handles = client.handles().clone();
        let config = EndpointChecksConfig { path: "/health".into(), ..EndpointChecksConfig::default() };
        let checks = EndpointChecks::spawn(handles.endpoints().clone(), config, self.transport()).unwrap();
        (handles, checks)
    }
}

fn down(handles: &Handles) -> Vec<bool> {
    handles.endpoints().endpoints().iter().map(|endpoint| endpoint.down).collect()
}

/// Until some rounds later, whatever the first one's time was.
async fn rounds(count: u32) {
    tokio::time::sleep(Duration::from_secs(10) * count).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_marked_down_until_it_does() {
    let servers = Servers::default();
    let (handles, checks) = servers.start();
    rounds(2).await;
    assert_eq!(down(&handles), [false, false]);
    servers.sick.store(true, Relaxed);
    rounds(2).await;
    assert_eq!(down(&handles), [false, false], "two bad answers are not yet three");
    rounds(1).await;
    assert_eq!(down(&handles), [false, true]);
    servers.sick.store(false, Relaxed);
    rounds(1).await;
    assert_eq!(down(&handles), [false, true]);
    rounds(1).await;
    assert_eq!(down(&handles), [false, false]);
    servers.hangs.store(true, Relaxed);
    rounds(4).await;
    assert_eq!(down(&handles), [false, true], "no answer in time is a bad one");
    drop(checks);
}

#[tokio::test(start_paused = true)]
async fn its_marks_go_when_it_goes() {
    for by_drop in [false, true] {
        let servers = Servers::default();
        servers.sick.store(true, Relaxed);
        let (handles, checks) = servers.start();
        rounds(5).await;
        assert_eq!(down(&handles), [false, true]);
        if by_drop {
            drop(checks);
            rounds(1).await;
        } else {
            checks.shutdown().await;
        }
        assert_eq!(down(&handles), [false, false]);
        let asked = servers.asked.load(Relaxed);
        rounds(3).await;
        assert_eq!(servers.asked.load(Relaxed), asked, "nobody asks any more");
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_may_come_and_go() {
    let servers = Servers::default();
    servers.sick.store(true, Relaxed);
    let (handles, checks) = servers.start();
    rounds(5).await;
    assert!(handles.endpoints().remove(ENDPOINTS[1]));
    rounds(3).await;
    let asked = servers.asked.load(Relaxed);
    rounds(3).await;
    assert_eq!(servers.asked.load(Relaxed), asked);
    let origin = Origin::parse(ENDPOINTS[1]).unwrap();
    handles.endpoints().add(Endpoint::at(origin)).unwrap();
    assert_eq!(down(&handles), [false, false]);
    rounds(5).await;
    assert_eq!(down(&handles), [false, true]);
    checks.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_lost_between_two_rounds_is_made_again() {
    let servers = Servers::default();
    servers.sick.store(true, Relaxed);
    let (handles, checks) = servers.start();
    rounds(5).await;
    assert_eq!(down(&handles), [false, true]);

    let origin = Origin::parse(ENDPOINTS[1]).unwrap();
    assert!(handles.endpoints().remove(ENDPOINTS[1]));
    handles.endpoints().add(Endpoint::at(origin)).unwrap();
    assert_eq!(down(&handles), [false, false]);
    rounds(2).await;
    assert_eq!(down(&handles), [false, true], "of an endpoint that came again at once");

    handles.endpoints().mark_up(ENDPOINTS[1]);
    rounds(2).await;
    assert_eq!(down(&handles), [false, true], "of one that somebody marked up");

    servers.sick.store(false, Relaxed);
    rounds(3).await;
    assert_eq!(down(&handles), [false, false]);
    checks.shutdown().await;
}
