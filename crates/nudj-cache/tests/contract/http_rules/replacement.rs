//! A stale answer, after the origin has given another that is not stored.

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use nudj_cache::BoxError;
use tower::{Layer, util::MapResponse};

use super::*;
use crate::origin::{Res, memory};

const WINDOWS: &[(&str, &str)] = &[("cache-control", "max-age=60, stale-while-revalidate=600, stale-if-error=600")];

/// A good answer first, then this one.
fn origin(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Origin {
    Origin::answering(move |number, _| match number {
        0 => answer(200, WINDOWS, "old"),
        _ => answer(status, headers, body),
    })
}

fn small() -> HttpCacheConfig {
    HttpCacheConfig { max_body_bytes: 8, ..HttpCacheConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn whole_answer_that_is_not_stored_ends_the_stale_one() {
    for (status, headers, text) in [
        (404, &[][..], "gone"),
        (410, &[], "gone"),
        (403, &[], "no"),
        (200, &[("cache-control", "no-store")], "private"),
        (200, &[("cache-control", "max-age=60")], "more than eight bytes"),
    ] {
        let origin = origin(status, headers, text);
        let (service, cache) = cached(&origin, small());
        send(&service, get("/a")).await;
        advance(S(61)).await;
        assert_eq!(send(&service, get("/a")).await, (200, "old".into()), "and is asked for in the background");
        settle().await;
        assert_eq!(send(&service, get("/a")).await, (status, text.into()), "{status} {headers:?}");
        assert_eq!((origin.calls(), cache.stats().stale), (3, 1), "{status} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_one_that_was_ended_does_not_stand_in_for_an_error() {
    let origin = Origin::answering(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=60, stale-if-error=600")], "old"),
        1 => answer(404, &[], "gone"),
        _ => answer(503, &[], "bad"),
    });
    let (service, _) = cached(&origin, HttpCacheConfig::default());
    send(&service, get("/a")).await;
    advance(S(61)).await;
    assert_eq!(send(&service, get("/a")).await, (404, "gone".into()));
    assert_eq!(send(&service, get("/a")).await, (503, "bad".into()));
}

#[tokio::test(start_paused = true)]
async fn answer_that_the_origin_cannot_answer_now_leaves_the_stale_one() {
    for status in [408, 429, 500, 501, 503] {
        let origin = origin(status, &[("cache-control", "no-store")], "later");
        let (service, _) = cached(&origin, small());
        send(&service, get("/a")).await;
        advance(S(61)).await;
        for _ in 0..2 {
            assert_eq!(send(&service, get("/a")).await, (200, "old".into()), "{status}");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answer_to_a_request_with_wishes_of_its_own_leaves_what_is_stored() {
    let origin = origin(404, &[], "gone");
    let (service, _) = cached(&origin, small());
    send(&service, get("/a")).await;
    let own = request("GET", "/a", &[("cache-control", "no-cache")]);
    assert_eq!(send(&service, own).await, (404, "gone".into()));
    assert_eq!(send(&service, get("/a")).await, (200, "old".into()));
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_cut_off_leaves_the_stale_one() {
    let broken = MapResponse::new(origin(200, WINDOWS, "new"), |answer: Res| {
        answer.map(|body| {
            let whole = body.collect().now_or_never().unwrap().unwrap().to_bytes();
            let end = if whole == "old" { None } else { Some(Err("cut".into())) };
            let frames = std::iter::once(Ok::<_, BoxError>(Frame::data(whole))).chain(end);
            StreamBody::new(stream::iter(frames.collect::<Vec<Result<Frame<Bytes>, _>>>()))
        })
    });
    let service = layer(&memory(), small()).streaming().layer(broken);
    let text = async || {
        let answer = service.clone().oneshot(get("/a")).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(text().await, "old");
    advance(S(61)).await;
    for _ in 0..2 {
        assert_eq!(text().await, "old");
        settle().await;
    }
}
