//! Requests that change something take what is stored with them.

use std::time::Duration;

use http_body_util::BodyExt;
use nudj_cache::{HttpCacheConfig, RouteRule};
use tower::{Service, ServiceExt};

use crate::origin::{Origin, Res, answer, body, cached, get, request, send, settle};

fn origin(change: impl Fn() -> Res + Send + Sync + 'static) -> Origin {
    Origin::answering(move |number, request| {
        if request.method() == "GET" {
            answer(200, &[("cache-control", "max-age=60")], &number.to_string())
        } else {
            change()
        }
    })
}

#[tokio::test(start_paused = true)]
async fn success_and_redirect_invalidate_and_failure_does_not() {
    for (status, gone) in [(200, true), (204, true), (303, true), (400, false), (404, false), (500, false)] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "CUSTOM"] {
            let origin = origin(move || answer(status, &[], ""));
            let (service, _) = cached(&origin, HttpCacheConfig::default());
            assert_eq!(body(&service, get("/a")).await, "0");
            send(&service, request(method, "/a", &[])).await;
            let after = body(&service, get("/a")).await;
            assert_eq!(after != "0", gone, "{method} {status}");
        }
    }
    for method in ["OPTIONS", "TRACE", "HEAD"] {
        let origin = origin(|| answer(200, &[], ""));
        let (service, _) = cached(&origin, HttpCacheConfig::default());
        body(&service, get("/a")).await;
        send(&service, request(method, "/a", &[])).await;
        assert_eq!(body(&service, get("/a")).await, "0", "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn error_invalidates_nothing_and_passes() {
    let origin = Origin::new(|number, request| {
        let get = request.method() == "GET";
        async move {
            if get {
                Ok(answer(200, &[("cache-control", "max-age=60")], &number.to_string()))
            } else {
                Err("refused".into())
            }
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    body(&service, get("/a")).await;
    let error = service.clone().oneshot(request("PUT", "/a", &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "refused");
    assert_eq!(body(&service, get("/a")).await, "0");
}

#[tokio::test(start_paused = true)]
async fn location_of_the_same_origin_goes_too() {
    let origin = origin(|| answer(201, &[("location", "/users/7"), ("content-location", "http://evil/users/8")], ""));
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    assert_eq!(body(&service, get("/users/7")).await, "0");
    assert_eq!(body(&service, get("/users/8")).await, "1");
    send(&service, request("POST", "/users", &[])).await;
    assert_eq!(body(&service, get("/users/7")).await, "3");
    assert_eq!(body(&service, get("/users/8")).await, "1", "not another origin's business");
}

#[tokio::test(start_paused = true)]
async fn routes_tags_go_over_all_identities_and_lists() {
    let origin = origin(|| answer(200, &[], ""));
    let ttl = Duration::from_secs(60);
    let routes = vec![
        RouteRule::new("/users/{id}", ttl).tag("user:{id}").invalidates("users"),
        RouteRule::new("/users/{id}/rewards", ttl).tag("user:{id}"),
        RouteRule::new("/users", ttl).tag("users"),
    ];
    let (service, _) = cached(&origin, HttpCacheConfig { routes, ..HttpCacheConfig::default() });
    let as_user = |uri, token| request("GET", uri, &[("x-api-token", token)]);
    let all =
        [("/users/1", "a"), ("/users/1", "b"), ("/users/1/rewards", "a"), ("/users?page=2", "a"), ("/users/2", "a")];
    let mut before = Vec::new();
    for (uri, token) in all {
        before.push(body(&service, as_user(uri, token)).await);
    }
    send(&service, request("PATCH", "/users/1", &[("x-api-token", "a")])).await;
    let mut changed = Vec::new();
    for ((uri, token), before) in all.iter().zip(&before) {
        changed.push(body(&service, as_user(uri, token)).await != *before);
    }
    assert_eq!(changed, [true, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn read_under_way_during_a_change_stores_nothing() {
    let origin = Origin::new(|number, request| {
        let get = request.method() == "GET";
        async move {
            if get {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(answer(200, &[("cache-control", "max-age=60")], &number.to_string()))
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let reader = tokio::spawn({
        let service = service.clone();
        async move { body(&service, get("/a")).await }
    });
    settle().await;
    send(&service, request("PUT", "/a", &[])).await;
    assert_eq!(reader.await.unwrap(), "0");
    assert_eq!(body(&service, get("/a")).await, "2");
}

#[tokio::test(start_paused = true)]
async fn caller_that_leaves_after_the_change_does_not_stop_the_invalidation() {
    let (l2, l3) = (crate::levels::Shared::new(), crate::levels::Shared::new());
    let cache = crate::levels::cache(l2, l3.clone());
    let origin = origin(|| answer(200, &[], ""));
    let service = tower::Layer::layer(&crate::origin::layer(&cache, HttpCacheConfig::default()), origin);
    body(&service, get("/a")).await;
    l3.hanging.store(true, std::sync::atomic::Ordering::SeqCst);
    let short = Duration::from_millis(1);
    let change = service.clone().oneshot(request("PUT", "/a", &[]));
    assert!(tokio::time::timeout(short, change).await.is_err());
    tokio::time::advance(Duration::from_secs(1)).await;
    settle().await;
    l3.hanging.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_ne!(body(&service, get("/a")).await, "0");
}

/// Answers by `accept-language`, and says so.
fn by_language() -> Origin {
    Origin::answering(|number, request| {
        let language = request.headers().get("accept-language").map_or("none", |value| value.to_str().unwrap());
        answer(200, &[("cache-control", "max-age=60"), ("vary", "accept-language")], &format!("{language} {number}"))
    })
}

fn in_language(language: &str) -> crate::origin::Req {
    request("GET", "/a", &[("accept-language", language)])
}

#[tokio::test(start_paused = true)]
async fn variant_asked_for_across_a_change_does_not_bring_the_others_back() {
    let (service, _) = cached(&by_language(), HttpCacheConfig::default());
    assert_eq!(body(&service, in_language("en")).await, "en 0");
    // It has looked, and knows under which generation variants are kept, when the change comes.
    let under_way = service.clone().call(in_language("fr"));
    send(&service, request("PUT", "/a", &[])).await;
    assert_eq!(under_way.await.unwrap().into_body().collect().await.unwrap().to_bytes(), "fr 2");
    for (language, expected) in [("en", "en 3"), ("en", "en 3"), ("fr", "fr 2")] {
        assert_eq!(body(&service, in_language(language)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn variant_asked_for_across_a_change_does_not_bring_the_others_back_in_shared_levels() {
    let (l2, l3) = (crate::levels::Shared::new(), crate::levels::Shared::new());
    let origin = by_language();
    let process = || {
        let cache = crate::levels::cache(l2.clone(), l3.clone());
        tower::Layer::layer(&crate::origin::layer(&cache, HttpCacheConfig::default()), origin.clone())
    };
    let (one, two) = (process(), process());
    assert_eq!(body(&one, in_language("en")).await, "en 0");
    assert_eq!(body(&two, in_language("de")).await, "de 1");
    let under_way = two.clone().call(in_language("fr"));
    send(&one, request("PUT", "/a", &[])).await;
    assert_eq!(under_way.await.unwrap().into_body().collect().await.unwrap().to_bytes(), "fr 3");
    for (service, language, expected) in [(&one, "en", "en 4"), (&process(), "en", "en 4"), (&one, "de", "de 5")] {
        assert_eq!(body(service, in_language(language)).await, expected);
    }
}
