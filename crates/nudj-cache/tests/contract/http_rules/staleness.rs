//! What is past its lifetime: confirmed, served all the same, or not.

use super::*;

#[tokio::test(start_paused = true)]
async fn stale_answer_is_confirmed_by_304_and_brought_up_to_date() {
    let origin = Origin::answering(|number, request| {
        let headers =
            [("cache-control", "max-age=60"), ("etag", "\"v1\""), ("x-count", if number == 0 { "0" } else { "1" })];
        match request.headers().get("if-none-match") {
            Some(etag) if etag == "\"v1\"" => answer(304, &headers, ""),
            _ => answer(200, &headers, "body"),
        }
    });
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    assert_eq!(body(&service, get("/a")).await, "body");
    advance(S(61)).await;
    let confirmed = service.clone().oneshot(get("/a")).await.unwrap();
    assert_eq!((confirmed.status().as_u16(), &confirmed.headers()["age"]), (200, &"0".parse().unwrap()));
    assert_eq!(confirmed.headers()["x-count"], "1");
    advance(S(59)).await;
    assert_eq!(send(&service, get("/a")).await, (200, "body".into()));
    assert_eq!(origin.calls(), 2);
    assert_eq!(cache.stats().revalidated, 1);
}

#[tokio::test(start_paused = true)]
async fn confirmation_of_another_version_is_an_error_once_and_the_entry_is_gone() {
    let origin = Origin::answering(|number, _| match number {
        1 => answer(304, &[("etag", "\"other\"")], ""),
        _ => answer(200, &[("cache-control", "max-age=60"), ("etag", "\"v1\"")], "body"),
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    body(&service, get("/a")).await;
    advance(S(61)).await;
    let error = service.clone().oneshot(get("/a")).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(nudj_cache::CacheError::ValidatorMismatch)));
    assert_eq!(body(&service, get("/a")).await, "body");
    assert!(!origin.last().headers().contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn no_cache_answer_is_confirmed_each_time() {
    let origin = Origin::answering(|_, request| {
        let headers = [("cache-control", "no-cache"), ("etag", "\"v1\"")];
        let known = request.headers().contains_key("if-none-match");
        if known { answer(304, &headers, "") } else { answer(200, &headers, "body") }
    });
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    for _ in 0..3 {
        assert_eq!(send(&service, get("/a")).await, (200, "body".into()));
    }
    assert_eq!((origin.calls(), cache.stats().revalidated), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_serves_at_once_and_asks_once_in_the_background() {
    let origin = Origin::new(|number, _| async move {
        tokio::time::sleep(S(1)).await;
        Ok(answer(200, &[("cache-control", "max-age=60, stale-while-revalidate=30")], &number.to_string()))
    });
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    assert_eq!(body(&service, get("/a")).await, "0");
    advance(S(65)).await;
    for _ in 0..20 {
        assert_eq!(body(&service, get("/a")).await, "0");
    }
    assert_eq!(cache.stats().stale, 20);
    settle().await;
    advance(S(1)).await;
    settle().await;
    assert_eq!(body(&service, get("/a")).await, "1");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn past_the_window_nothing_stale_is_served() {
    let origin = counting(&[("cache-control", "max-age=60, stale-while-revalidate=30")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    body(&service, get("/a")).await;
    advance(S(90)).await;
    assert_eq!(body(&service, get("/a")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn background_revalidation_is_bounded_in_number_and_time() {
    let origin = Origin::new(|number, _| async move {
        if number >= 3 {
            std::future::pending::<()>().await;
        }
        Ok(answer(200, &[("cache-control", "max-age=1, stale-while-revalidate=200")], ""))
    });
    let config = HttpCacheConfig { max_revalidations: 2, ..HttpCacheConfig::default() };
    let (service, _) = cached(&origin, config);
    for path in ["/a", "/b", "/c"] {
        send(&service, get(path)).await;
    }
    advance(S(2)).await;
    for path in ["/a", "/b", "/c", "/a"] {
        send(&service, get(path)).await;
    }
    settle().await;
    assert_eq!(origin.calls(), 5);
    advance(S(30)).await;
    settle().await;
    send(&service, get("/c")).await;
    settle().await;
    assert_eq!(origin.calls(), 6, "the places are free again after the timeout");
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_is_served_on_failures_within_its_window_only() {
    for failure in [None, Some(500), Some(502), Some(503), Some(504)] {
        let origin = Origin::new(move |number, _| async move {
            let headers = [("cache-control", "max-age=60, stale-if-error=30")];
            match (number, failure) {
                (0, _) => Ok(answer(200, &headers, "good")),
                (_, Some(status)) => Ok(answer(status, &[], "bad")),
                (_, None) => Err("refused".into()),
            }
        });
        let (service, cache) = cached(&origin, HttpCacheConfig::default());
        send(&service, get("/a")).await;
        advance(S(89)).await;
        assert_eq!(send(&service, get("/a")).await, (200, "good".into()), "{failure:?}");
        assert_eq!(cache.stats().stale, 1);
        advance(S(1)).await;
        match failure {
            Some(status) => assert_eq!(send(&service, get("/a")).await, (status, "bad".into())),
            None => assert_eq!(service.clone().oneshot(get("/a")).await.unwrap_err().to_string(), "refused"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn must_revalidate_rules_out_everything_stale() {
    let origin = Origin::answering(|number, _| {
        let headers = [
            ("cache-control", "max-age=60, must-revalidate, stale-if-error=99, stale-while-revalidate=99"),
            ("etag", "x"),
        ];
        if number == 0 { answer(200, &headers, "good") } else { answer(500, &[], "bad") }
    });
    let config = HttpCacheConfig { stale_if_error: S(99), stale_while_revalidate: S(99), ..HttpCacheConfig::default() };
    let (service, _) = cached(&origin, config);
    send(&service, get("/a")).await;
    advance(S(61)).await;
    assert_eq!(send(&service, get("/a")).await, (500, "bad".into()));
    let tolerant = request("GET", "/a", &[("cache-control", "max-stale")]);
    assert_eq!(send(&service, tolerant).await, (500, "bad".into()));
}

#[tokio::test(start_paused = true)]
async fn a_4xx_is_an_answer_and_not_replaced_by_a_stale_one() {
    let origin = Origin::answering(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=60, stale-if-error=30")], "good"),
        _ => answer(403, &[], "no"),
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    advance(S(61)).await;
    assert_eq!(send(&service, get("/a")).await, (403, "no".into()));
}

#[tokio::test(start_paused = true)]
async fn resource_that_became_cacheable_is_cached_and_waited_for_again() {
    let origin = Origin::new(|number, _| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let cache_control = if number == 0 { "no-store" } else { "max-age=5" };
        Ok(answer(200, &[("cache-control", cache_control)], &number.to_string()))
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    assert_eq!(body(&service, get("/a")).await, "0");
    assert_eq!(body(&service, get("/a")).await, "1");
    assert_eq!(body(&service, get("/a")).await, "1");
    advance(S(6)).await;
    futures_util::future::join_all((0..10).map(|_| body(&service, get("/a")))).await;
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn background_revalidation_asks_for_the_stored_version_and_not_for_the_callers() {
    let headers = [("cache-control", "max-age=60, stale-while-revalidate=30"), ("etag", "\"v1\"")];
    let origin = Origin::answering(move |_, _| answer(200, &headers, "body"));
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    advance(S(61)).await;
    let knowing = request("GET", "/a", &[("if-none-match", "\"v1\""), ("if-modified-since", "Mon")]);
    assert_eq!(send(&service, knowing).await.0, 304);
    settle().await;
    assert_eq!(origin.calls(), 2);
    assert_eq!(origin.last().headers()["if-none-match"], "\"v1\"");
    assert!(!origin.last().headers().contains_key("if-modified-since"));
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_holds_for_those_that_wait_for_a_revalidation_in_the_background() {
    for failure in [Some(503), None] {
        let origin = Origin::new(move |number, _| async move {
            if number == 0 {
                let headers = [("cache-control", "max-age=1, stale-while-revalidate=5, stale-if-error=600")];
                return Ok(answer(200, &headers, "good"));
            }
            tokio::time::sleep(S(2)).await;
            failure.map(|status| answer(status, &[], "bad")).ok_or_else(|| "refused".into())
        });
        let (service, cache) = cached(&origin, HttpCacheConfig::default());
        send(&service, get("/a")).await;
        advance(Duration::from_millis(5900)).await;
        assert_eq!(send(&service, get("/a")).await, (200, "good".into()), "and is asked for in the background");
        settle().await;
        advance(Duration::from_millis(500)).await;
        // Past the window of the revalidation, which these wait for.
        let waited = futures_util::future::join_all((0..3).map(|_| send(&service, get("/a")))).await;
        assert_eq!(waited, [(); 3].map(|()| (200, "good".to_owned())), "{failure:?}");
        assert_eq!((origin.calls(), cache.stats().stale), (2, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn stale_answer_from_before_a_change_does_not_stand_in_for_an_error() {
    let origin = Origin::answering(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=1, stale-if-error=600")], "old"),
        1 => answer(204, &[], ""),
        _ => answer(503, &[], "bad"),
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    advance(S(2)).await;
    let under_way = tower::Service::call(&mut service.clone(), get("/a"));
    send(&service, request("PUT", "/a", &[])).await;
    assert_eq!(under_way.await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn request_that_wants_nothing_stored_takes_nothing_from_others() {
    let origin = Origin::answering(|_, request| {
        let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\"")];
        let known = request.headers().contains_key("if-none-match");
        if known { answer(304, &headers, "") } else { answer(200, &headers, "body") }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    let private = request("GET", "/a", &[("cache-control", "no-store, no-cache")]);
    assert_eq!(send(&service, private).await, (200, "body".into()));
    assert_eq!(send(&service, get("/a")).await, (200, "body".into()));
    assert_eq!(origin.calls(), 2, "it is still there");
}

#[tokio::test(start_paused = true)]
async fn request_that_wants_nothing_from_the_cache_hears_the_origin_itself() {
    // As a health check asks.
    let origin = Origin::new(|number, _| async move {
        let headers = [("cache-control", "max-age=60, stale-while-revalidate=99, stale-if-error=99")];
        match number {
            0 | 3 => Ok(answer(200, &headers, "good")),
            4 => std::future::pending().await,
            _ => Ok(answer(503, &[], "bad")),
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let probe = || request("GET", "/a", &[("cache-control", "no-cache, no-store")]);
    assert_eq!(send(&service, get("/a")).await, (200, "good".into()));
    assert_eq!(send(&service, probe()).await, (503, "bad".into()), "though there is a fresh one");
    advance(S(61)).await;
    assert_eq!(send(&service, probe()).await, (503, "bad".into()), "though there is a stale one for errors");
    advance(S(99)).await;
    assert_eq!(send(&service, probe()).await, (200, "good".into()));
    let other = service.clone();
    let hanging = tokio::spawn(async move { send(&other, get("/a")).await });
    settle().await;
    assert_eq!(origin.calls(), 5, "nothing was stored");
    assert_eq!(send(&service, probe()).await, (503, "bad".into()), "and it waits for nobody");
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn confirmation_by_a_strong_version_brings_no_weak_one_up_to_date() {
    // As nginx does: a compressed body has a weak version, its 304 the strong one.
    for stored in [Some("W/\"v1\""), None] {
        let origin = Origin::answering(move |_, request| {
            let headers = [("cache-control", "max-age=60"), ("last-modified", "Mon, 02 Nov 2026 00:00:00 GMT")];
            let asked = request.headers();
            if asked.contains_key("if-none-match") || asked.contains_key("if-modified-since") {
                return answer(304, &[&headers[..], &[("etag", "\"v1\"")]].concat(), "");
            }
            let etag = stored.map(|stored| ("etag", stored));
            answer(200, &[&headers[..], etag.as_slice()].concat(), "body")
        });
        let (service, _) = cached(&origin, HttpCacheConfig::default());
        send(&service, get("/a")).await;
        advance(S(61)).await;
        let unchanged = service.clone().oneshot(get("/a")).await.unwrap();
        assert_eq!((unchanged.status().as_u16(), unchanged.headers()["age"].to_str().unwrap()), (200, "61"));
        assert_eq!(unchanged.headers().get("etag").map(|etag| etag.to_str().unwrap()), stored);
        assert_eq!(send(&service, get("/a")).await, (200, "body".into()));
        assert_eq!((origin.calls(), origin.last().headers().contains_key("if-none-match")), (3, false), "asked anew");
    }
}
