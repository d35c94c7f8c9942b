//! The mock without a socket.

use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::{
    Builder, Control, MockNudj,
    body::{Pace, len},
    builder::TOKEN,
    error::Disconnected,
    exchange::Delivery,
    faults::Payload,
};

/// The error type of [`MockService`]: an [`std::io::Error`] of the kind a socket would give, with a [`Disconnected`] inside.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A filler body is cut at this length, since here it has to be held in memory.
const MOST_FILLER: u64 = 64 * 1024 * 1024;

/// The mock as a [`tower_service::Service`]: the same routes, log and faults, no socket, and latencies in tokio time, so that a
/// paused clock passes them at once.
///
/// Clones are the same mock. A fault that closes the connection is an error; so is a truncated body, since the answer is given
/// whole or not at all. A dripping body takes its time and then comes whole.
#[derive(Clone)]
pub struct MockService {
    control: Control,
    token: String,
    instance: usize,
    killed: Arc<AtomicBool>,
}

impl MockService {
    pub(crate) fn new(control: Control, token: String, instance: usize) -> Self {
        Self { control, token, instance, killed: Arc::default() }
    }

    /// Sets up a mock with other than the usual settings; finish with [`Builder::service`].
    pub fn builder() -> Builder {
        MockNudj::builder()
    }

    /// A valid token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Another instance over the same data, log and faults, as faults by [`instance`](crate::Fault::instance) see it.
    #[must_use]
    pub fn at_instance(&self, instance: usize) -> Self {
        Self::new(self.control.clone(), self.token.clone(), instance)
    }

    /// From now on every call to this instance and its clones fails as a refused connection does: nothing was sent, and nudj's client
    /// goes on to the next endpoint.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
    }

    /// Answers again.
    pub fn revive(&self) {
        self.killed.store(false, Ordering::Relaxed);
    }
}

impl Default for MockService {
    fn default() -> Self {
        let control = Control { core: Arc::new(Builder::default().core()) };
        Self::new(control, TOKEN.to_owned(), 0)
    }
}

impl Deref for MockService {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl fmt::Debug for MockService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockService").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for MockService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if this.killed.load(Ordering::Relaxed) {
                return Err(std::io::Error::from(Disconnected::Refused).into());
            }
            let delivery = this.control.core.exchange(this.instance, request).await;
            receive(delivery).await.map_err(|cut| std::io::Error::from(cut).into())
        })
    }
}

/// What a client on the other side of a socket would get in the end.
async fn receive(delivery: Delivery) -> Result<Response<Full<Bytes>>, Disconnected> {
    let Delivery::Answer { head, body, pace } = delivery else { return Err(Disconnected::BeforeAnswer) };
    match pace {
        Pace::Whole => {}
        Pace::Cut(_) => return Err(Disconnected::InsideBody),
        Pace::Drip { chunk, every } => {
            let pieces = len(&body).div_ceil(u64::try_from(chunk).unwrap_or(u64::MAX));
            tokio::time::sleep(every.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))).await;
        }
    }
    let body = match body {
        Payload::Bytes(bytes) => bytes,
        Payload::Filler(len) => Bytes::from(vec![b'x'; usize::try_from(len.min(MOST_FILLER)).unwrap_or(0)]),
    };
    Ok(Response::from_parts(head, Full::new(body)))
}
