//! RFC 9111 and 5861, and the routes' rules.

mod replacement;
mod staleness;
mod storing;

use std::time::Duration;

use nudj_cache::{HttpCacheConfig, RouteRule};
use tokio::time::advance;
use tower::ServiceExt;

use crate::{
    levels,
    origin::{Origin, answer, body, cached, clock, get, layer, request, send, settle},
};

const S: fn(u64) -> Duration = Duration::from_secs;

/// Answers with the number of the call, and these headers.
fn counting(headers: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::answering(move |number, _| answer(200, headers, &number.to_string()))
}
