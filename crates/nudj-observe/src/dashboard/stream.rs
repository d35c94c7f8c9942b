//! One viewer's stream of server-sent events.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::{sync::watch, time::Instant};

use super::hub::{Frame, Hub, event};

/// A place among the viewers; given back when the stream is dropped.
struct Place {
    hub: Arc<Hub>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.viewers.leave(self.id);
    }
}

struct Viewer {
    place: Place,
    frames: watch::Receiver<Frame>,
    closed: watch::Receiver<bool>,
    controls: bool,
    /// The number of the last frame taken; `None` before the first.
    last: Option<u64>,
}

pub(super) fn open(hub: Arc<Hub>, controls: bool) -> Response<Body> {
    let Some(id) = hub.viewers.admit(Instant::now()) else {
        let most = hub.config.max_viewers;
        return super::router::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{most} are watching, which is the limit (max_viewers); try again later"),
        );
    };
    let place = Place { hub, id };
    let hub = &place.hub;
    let (frames, closed) = (hub.frames.subscribe(), hub.closed.subscribe());
    hub.publish();
    let viewer = Viewer { place, frames, closed, controls, last: None };
    let body = Body::from_stream(unfold(viewer, |mut viewer| async {
        let event = viewer.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), viewer))
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        if *self.closed.borrow_and_update() {
            return None;
        }
        if self.last.is_some() {
            tokio::select! {
                changed = self.frames.changed() => changed.ok()?,
                _ = self.closed.changed() => return None,
            }
        }
        let Self { place: Place { hub, id }, frames, .. } = self;
        if !hub.viewers.seen(*id, Instant::now()) {
            return None;
        }
        let frame = frames.borrow_and_update().clone();
        let missed_none = self.last.is_some_and(|last| last.wrapping_add(1) == frame.number);
        let first = self.last.replace(frame.number).is_none();
        if missed_none {
            return Some(frame.event);
        }
        // The first, or after frames that it was too slow for: everything anew.
        let whole = event("whole", frame.number, &hub.whole());
        if !first {
            return Some(whole);
        }
        let hello = format!("retry: 1000\nevent: hello\ndata: {{\"controls\":{}}}\n\n", self.controls);
        Some([hello.as_bytes(), &whole[..]].concat().into())
    }
}
