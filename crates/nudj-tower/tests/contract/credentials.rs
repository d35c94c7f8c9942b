//! Credentials: one renewal for all, none that anybody waits for without need.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::{HeaderName, Request, Response, StatusCode};
use nudj_tower::{
    BoxError,
    classify::{Classify, Http, Verdict},
    credentials::{
        Credential, CredentialError, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme, StaticCredential,
    },
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, advance, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Issues `token-1`, `token-2`, … and counts; each fetch waits for a permit.
pub(crate) struct Issuer {
    pub(crate) issued: Arc<AtomicU64>,
    pub(crate) gate: Arc<Semaphore>,
}

pub(crate) fn issuer(lifetime: Duration) -> (Issuer, Credentials) {
    let (issued, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)));
    let provider = {
        let (issued, gate) = (Arc::clone(&issued), Arc::clone(&gate));
        FromFn::new("issuer", move || {
            let (issued, gate) = (Arc::clone(&issued), Arc::clone(&gate));
            async move {
                gate.acquire().await?.forget();
                let number = issued.fetch_add(1, SeqCst) + 1;
                Ok::<_, BoxError>(Credential::new(format!("token-{number}")).valid_for(lifetime))
            }
        })
    };
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    (Issuer { issued, gate }, credentials)
}

/// Answers 401 to every token but the one with this number, and tells what it got.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) accepted: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn accepting(number: u64) -> Self {
        Self { accepted: Arc::new(AtomicU64::new(number)), requests: Arc::default() }
    }

    pub(crate) fn service(
        &self,
    ) -> impl Service<Request<String>, Response = Response<String>, Error = BoxError, Future: Send> + Clone + use<>
    {
        let server = self.clone();
        service_fn(move |request: Request<String>| {
            server.requests.fetch_add(1, SeqCst);
            let expected = format!("Bearer token-{}", server.accepted.load(SeqCst));
            let status = if request.headers()["authorization"] == expected { 200 } else { 401 };
            ready(Ok::<_, BoxError>(Response::builder().status(status).body(request.into_body()).unwrap()))
        })
    }
}

