//! The rate limiter.

mod endpoints;
mod given_back;
mod keys;
#[cfg(all(feature = "circuit-breaker", feature = "deadline"))]
mod overload;
mod pauses;
mod queue;
mod quota;
mod stack;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use http::{Request, Response};
use nudj_tower::{
    BoxError, LimitedBy, Rejection,
    rate_limit::{Algorithm, RateLimitConfig, RateLimitLayer},
};
use parking_lot::Mutex;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn config(max_requests: u32) -> RateLimitConfig {
    RateLimitConfig { max_requests, ..RateLimitConfig::default() }
}

fn both() -> [Algorithm; 2] {
    [Algorithm::SlidingWindow, Algorithm::Gcra]
}

/// Answers at once, and notes when it was called with what.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u32, Instant)>>>);

impl Log {
    fn order(&self) -> Vec<u32> {
        self.0.lock().iter().map(|(call, _)| *call).collect()
    }
}

impl Service<u32> for Log {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: u32) -> Self::Future {
        self.0.lock().push((call, Instant::now()));
        ready(Ok(call))
    }
}

fn rejection(error: &BoxError) -> Rejection {
    Rejection::find(&**error).expect("one of ours").clone()
}

fn refused<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejection {
    rejection(&result.unwrap_err())
}

/// Answers with the given status and headers.
fn answer(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future = Ready<Result<Response<()>, Infallible>>>
+ Clone {
    service_fn(move |_: Request<()>| {
        let mut response = Response::new(());
        *response.status_mut() = status.try_into().unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        ready(Ok(response))
    })
}
