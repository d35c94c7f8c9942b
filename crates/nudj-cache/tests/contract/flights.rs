//! Of calls that miss at once, one asks the origin.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nudj_cache::{HttpCacheConfig, SharedError};
use tokio::time::advance;
use tower::ServiceExt;

use crate::origin::{Origin, answer, body, cached, get, request, send, settle};

/// Answers after a second, with the number of the call.
fn slow(status: u16, headers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |number, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(answer(status, headers, &number.to_string()))
    })
}

#[tokio::test(start_paused = true)]
async fn fifty_misses_make_one_call() {
    let origin = slow(200, &[("cache-control", "max-age=60")]);
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    let answers = futures_util::future::join_all((0..50).map(|_| body(&service, get("/a")))).await;
    assert!(answers.iter().all(|answer| answer == "0"));
    assert_eq!(origin.calls(), 1);
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.coalesced), (1, 49));
    assert_eq!((stats.misses, stats.levels[0].misses, stats.levels[0].hits), (50, 50, 0), "each looked once");
}

#[tokio::test(start_paused = true)]
async fn fifty_that_find_it_stale_make_one_call() {
    let origin = slow(200, &[("cache-control", "max-age=60"), ("etag", "\"x\"")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    body(&service, get("/a")).await;
    advance(Duration::from_secs(61)).await;
    let answers = futures_util::future::join_all((0..50).map(|_| body(&service, get("/a")))).await;
    assert!(answers.iter().all(|answer| answer == "1"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn answer_that_may_not_be_stored_is_for_nobody_else_and_the_next_do_not_wait() {
    let origin = slow(200, &[("cache-control", "no-store")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let start = tokio::time::Instant::now();
    let mut answers = futures_util::future::join_all((0..50).map(|_| body(&service, get("/a")))).await;
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers.len(), 50);
    assert_eq!(start.elapsed(), Duration::from_secs(2), "one in front, then all at once");
    futures_util::future::join_all((0..50).map(|_| body(&service, get("/a")))).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3), "known by now: nobody waits");
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_by_those_that_waited_and_asked_again_by_the_next() {
    let origin = slow(503, &[]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let answers = futures_util::future::join_all((0..50).map(|_| send(&service, get("/a")))).await;
    assert!(answers.iter().all(|answer| *answer == (503, "0".into())));
    assert_eq!(send(&service, get("/a")).await, (503, "1".into()));
}

#[tokio::test(start_paused = true)]
async fn error_is_shared_with_its_source() {
    let origin = Origin::new(|_, _| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(std::io::Error::other("refused").into())
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let calls = (0..50).map(|_| service.clone().oneshot(get("/a")));
    for result in futures_util::future::join_all(calls).await {
        let error = result.unwrap_err();
        assert!(error.downcast_ref::<SharedError>().is_some());
        assert!(error.source().unwrap().downcast_ref::<std::io::Error>().is_some());
    }
    assert_eq!(origin.calls(), 1);
    let alone = service.clone().oneshot(get("/a")).await.unwrap_err();
    assert!(alone.downcast_ref::<std::io::Error>().is_some(), "alone: the error as it is");
}

#[tokio::test(start_paused = true)]
async fn cancelled_leader_hands_over_and_the_others_sleep_on() {
    let origin = slow(200, &[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let call = || {
        tokio::spawn({
            let service = service.clone();
            async move { body(&service, get("/a")).await }
        })
    };
    let leader = call();
    settle().await;
    let waiters: Vec<_> = (0..20).map(|_| call()).collect();
    settle().await;
    advance(Duration::from_millis(500)).await;
    leader.abort();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), "1");
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_leader_can_be_cancelled_in_turn() {
    let origin = slow(200, &[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { body(&service, get("/a")).await })
        })
        .collect();
    settle().await;
    let (last, others) = calls.split_last().unwrap();
    for call in others {
        call.abort();
        settle().await;
    }
    settle().await;
    assert_eq!(origin.calls(), 10);
    assert!(!last.is_finished());
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert!(last.is_finished());
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_leader_wakes_the_others() {
    let origin = Origin::new(|number, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(number > 0, "on purpose");
        Ok(answer(200, &[("cache-control", "max-age=60")], "fine"))
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let leader = tokio::spawn({
        let service = service.clone();
        async move { body(&service, get("/a")).await }
    });
    settle().await;
    assert_eq!(body(&service, get("/a")).await, "fine");
    assert!(leader.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_polled_only_when_woken() {
    let origin = slow(200, &[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let leader = tokio::spawn({
        let service = service.clone();
        async move { body(&service, get("/a")).await }
    });
    settle().await;
    let polls = Arc::new(AtomicU32::new(0));
    let waiter = tokio::spawn({
        let (service, polls) = (service.clone(), Arc::clone(&polls));
        let mut call = Box::pin(async move { body(&service, get("/a")).await });
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            call.as_mut().poll(cx)
        })
    });
    settle().await;
    advance(Duration::from_millis(900)).await;
    settle().await;
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    advance(Duration::from_millis(100)).await;
    assert_eq!((leader.await.unwrap(), waiter.await.unwrap()), ("0".into(), "0".into()));
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_want_another_variant_get_their_own() {
    let origin = Origin::new(|_, request| {
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(answer(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], &language))
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let calls = (0..60).map(|number| {
        let language = ["en", "de", "fr"][number % 3];
        let service = &service;
        async move { (language, body(service, request("GET", "/a", &[("accept-language", language)])).await) }
    });
    for (language, answer) in futures_util::future::join_all(calls).await {
        assert_eq!(language, answer);
    }
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn identities_do_not_wait_for_each_other() {
    let origin = slow(200, &[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let calls = (0..50).map(|number| body(&service, request("GET", "/a", &[("x-api-token", ["a", "b"][number % 2])])));
    let answers = futures_util::future::join_all(calls).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, answers[number % 2]);
    }
    assert_ne!(answers[0], answers[1]);
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_that_comes_after_a_change_does_not_take_an_answer_from_before_it() {
    let origin = Origin::new(|number, request| {
        let slow = request.method() == "GET";
        async move {
            if slow {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(answer(200, &[("cache-control", "max-age=60")], &number.to_string()))
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let before = tokio::spawn({
        let service = service.clone();
        async move { body(&service, get("/a")).await }
    });
    settle().await;
    send(&service, request("PUT", "/a", &[])).await;
    let after: Vec<_> = (0..10)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { body(&service, get("/a")).await })
        })
        .collect();
    assert_eq!(before.await.unwrap(), "0");
    for call in after {
        assert_eq!(call.await.unwrap(), "2", "asked after the change, and once for all of them");
    }
    assert_eq!(origin.calls(), 3);
    assert_eq!(body(&service, get("/a")).await, "2");
}

#[tokio::test(start_paused = true)]
async fn failure_that_says_no_store_is_for_nobody_else() {
    let origin = slow(503, &[("cache-control", "no-store")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    futures_util::future::join_all((0..10).map(|_| send(&service, get("/a")))).await;
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn answer_that_was_stored_while_a_call_looked_elsewhere_is_taken() {
    const KEY: &str = "http|0:||///a";
    let origin = Origin::answering(|number, _| answer(200, &[("cache-control", "max-age=60")], &number.to_string()));
    let (other, elsewhere) = cached(&origin, HttpCacheConfig::default());
    body(&other, get("/a")).await;
    let stored = elsewhere.memory().lookup(KEY).expect("the key is as its module says");

    let (mut l2, l3) = (crate::levels::Shared::new(), crate::levels::Shared::new());
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    l2.read_done = Some(Arc::clone(&barrier));
    let cache = crate::levels::cache(l2, l3);
    let service = tower::Layer::layer(&crate::origin::layer(&cache, HttpCacheConfig::default()), origin.clone());
    let call = tokio::spawn(async move { body(&service, get("/a")).await });
    barrier.wait().await;
    let write = nudj_cache::Write { ttl: stored.remaining, as_of: None };
    cache.memory().insert(KEY, &stored.entry, write);
    barrier.wait().await;
    assert_eq!(call.await.unwrap(), "0");
    assert_eq!(origin.calls(), 1);
}
