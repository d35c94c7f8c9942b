//! A credential that is not good any more is not sent, and a source that has changed is read again.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use nudj_tower::{
    BoxError,
    credentials::{
        Credential, CredentialProvider, Credentials, CredentialsConfig, CredentialsLayer, Fetch, FromFn, Scheme,
        StaticCredential,
    },
    observe::Observers,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    time::{advance, sleep},
};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

use crate::credentials::{HOUR, call};

const SECOND: Duration = Duration::from_secs(1);

fn credentials(provider: impl CredentialProvider) -> Credentials {
    Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap()
}

type Tokens = Arc<Mutex<Vec<String>>>;

/// Accepts one token, and notes which came.
fn server(
    accepted: &'static str,
) -> (impl Service<Request<String>, Response = Response<String>, Error = BoxError, Future: Send> + Clone, Tokens) {
    let tokens = Tokens::default();
    let noted = Arc::clone(&tokens);
    let service = service_fn(move |request: Request<String>| {
        let token = request.headers()["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        let status = if token == accepted { 200 } else { 401 };
        noted.lock().push(token);
        ready(Ok::<_, BoxError>(Response::builder().status(status).body(String::new()).unwrap()))
    });
    (service, tokens)
}

/// Credentials and a call with `old` that waits for its place while `meanwhile` passes. What was sent, when it came to that.
async fn sent_after_a_wait(
    credentials: Credentials,
    old: Credential,
    accepted: &'static str,
    meanwhile: impl AsyncFnOnce(&Credentials),
) -> Vec<String> {
    let (server, tokens) = server(accepted);
    let limit = ConcurrencyLimit::new(server, 1);
    let mut holder = limit.clone();
    holder.ready().await.unwrap();
    credentials.rotate_to(&old).unwrap();
    let service = CredentialsLayer::new(credentials.clone()).layer(limit);
    let mut waiting = task::spawn(call(&service));
    assert!(waiting.poll().is_pending(), "the only place is taken");
    meanwhile(&credentials).await;
    drop(holder);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
    tokens.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_place_sends_what_is_current_when_there_is_one() {
    let credentials = credentials(StaticCredential::new("none"));
    let rotated = async |credentials: &Credentials| credentials.rotate_to(&Credential::new("new")).unwrap();
    assert_eq!(sent_after_a_wait(credentials, Credential::new("old"), "new", rotated).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn what_expired_during_the_wait_for_a_place_is_fetched_anew_and_not_sent() {
    let old = Credential::new("old").valid_for(HOUR);
    let expired = async |_: &Credentials| advance(2 * HOUR).await;
    let credentials = credentials(StaticCredential::new("fetched"));
    assert_eq!(sent_after_a_wait(credentials, old, "fetched", expired).await, ["fetched"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_that_is_refused_does_not_give_way_to_one_that_has_expired() {
    let credentials = credentials(FromFn::new("tokens", || ready(Ok(Credential::new("fetched")))));
    let (server, tokens) = server("fetched");
    let service = CredentialsLayer::new(credentials.clone()).layer(server);
    credentials.rotate_to(&Credential::new("old").valid_for(SECOND)).unwrap();
    credentials.rotate_to(&Credential::new("new")).unwrap();
    advance(2 * SECOND).await;
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert_eq!(*tokens.lock(), ["new", "fetched"]);
}

/// Where nothing else can be fetched, a rotation is not undone by what there was before all of them.
#[tokio::test(start_paused = true)]
async fn of_a_rotated_key_whose_forerunner_has_expired_the_refusal_is_answered_as_it_came() {
    let credentials = credentials(StaticCredential::new("first"));
    let (server, tokens) = server("none");
    let service = CredentialsLayer::new(credentials.clone()).layer(server);
    credentials.rotate_to(&Credential::new("old").valid_for(SECOND)).unwrap();
    credentials.rotate_to(&Credential::new("new")).unwrap();
    advance(2 * SECOND).await;
    for _ in 0..2 {
        assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(*tokens.lock(), ["new", "new"]);
}

/// A file, say: a fetch reads it at once, and takes its time over what it read.
struct Source {
    content: Mutex<&'static str>,
    changed: Notify,
    gate: Semaphore,
}

impl CredentialProvider for Source {
    fn name(&self) -> &str {
        "source"
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async {
            let read = *self.content.lock();
            self.gate.acquire().await?.forget();
            Ok(Credential::new(read))
        })
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.changed.notified())
    }
}

/// The change was taken as seen when the fetch under way brought something, which had been read before.
#[tokio::test(start_paused = true)]
async fn a_source_that_changes_while_it_is_fetched_from_is_fetched_from_again() {
    let source = Arc::new(Source { content: Mutex::new("one"), changed: Notify::new(), gate: Semaphore::new(1) });
    let credentials =
        Credentials::shared(source.clone(), Scheme::Bearer, CredentialsConfig::default(), Observers::default());
    let credentials = credentials.unwrap();
    let (server, tokens) = server("three");
    let service = CredentialsLayer::new(credentials.clone()).layer(server);
    credentials.load().await.unwrap();
    *source.content.lock() = "two";
    let mut renewal = task::spawn(credentials.renew());
    assert!(renewal.poll().is_pending());
    sleep(SECOND).await;
    *source.content.lock() = "three";
    source.changed.notify_one();
    sleep(SECOND).await;
    source.gate.add_permits(1);
    renewal.await.unwrap();
    source.gate.add_permits(1);
    sleep(SECOND).await;
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert_eq!(*tokens.lock(), ["three"]);
}