pub(crate) async fn call<S>(service: &S) -> Result<Response<String>, BoxError>
where
    S: Service<Request<String>, Response = Response<String>, Error = BoxError> + Clone,
{
    service.clone().oneshot(Request::post("/").body("the body".to_owned()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn however_many_wait_for_the_first_credential_one_is_fetched() {
    let (issuer, credentials) = issuer(HOUR);
    let service = CredentialsLayer::new(credentials).layer(Server::accepting(1).service());
    let answers = join_all((0..1000).map(|_| call(&service))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == StatusCode::OK));
    assert_eq!(issuer.issued.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_concurrent_401s_cost_one_refresh_and_one_replay_each() {
    let (issuer, credentials) = issuer(HOUR);
    let server = Server::accepting(1);
    let service = CredentialsLayer::new(credentials).layer(server.service());
    call(&service).await.unwrap();
    server.accepted.store(2, SeqCst);
    let answers = join_all((0..100).map(|_| call(&service))).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "the body"));
    }
    assert_eq!(issuer.issued.load(SeqCst), 2);
    assert!(server.requests.load(SeqCst) <= 1 + 200);
}

#[tokio::test(start_paused = true)]
async fn a_401_for_a_credential_that_is_no_longer_current_refreshes_nothing() {
    let (issuer, credentials) = issuer(HOUR);
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = {
        let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
        service_fn(move |request: Request<String>| {
            let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
            async move {
                let old = request.headers()["authorization"] == "Bearer token-1";
                if old {
                    arrived.notify_one();
                    go.notified().await;
                }
                Ok::<_, BoxError>(Response::builder().status(if old { 401 } else { 200 }).body(String::new()).unwrap())
            }
        })
    };
    let service = CredentialsLayer::new(credentials.clone()).layer(held);
    let slow = tokio::spawn(BoxCloneSyncService::new(service).oneshot(Request::new(String::new())));
    arrived.notified().await;
    credentials.renew().await.unwrap();
    go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(issuer.issued.load(SeqCst), 2, "the renewal, and none for the stale 401");
}

#[tokio::test(start_paused = true)]
async fn a_second_401_is_answered_as_it_is() {
    let (issuer, credentials) = issuer(HOUR);
    let server = Server::accepting(99);
    let service = CredentialsLayer::new(credentials).layer(server.service());
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((issuer.issued.load(SeqCst), server.requests.load(SeqCst)), (2, 2), "nor is another fetched afterwards");
}

#[tokio::test(start_paused = true)]
async fn a_401_whose_renewal_brings_the_same_secret_is_not_replayed() {
    let provider = FromFn::new("file", || ready(Ok(Credential::new("token-1".to_owned()))));
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let server = Server::accepting(2);
    let service = CredentialsLayer::new(credentials).layer(server.service());
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.requests.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_401_with_no_other_credential_to_be_had_is_answered_as_it_is() {
    let (issuer, credentials) = issuer(HOUR);
    let server = Server::accepting(1);
    let service = CredentialsLayer::new(credentials).layer(server.service());
    call(&service).await.unwrap();
    issuer.gate.close();
    server.accepted.store(2, SeqCst);
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_renewal_of_a_credential_that_is_still_valid() {
    let (issuer, credentials) = issuer(HOUR);
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(1).service());
    call(&service).await.unwrap();
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    // Into the last five minutes: the renewal is under way and hangs.
    sleep(Duration::from_secs(3400)).await;
    let start = Instant::now();
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(credentials.snapshot().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn is_renewed_in_the_background_five_minutes_early() {
    let (issuer, credentials) = issuer(HOUR);
    credentials.load().await.unwrap();
    sleep(Duration::from_secs(3200)).await;
    assert_eq!(issuer.issued.load(SeqCst), 1);
    sleep(Duration::from_secs(110)).await;
    assert_eq!(issuer.issued.load(SeqCst), 2);
    assert!(credentials.snapshot().expires_in.unwrap() > Duration::from_secs(3400));
}

#[tokio::test(start_paused = true)]
async fn a_first_credential_of_a_short_life_is_renewed_early_too() {
    let (issuer, credentials) = issuer(Duration::from_secs(20));
    credentials.load().await.unwrap();
    // Halfway, less the spread.
    sleep(Duration::from_millis(10_500)).await;
    assert!(issuer.issued.load(SeqCst) >= 2);
}

#[test]
fn the_background_renewal_starts_again_where_its_runtime_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (issuer, credentials) = issuer(HOUR);
    runtime().block_on(credentials.load()).unwrap();
    runtime().block_on(async {
        sleep(HOUR).await;
        credentials.load().await.unwrap();
        assert_eq!(issuer.issued.load(SeqCst), 2, "nobody renewed it early");
        sleep(Duration::from_secs(3310)).await;
        assert_eq!(issuer.issued.load(SeqCst), 3);
    });
}

#[tokio::test(start_paused = true)]
async fn a_failed_early_renewal_keeps_the_valid_credential_and_backs_off() {
    let (issuer, credentials) = issuer(HOUR);
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(1).service());
    call(&service).await.unwrap();
    issuer.gate.close();
    sleep(Duration::from_secs(3590)).await;
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    sleep(Duration::from_secs(20)).await;
    let error = call(&service).await.unwrap_err();
    assert!(matches!(CredentialError::find(&*error), Some(CredentialError::Fetch { .. })), "{error}");
    assert!(error.to_string().contains("issuer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_outlives_the_call_that_wanted_it() {
    let (issuer, credentials) = issuer(HOUR);
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(1).service());
    let mut impatient = Box::pin(call(&service));
    assert!(futures_util::future::poll_immediate(&mut impatient).await.is_none());
    drop(impatient);
    issuer.gate.add_permits(1);
    tokio::task::yield_now().await;
    credentials.load().await.unwrap();
    assert_eq!((issuer.issued.load(SeqCst), credentials.snapshot().generation), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_provider_is_given_up_after_its_timeout() {
    let (issuer, credentials) = issuer(HOUR);
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let start = Instant::now();
    let error = credentials.load().await.unwrap_err();
    assert!(matches!(error, CredentialError::Timeout { .. }));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    issuer.gate.add_permits(1);
    credentials.load().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_expired_already_or_is_no_token_is_an_error_without_the_secret() {
    for credential in [
        Credential::new("canary".to_owned()).valid_for(Duration::ZERO),
        Credential::new(String::new()),
        Credential::new("canary\nx: y".to_owned()),
    ] {
        let provider = FromFn::new("odd", move || ready(Ok(credential.clone())));
        let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
        let error = credentials.load().await.unwrap_err();
        assert!(matches!(error, CredentialError::Unusable { .. }), "{error}");
        assert!(!format!("{error} {error:?} {credentials:?}").contains("canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_an_error_and_the_next_call_tries_again() {
    let mut calls = 0;
    let provider = FromFn::new("shaky", move || {
        calls += 1;
        let first = calls == 1;
        async move {
            assert!(!first, "on purpose");
            Ok(Credential::new("token-1".to_owned()))
        }
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    assert!(credentials.load().await.is_err());
    credentials.load().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_that_is_refused_gives_way_to_the_old_one() {
    let credentials =
        Credentials::new(StaticCredential::new("token-1".to_owned()), Scheme::Bearer, CredentialsConfig::default())
            .unwrap();
    let server = Server::accepting(1);
    let service = CredentialsLayer::new(credentials.clone()).layer(server.service());
    call(&service).await.unwrap();
    credentials.rotate_to(&Credential::new("token-2".to_owned())).unwrap();
    assert!(credentials.snapshot().has_fallback);
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK, "by the old key");
    server.accepted.store(2, SeqCst);
    credentials.rotate_to(&Credential::new("token-2".to_owned())).unwrap();
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert!(!credentials.snapshot().has_fallback, "the new key has been accepted");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_one_who_did_not_look_at_the_key_does_not_make_the_old_one_go() {
    let credentials =
        Credentials::new(StaticCredential::new("token-1".to_owned()), Scheme::Bearer, CredentialsConfig::default())
            .unwrap();
    let server = Server::accepting(1);
    let gateway = Arc::new(AtomicU64::new(0));
    let service = {
        let (gateway, behind) = (Arc::clone(&gateway), server.service());
        CredentialsLayer::new(credentials.clone()).layer(service_fn(move |request: Request<String>| {
            let (status, behind) = (gateway.load(SeqCst), behind.clone());
            async move {
                match u16::try_from(status)? {
                    0 => behind.oneshot(request).await,
                    status => Ok::<_, BoxError>(Response::builder().status(status).body(String::new())?),
                }
            }
        }))
    };
    call(&service).await.unwrap();
    credentials.rotate_to(&Credential::new("token-2".to_owned())).unwrap();
    for status in [503, 429, 502, 302, 404] {
        gateway.store(status, SeqCst);
        assert_eq!(u64::from(call(&service).await.unwrap().status().as_u16()), status);
    }
    gateway.store(0, SeqCst);
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK, "the new key is bad, the old one still there");
}

#[tokio::test(start_paused = true)]
async fn rotating_under_load_fails_no_call() {
    let credentials = Credentials::new(
        StaticCredential::new("token-0".to_owned()),
        Scheme::Header(HeaderName::from_static("x-api-token")),
        CredentialsConfig::default(),
    )
    .unwrap();
    // As a server does in the overlap: the last two keys are good.
    let newest = Arc::new(AtomicU64::new(0));
    let service = {
        let newest = Arc::clone(&newest);
        CredentialsLayer::new(credentials.clone()).layer(service_fn(move |request: Request<String>| {
            let newest = Arc::clone(&newest);
            async move {
                sleep(Duration::from_millis(7)).await;
                let token = request.headers()["x-api-token"].to_str()?.trim_start_matches("token-").parse::<u64>()?;
                let status = if token + 1 >= newest.load(SeqCst) { 200 } else { 401 };
                Ok::<_, BoxError>(Response::builder().status(status).body(String::new()).unwrap())
            }
        }))
    };
    let callers = (0..20).map(|_| {
        let service = BoxCloneSyncService::new(service.clone());
        tokio::spawn(async move {
            for _ in 0..100 {
                assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for number in 1..=14 {
        sleep(Duration::from_millis(50)).await;
        newest.store(number, SeqCst);
        credentials.rotate_to(&Credential::new(format!("token-{number}"))).unwrap();
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_background_task_ends_with_the_last_handle() {
    let (issuer, credentials) = issuer(HOUR);
    credentials.load().await.unwrap();
    drop(credentials);
    advance(HOUR * 3).await;
    tokio::task::yield_now().await;
    assert_eq!(issuer.issued.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_copied_is_sent_once_and_the_next_call_has_the_new_credential() {
    struct NotClone;
    let (issuer, credentials) = issuer(HOUR);
    let service =
        CredentialsLayer::new(credentials.clone()).without_replay().layer(service_fn(|request: Request<NotClone>| {
            let status = if request.headers()["authorization"] == "Bearer token-1" { 401 } else { 200 };
            ready(Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap()))
        }));
    assert_eq!(service.clone().oneshot(Request::new(NotClone)).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    while issuer.issued.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.oneshot(Request::new(NotClone)).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_cannot_be_had_is_nobodys_failure_and_not_asked_for_by_retry() {
    let provider = FromFn::new("none", || ready(Err(BoxError::from("no such file"))));
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let service = CredentialsLayer::new(credentials).layer(Server::accepting(1).service());
    let error = call(&service).await.unwrap_err();
    let verdict = Classify::<Request<()>, Response<()>>::classify(&Http::default(), Err(&*error));
    assert_eq!(verdict, Verdict::ignored());
}
