//! Fetches that do not help are not made for every call; rotations and renewals do not undo each other.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::StatusCode;
use nudj_tower::{
    BoxError,
    credentials::{Credential, CredentialError, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme},
};
use tokio::time::advance;
use tower::Layer;

use crate::credentials::{HOUR, Server, call, issuer};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn while_the_provider_fails_calls_get_its_error_and_fetch_less_and_less_often() {
    let fetches = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fetches);
    let provider = FromFn::new("vault", move || {
        let number = counted.fetch_add(1, SeqCst) + 1;
        ready(if number < 4 { Err(BoxError::from("sealed")) } else { Ok(Credential::new("token-1")) })
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(1).service());
    for (fetched, wait) in [(1, SECOND), (2, 2 * SECOND), (3, 4 * SECOND)] {
        for _ in 0..100 {
            let error = call(&service).await.unwrap_err();
            assert!(matches!(CredentialError::find(&*error), Some(CredentialError::Fetch { .. })), "{error}");
        }
        assert_eq!(fetches.load(SeqCst), fetched);
        advance(wait).await;
    }
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert_eq!(fetches.load(SeqCst), 4);
}

/// A panic was not noted as a failure: each call started another fetch at once.
#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_rests_like_one_that_fails() {
    let fetches = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fetches);
    let provider = FromFn::new("shaky", move || {
        let number = counted.fetch_add(1, SeqCst) + 1;
        async move {
            assert!(number > 2, "on purpose");
            Ok(Credential::new("token-1"))
        }
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(1).service());
    for (fetched, wait) in [(1, SECOND), (2, 2 * SECOND)] {
        for _ in 0..100 {
            let error = call(&service).await.unwrap_err();
            assert!(error.to_string().contains("panicked"), "{error}");
        }
        assert_eq!(fetches.load(SeqCst), fetched);
        advance(wait).await;
    }
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    assert_eq!(fetches.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_fetch_gets_one_though_the_last_has_just_failed() {
    let fetches = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fetches);
    let provider = FromFn::new("vault", move || {
        counted.fetch_add(1, SeqCst);
        ready(Err::<Credential, _>(BoxError::from("sealed")))
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    for fetched in 1..=3 {
        assert!(credentials.load().await.is_err() && credentials.renew().await.is_err());
        assert_eq!(fetches.load(SeqCst), 2 * fetched);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_whatever_comes_costs_few_fetches_and_a_first_refusal_none_waits_for() {
    let (issuer, credentials) = issuer(HOUR);
    let server = Server::accepting(0);
    let service = CredentialsLayer::new(credentials).layer(server.service());
    for _ in 0..100 {
        assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(issuer.issued.load(SeqCst), 2, "the first, and one that the refusal led to");
    for (wait, issued) in [(SECOND, 3), (SECOND, 3), (SECOND, 4)] {
        advance(wait).await;
        assert_eq!(call(&service).await.unwrap().status(), StatusCode::UNAUTHORIZED);
        assert!(issuer.issued.load(SeqCst) <= issued);
    }
    // The key is good again, and after that a refusal is helped at once.
    let last = issuer.issued.load(SeqCst);
    server.accepted.store(last, SeqCst);
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    server.accepted.store(last + 1, SeqCst);
    let answers = join_all((0..100).map(|_| call(&service))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == StatusCode::OK));
    assert_eq!(issuer.issued.load(SeqCst), last + 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_rotation_does_not_undo_it() {
    let (issuer, credentials) = issuer(HOUR);
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(9).service());
    credentials.load().await.unwrap();
    issuer.gate.forget_permits(usize::MAX);
    let renewing = tokio::spawn({
        let credentials = credentials.clone();
        async move { credentials.renew().await }
    });
    tokio::task::yield_now().await;
    credentials.rotate_to(&Credential::new("token-9")).unwrap();
    issuer.gate.add_permits(1);
    renewing.await.unwrap().unwrap();
    assert_eq!(issuer.issued.load(SeqCst), 2, "the fetch has ended");
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_a_rotation_put_in_before_the_first_fetch_is_renewed_early_as_well() {
    let (issuer, credentials) = issuer(HOUR);
    let service = CredentialsLayer::new(credentials.clone()).layer(Server::accepting(9).service());
    credentials.rotate_to(&Credential::new("token-9").valid_for(HOUR)).unwrap();
    assert_eq!(call(&service).await.unwrap().status(), StatusCode::OK);
    tokio::time::sleep(HOUR - Duration::from_secs(299)).await;
    assert_eq!(issuer.issued.load(SeqCst), 1);
}
