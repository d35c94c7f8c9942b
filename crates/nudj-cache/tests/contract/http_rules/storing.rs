//! What is stored, for how long and for whom, and who is answered from it.

use nudj_cache::{CacheConfig, MultiLevelCache};
use tower::Layer as _;

use super::*;

#[tokio::test(start_paused = true)]
async fn fresh_answer_is_served_with_its_age_until_its_lifetime_ends() {
    let origin = counting(&[("cache-control", "max-age=60"), ("age", "5"), ("x-own", "kept")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    assert_eq!(body(&service, get("/a")).await, "0");
    advance(S(54)).await;
    let hit = service.clone().oneshot(get("/a")).await.unwrap();
    assert_eq!((&hit.headers()["age"], &hit.headers()["x-own"]), (&"59".parse().unwrap(), &"kept".parse().unwrap()));
    advance(S(1)).await;
    assert_eq!(body(&service, get("/a")).await, "1");
    assert_eq!(body(&service, get("/b")).await, "2");
}

/// As [`counting`], each answer after 30 s.
fn slow(headers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |number, _| async move {
        tokio::time::sleep(S(30)).await;
        Ok(answer(200, headers, &number.to_string()))
    })
}

#[tokio::test(start_paused = true)]
async fn time_that_an_answer_took_is_part_of_its_age() {
    let (service, _) = cached(&slow(&[("cache-control", "max-age=60"), ("age", "5")]), HttpCacheConfig::default());
    assert_eq!(body(&service, get("/a")).await, "0");
    let hit = service.clone().oneshot(get("/a")).await.unwrap();
    assert_eq!(hit.headers()["age"], "35");
    advance(S(24)).await;
    assert_eq!(body(&service, get("/a")).await, "0");
    advance(S(1)).await;
    assert_eq!(body(&service, get("/a")).await, "1");

    // Stale when it comes, but for all who waited for it.
    let (service, _) = cached(&slow(&[("cache-control", "max-age=10")]), HttpCacheConfig::default());
    let waited = futures_util::future::join_all((0..3).map(|_| body(&service, get("/a")))).await;
    assert_eq!(waited, ["0", "0", "0"]);
    assert_eq!(body(&service, get("/a")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn time_that_a_confirmation_took_is_part_of_its_age() {
    let origin = Origin::new(|number, _| async move {
        let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\"")];
        tokio::time::sleep(S(20)).await;
        Ok(if number == 0 { answer(200, &headers, "body") } else { answer(304, &headers, "") })
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    advance(S(60)).await;
    for _ in 0..2 {
        let confirmed = service.clone().oneshot(get("/a")).await.unwrap();
        assert_eq!((confirmed.status().as_u16(), confirmed.headers()["age"].to_str().unwrap()), (200, "20"));
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_stored_is_not() {
    for headers in [
        &[("cache-control", "no-store, max-age=60")][..],
        &[("cache-control", "No-Store")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[],
    ] {
        let origin = counting(headers);
        let (service, cache) = cached(&origin, HttpCacheConfig::default());
        assert_eq!(body(&service, get("/a")).await, "0");
        assert_eq!(body(&service, get("/a")).await, "1", "{headers:?}");
        cache.memory().settle();
        assert_eq!(cache.stats().levels[0].entries, Some(0), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn private_answer_and_authorized_request_are_stored_for_their_own_identity_only() {
    let origin = counting(&[("cache-control", "private, max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let as_user = |token| request("GET", "/me", &[("authorization", token)]);
    assert_eq!(body(&service, as_user("one")).await, "0");
    assert_eq!(body(&service, as_user("two")).await, "1");
    assert_eq!(body(&service, get("/me")).await, "2");
    assert_eq!(body(&service, as_user("one")).await, "0");
    assert_eq!(body(&service, as_user("two")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn partitions_of_one_cache_never_mix() {
    use tower::Layer;
    let cache = crate::origin::memory();
    let origin = counting(&[("cache-control", "max-age=60")]);
    let acme = layer(&cache, HttpCacheConfig::default()).partition("acme").layer(origin.clone());
    let other = layer(&cache, HttpCacheConfig::default()).partition("other").layer(origin.clone());
    assert_eq!(body(&acme, get("/a")).await, "0");
    assert_eq!(body(&other, get("/a")).await, "1");
    assert_eq!(body(&acme, get("/a")).await, "0");
    let nobody = layer(&cache, HttpCacheConfig::default()).partition_by(|_, _| None).layer(origin.clone());
    assert_eq!(body(&nobody, get("/a")).await, "2");
    assert_eq!(body(&nobody, get("/a")).await, "3");
}

#[tokio::test(start_paused = true)]
async fn answers_differ_by_what_they_vary_by() {
    let origin = Origin::answering(|number, request| {
        let language = request.headers().get("accept-language").map_or("none", |value| value.to_str().unwrap());
        answer(200, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")], &format!("{language} {number}"))
    });
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    let in_language = |language| request("GET", "/a", &[("accept-language", language), ("x-other", "x")]);
    assert_eq!(body(&service, in_language("en")).await, "en 0");
    assert_eq!(body(&service, in_language("de")).await, "de 1");
    assert_eq!(body(&service, get("/a")).await, "none 2");
    assert_eq!(body(&service, in_language("en")).await, "en 0");
    assert_eq!(body(&service, in_language("de")).await, "de 1");
    assert_eq!(body(&service, get("/a")).await, "none 2");
    // A change of the resource takes all variants.
    assert_eq!(send(&service, request("PUT", "/a", &[])).await.0, 200);
    assert_eq!(body(&service, in_language("en")).await, "en 4");
    assert_eq!(body(&service, in_language("de")).await, "de 5");
    assert!(cache.stats().levels[0].hits > 0);
}

#[tokio::test(start_paused = true)]
async fn variants_are_found_in_shared_levels() {
    use tower::Layer;
    let (l2, l3) = (levels::Shared::new(), levels::Shared::new());
    let origin = Origin::answering(|number, _| {
        answer(200, &[("cache-control", "max-age=60"), ("vary", "accept")], &number.to_string())
    });
    let first = layer(&levels::cache(l2.clone(), l3.clone()), HttpCacheConfig::default()).layer(origin.clone());
    let second = layer(&levels::cache(l2, l3), HttpCacheConfig::default()).layer(origin.clone());
    let accepting = |accept| request("GET", "/a", &[("accept", accept)]);
    assert_eq!(body(&first, accepting("x")).await, "0");
    assert_eq!(body(&first, accepting("y")).await, "1");
    assert_eq!(body(&second, accepting("x")).await, "0");
    assert_eq!(body(&second, accepting("y")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn age_goes_on_in_a_shared_level() {
    use tower::Layer;
    let (l2, l3) = (levels::Shared::new(), levels::Shared::new());
    let origin = counting(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
    let first = layer(&levels::cache(l2.clone(), l3.clone()), HttpCacheConfig::default()).layer(origin.clone());
    assert_eq!(body(&first, get("/a")).await, "0");
    advance(S(40)).await;
    let second = layer(&levels::cache(l2, l3), HttpCacheConfig::default()).layer(origin.clone());
    let hit = second.clone().oneshot(get("/a")).await.unwrap();
    assert_eq!(hit.headers()["age"], "40");
    advance(S(20)).await;
    assert_eq!(body(&second, get("/a")).await, "1", "60 s after it was received, wherever it lay");
}

#[tokio::test(start_paused = true)]
async fn wishes_of_the_request_are_obeyed() {
    let origin = counting(&[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let wish = |wish| request("GET", "/a", &[("cache-control", wish)]);
    assert_eq!(send(&service, wish("only-if-cached")).await.0, 504);
    assert_eq!(origin.calls(), 0);
    assert_eq!(body(&service, get("/a")).await, "0");
    assert_eq!(body(&service, wish("only-if-cached")).await, "0");
    advance(S(20)).await;
    assert_eq!(body(&service, wish("max-age=30")).await, "0");
    assert_eq!(body(&service, wish("min-fresh=50")).await, "1");
    assert_eq!(body(&service, get("/a")).await, "1", "what was fetched on request is stored for all");
    assert_eq!(body(&service, wish("no-cache")).await, "2");
    assert_eq!(body(&service, wish("no-store, max-age=0")).await, "3");
    advance(S(1)).await;
    assert_eq!(body(&service, get("/a")).await, "2", "no-store left nothing");
    assert_eq!(body(&service, request("GET", "/a", &[("pragma", "no-cache")])).await, "4");
}

#[tokio::test(start_paused = true)]
async fn caller_with_its_own_version_is_told_304_and_may_ask_the_origin_itself() {
    let origin = Origin::answering(|_, request| {
        let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\"")];
        match request.headers().get("if-none-match") {
            Some(etag) if etag == "\"v1\"" => answer(304, &headers, ""),
            _ => answer(200, &headers, "body"),
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let knowing = |etag| request("GET", "/a", &[("if-none-match", etag)]);
    assert_eq!(send(&service, knowing("\"v1\"")).await.0, 304, "the origin's own 304 passes");
    assert_eq!(send(&service, get("/a")).await, (200, "body".into()), "and was not stored, nor taken for uncacheable");
    assert_eq!(send(&service, knowing("\"v1\"")).await, (304, String::new()));
    assert_eq!(send(&service, knowing("\"v0\"")).await, (200, "body".into()));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_from_what_get_stored_and_stores_nothing() {
    let origin =
        Origin::answering(|_, _| answer(200, &[("cache-control", "max-age=60"), ("content-length", "4")], "body"));
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, request("HEAD", "/a", &[])).await;
    send(&service, request("HEAD", "/a", &[])).await;
    assert_eq!(origin.calls(), 2);
    assert_eq!(send(&service, get("/a")).await, (200, "body".into()));
    let head = service.clone().oneshot(request("HEAD", "/a", &[])).await.unwrap();
    assert_eq!(head.headers()["content-length"], "4");
    assert_eq!(send(&service, request("HEAD", "/a", &[])).await, (200, String::new()));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn ranges_go_past_the_cache() {
    let origin = counting(&[("cache-control", "max-age=60")]);
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let range = || request("GET", "/a", &[("range", "bytes=0-1")]);
    assert_eq!(body(&service, range()).await, "0");
    assert_eq!(body(&service, range()).await, "1");
    assert_eq!(body(&service, get("/a")).await, "2");
    assert_eq!(body(&service, range()).await, "3");
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks_the_origin_for_what_goes_past_the_cache() {
    let origin = counting(&[("cache-control", "max-age=60")]);
    let wish = ("cache-control", "only-if-cached");
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    for method in ["GET", "HEAD"] {
        assert_eq!(send(&service, request(method, "/a", &[wish, ("range", "bytes=0-1")])).await.0, 504);
    }
    let nobody =
        tower::Layer::layer(&layer(&cache, HttpCacheConfig::default()).partition_by(|_, _| None), origin.clone());
    assert_eq!(send(&nobody, request("GET", "/a", &[wish])).await.0, 504);
    assert_eq!(origin.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn key_of_a_route_tells_its_values_apart() {
    let origin = counting(&[]);
    let rule = RouteRule::new("/{org}/users/{id}", S(300)).key("{org}:{id}");
    let (service, _) = cached(&origin, HttpCacheConfig { routes: vec![rule], ..HttpCacheConfig::default() });
    for (path, expected) in [("/a:b/users/c", "0"), ("/a/users/b:c", "1"), ("/a:b/users/c", "0")] {
        assert_eq!(body(&service, get(path)).await, expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn route_rule_caches_answers_that_say_nothing() {
    let origin = counting(&[]);
    let rule = RouteRule::new("/users/{id}", S(300)).key("user:{id}").tag("user:{id}");
    let config = HttpCacheConfig { routes: vec![rule], ..HttpCacheConfig::default() };
    let (service, cache) = cached(&origin, config);
    assert_eq!(body(&service, get("/users/1")).await, "0");
    assert_eq!(body(&service, get("/users/2")).await, "1");
    assert_eq!(body(&service, get("/users/1?full=1")).await, "2");
    advance(S(200)).await;
    assert_eq!(body(&service, get("/users/1")).await, "0");
    assert_eq!(body(&service, get("/users/1?full=1")).await, "2");
    cache.invalidate(&nudj_cache::Invalidation::user(1)).await;
    assert_eq!(body(&service, get("/users/1")).await, "3");
    assert_eq!(body(&service, get("/users/1?full=1")).await, "4");
    assert_eq!(body(&service, get("/users/2")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn negative_answer_is_kept_for_its_own_time() {
    let origin = Origin::answering(|number, _| answer(404, &[], &number.to_string()));
    let config = HttpCacheConfig { negative_ttl: S(10), ..HttpCacheConfig::default() };
    let (service, _) = cached(&origin, config);
    assert_eq!(send(&service, get("/a")).await, (404, "0".into()));
    advance(S(9)).await;
    assert_eq!(send(&service, get("/a")).await, (404, "0".into()));
    advance(S(1)).await;
    assert_eq!(send(&service, get("/a")).await, (404, "1".into()));

    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let first = body(&service, get("/a")).await;
    assert_ne!(body(&service, get("/a")).await, first, "not by default");
}

#[tokio::test(start_paused = true)]
async fn expires_is_measured_on_the_injected_clock() {
    let origin = Origin::answering(|number, _| {
        let expires = httpdate::fmt_http_date(std::time::UNIX_EPOCH + S(1_800_000_030));
        answer(200, &[("expires", &expires)], &number.to_string())
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let _ = clock();
    assert_eq!(body(&service, get("/a")).await, "0");
    advance(S(29)).await;
    assert_eq!(body(&service, get("/a")).await, "0");
    advance(S(2)).await;
    assert_eq!(body(&service, get("/a")).await, "1");
}

#[tokio::test(start_paused = true)]
async fn body_over_the_limit_goes_through_and_is_not_stored() {
    let origin = Origin::answering(|_, _| answer(200, &[("cache-control", "max-age=60")], &"x".repeat(100)));
    let config = HttpCacheConfig { max_body_bytes: 99, ..HttpCacheConfig::default() };
    let (service, cache) = cached(&origin, config);
    for _ in 0..2 {
        assert_eq!(body(&service, get("/a")).await.len(), 100);
    }
    assert_eq!((origin.calls(), cache.stats().passed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn conditions_of_the_caller_reach_the_origin_as_they_are() {
    let origin = Origin::new(|_, request| {
        let conditional = request.headers().contains_key("if-none-match");
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let headers = [("cache-control", "max-age=60"), ("etag", "\"v1\"")];
            Ok(if conditional { answer(304, &headers, "") } else { answer(200, &headers, "body") })
        }
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let knowing = || request("GET", "/a", &[("if-none-match", "\"v0\"")]);
    // Nothing stored: its 304 passes, and says nothing about whether the resource can be cached.
    assert_eq!(send(&service, knowing()).await.0, 304);
    futures_util::future::join_all((0..10).map(|_| body(&service, get("/a")))).await;
    assert_eq!(origin.calls(), 2);
    // Stale by now: the caller asks for its own version, not for the stored one.
    advance(S(61)).await;
    assert_eq!(send(&service, knowing()).await.0, 304);
    assert_eq!(origin.last().headers()["if-none-match"], "\"v0\"");
}

#[tokio::test(start_paused = true)]
async fn call_is_counted_once_where_answers_differ_by_a_header() {
    // The list of what they differ by was a hit of its own: two a call, or one beside a miss.
    let origin = counting(&[("cache-control", "max-age=600"), ("vary", "accept-language")]);
    let builder = MultiLevelCache::builder(CacheConfig::default());
    let cache = builder.l2(levels::Shared::new()).seed(1).build().unwrap();
    let service = layer(&cache, HttpCacheConfig::default()).layer(origin);
    for (language, emptied, expected) in [
        ("de", false, (0, 1, 0, 0)),
        ("de", false, (1, 1, 1, 0)),
        ("en", false, (1, 2, 1, 0)),
        ("de", true, (2, 2, 1, 1)),
    ] {
        if emptied {
            cache.drop_memory();
        }
        send(&service, request("GET", "/a", &[("accept-language", language)])).await;
        let stats = cache.stats();
        let hits = (stats.hits, stats.misses, stats.levels[0].hits, stats.levels[1].hits);
        assert_eq!(hits, expected, "{language}, emptied: {emptied}");
    }
}
