//! Answers in one language are not served for another, though no `Vary` says that they differ.

use std::time::Duration;

use nudj_cache::{HttpCacheConfig, RouteRule};

use crate::{
    levels::{self, Shared},
    origin::{Origin, Req, answer, body, cached, get, layer, request, send, settle},
};

const LANGUAGES: [Option<&str>; 3] = [None, Some("de"), Some("en")];

fn in_language(method: &str, uri: &str, language: Option<&str>) -> Req {
    let headers: Vec<_> = language.map(|language| ("x-language", language)).into_iter().collect();
    request(method, uri, &headers)
}

/// Answers a read after a second with the language asked for and the number of the call, without a Vary, as Nudj does.
fn origin() -> Origin {
    Origin::new(|number, request| {
        let get = request.method() == "GET";
        let language = request.headers().get("x-language").map_or("none", |value| value.to_str().unwrap()).to_owned();
        async move {
            if !get {
                return Ok(answer(200, &[("location", "/users/7")], ""));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(answer(200, &[("cache-control", "max-age=600")], &format!("{language} {number}")))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn each_language_has_its_own_answer() {
    // A client in German was given what one in English had read: both had the same URI, token and cache.
    let origin = origin();
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    for _ in 0..2 {
        for (number, language) in LANGUAGES.into_iter().enumerate() {
            let answer = body(&service, in_language("GET", "/challenges", language)).await;
            assert_eq!(answer, format!("{} {number}", language.unwrap_or("none")));
        }
    }
    assert_eq!(origin.calls(), 3, "the second time all were there");
}

#[tokio::test(start_paused = true)]
async fn languages_that_miss_at_once_do_not_wait_for_each_other() {
    let origin = origin();
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    let start = tokio::time::Instant::now();
    let calls = (0..30).map(|n| {
        let (service, language) = (service.clone(), LANGUAGES[n % 3]);
        async move { (language, body(&service, in_language("GET", "/challenges", language)).await) }
    });
    for (language, answer) in futures_util::future::join_all(calls).await {
        assert!(answer.starts_with(language.unwrap_or("none")), "{language:?}: {answer}");
    }
    assert_eq!(
        (origin.calls(), start.elapsed()),
        (3, Duration::from_secs(1)),
        "one call for each, all at the same time"
    );
}

#[tokio::test(start_paused = true)]
async fn key_of_a_route_keeps_languages_apart_too() {
    let routes = vec![RouteRule::new("/users/{id}", Duration::from_secs(600)).key("user:{id}").tag("user:{id}")];
    let (service, _) = cached(&origin(), HttpCacheConfig { routes, ..HttpCacheConfig::default() });
    for _ in 0..2 {
        for (number, language) in LANGUAGES.into_iter().enumerate() {
            let answer = body(&service, in_language("GET", "/users/7", language)).await;
            assert_eq!(answer, format!("{} {number}", language.unwrap_or("none")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn further_headers_select_where_the_configuration_names_them() {
    let origin = Origin::answering(|number, _| answer(200, &[("cache-control", "max-age=600")], &number.to_string()));
    let selecting_headers = vec!["X-Region".to_owned()];
    let (service, _) = cached(&origin, HttpCacheConfig { selecting_headers, ..HttpCacheConfig::default() });
    for _ in 0..2 {
        assert_eq!(body(&service, get("/a")).await, "0");
        assert_eq!(body(&service, request("GET", "/a", &[("x-region", "eu")])).await, "1");
        assert_eq!(body(&service, request("GET", "/a", &[("x-region", "us")])).await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn change_in_one_language_strikes_all_in_every_level() {
    let rule = |path| RouteRule::new(path, Duration::from_secs(600));
    let keyed = rule("/users/{id}").key("user:{id}");
    let tagged = rule("/users/{id}").tag("user:{id}");
    for (what, routes) in [("uri", vec![]), ("key", vec![keyed]), ("tag", vec![tagged])] {
        // By the URI of the change, and by that of its Location.
        for (method, path) in [("PATCH", "/users/7"), ("POST", "/users")] {
            let (l2, l3) = (Shared::new(), Shared::new());
            let cache = levels::cache(l2, l3);
            let config = HttpCacheConfig { routes: routes.clone(), ..HttpCacheConfig::default() };
            let service = tower::Layer::layer(&layer(&cache, config), origin());
            let mut before = Vec::new();
            for language in LANGUAGES {
                before.push(body(&service, in_language("GET", "/users/7", language)).await);
            }
            send(&service, in_language(method, path, Some("de"))).await;
            cache.drop_memory();
            for (language, before) in LANGUAGES.into_iter().zip(before) {
                let after = body(&service, in_language("GET", "/users/7", language)).await;
                assert_ne!(after, before, "{what} {method} {language:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn read_in_another_language_under_way_during_a_change_stores_nothing() {
    let (service, _) = cached(&origin(), HttpCacheConfig::default());
    let reader = tokio::spawn({
        let service = service.clone();
        async move { body(&service, in_language("GET", "/users/7", Some("en"))).await }
    });
    settle().await;
    send(&service, in_language("PATCH", "/users/7", Some("de"))).await;
    assert_eq!(reader.await.unwrap(), "en 0");
    assert_eq!(body(&service, in_language("GET", "/users/7", Some("en"))).await, "en 2");
}
