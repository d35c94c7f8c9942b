//! Making connections, and keeping them alive: one task each.
//!
//! A call never makes its own connection; it waits for the first that is made or freed. So a cancelled call takes no half-made
//! connection with it, and one that is freed first serves first.

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::{Uri, uri::Scheme};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::{client::legacy::connect::Connection as _, rt::TokioIo};
use nudj_tower::BoxError;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tower_service::Service;

use super::{
    alarm::{self, Watchman},
    connection::Exclusive,
    drive::Drive,
    endpoint::Endpoint,
    error::PoolError,
    http2,
    keep_alive::Asked,
    shared::{Multiplexed, Shared},
    slots::{Limits, Protocol},
    times::{self, Timekeeper},
    turns::Turns,
};
use crate::{
    config::{HttpConfig, HttpVersion},
    transport::{
        connector::{self, Connector},
        watched::Watch,
    },
};

/// Makes connections as the configuration says.
#[derive(Clone)]
pub(super) struct Maker {
    connector: Connector,
    version: HttpVersion,
    connect_timeout: Duration,
    max_wait: Duration,
    limits: Limits,
}

/// Longer than anything runs, and never beyond what the clock can tell: a sweep always has a next time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Maker {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        Ok(Self {
            connector: connector::connector(config)?,
            version: config.version,
            connect_timeout: config.connect_timeout,
            max_wait: config.pool_max_wait,
            limits: Limits {
                max_open: config.pool_max_per_host,
                max_shared: config.pool_max_http2_per_host.max(1),
                max_idle: config.pool_max_idle_per_host,
                max_waiting: config.pool_max_waiting,
                idle_timeout: config.pool_idle_timeout.min(LONGEST),
                max_age: (!config.pool_max_age.is_zero()).then_some(config.pool_max_age),
            },
        })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn max_wait(&self) -> Duration {
        self.max_wait
    }

    pub(super) fn protocol(&self, scheme: &Scheme) -> Protocol {
        match self.version {
            HttpVersion::Http1 => Protocol::Http1,
            HttpVersion::Http2 => Protocol::Http2,
            HttpVersion::Auto if *scheme == Scheme::HTTPS => Protocol::Unknown,
            HttpVersion::Auto => Protocol::Http1,
        }
    }

    async fn make(&self, origin: Result<Uri, http::Error>) -> Result<Made, PoolError> {
        let limit = self.connect_timeout;
        match timeout(limit, self.handshake(origin)).await {
            Ok(made) => made.map_err(|error| PoolError::Connect(error.into())),
            Err(_) => Err(PoolError::ConnectTimeout { limit }),
        }
    }

    async fn handshake(&self, origin: Result<Uri, http::Error>) -> Result<Made, BoxError> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        let io = connector.call(origin?).await?;
        let (held, released) = oneshot::channel();
        let connected = io.connected();
        let watch = Watch::of(&connected);
        if self.version == HttpVersion::Http2 || connected.is_negotiated_h2() {
            let (io, traffic) = Turns::new(TokioIo::new(io));
            let (sender, mut connection) = http2::handshake(io).await?;
            let pings = connection.ping_pong();
            let (times, timekeeper) = poll_fn(|cx| Poll::Ready(times::times(cx))).await.unzip();
            let drive = Drive::new(Box::pin(connection), timekeeper, released);
            let asked = times.clone().zip(pings).map(|(times, pings)| Asked::new(times, Arc::clone(&traffic), pings));
            Ok(Made::Shared(Shared::new(sender, held, watch, times, traffic), drive, asked))
        } else {
            let (mut sender, connection) = http1::Builder::new().handshake(io).await?;
            let mut connection = Box::pin(connection);
            let (alarm, watchman) = poll_fn(|cx| Poll::Ready(alarm::alarm(cx))).await.unzip();
            // The first poll makes it ready to take a request.
            poll_fn(|cx| {
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(BoxError::from("the server closed the connection at once")));
                }
                sender.poll_ready(cx).map_err(Into::into)
            })
            .await?;
            let exclusive = Box::new(Exclusive { sender, held, watch, alarm });
            Ok(Made::One(exclusive, Drive::new(connection, watchman, released)))
        }
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").field("version", &self.version).field("limits", &self.limits).finish_non_exhaustive()
    }
}

type Io = <Connector as Service<Uri>>::Response;

enum Made {
    One(Box<Exclusive>, Drive<http1::Connection<Io, Full<Bytes>>, Watchman>),
    /// And by what its peer is asked for a sign of life.
    Shared(Multiplexed, Drive<h2::client::Connection<Turns<TokioIo<Io>>, Bytes>, Timekeeper>, Option<Asked>),
}

/// Makes `count` connections, each in a task of its own. Their places are reserved already.
pub(super) fn start(endpoint: &Arc<Endpoint>, count: usize) {
    if count == 0 {
        return;
    }
    // All places first: should spawning fail, they are given back.
    let places: Vec<Place> = (0..count).map(|_| Place::new(endpoint)).collect();
    if let Ok(runtime) = Handle::try_current() {
        for place in places {
            runtime.spawn(keep(place));
        }
    }
}

/// A reserved place, until it is given back.
struct Place {
    endpoint: Arc<Endpoint>,
    making: bool,
    given_back: bool,
}

impl Place {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: Arc::clone(endpoint), making: true, given_back: false }
    }

    fn end(mut self) {
        self.given_back = true;
        start(&self.endpoint, self.endpoint.ended());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.given_back {
            self.endpoint.lost(self.making);
        }
    }
}

async fn keep(mut place: Place) {
    let endpoint = Arc::clone(&place.endpoint);
    let made = endpoint.maker.make(endpoint.origin()).await;
    place.making = false;
    match made {
        Err(error) => endpoint.failed(&error),
        Ok(Made::One(connection, mut drive)) => {
            start(&endpoint, endpoint.made_one(connection));
            drive.run(|| {}).await;
        }
        Ok(Made::Shared(connection, mut drive, asked)) => {
            let id = endpoint.made_shared(&connection);
            let traffic = Arc::clone(connection.traffic());
            drop(connection);
            let _watched = asked.map(|asked| {
                let endpoint = Arc::clone(&endpoint);
                asked.watch(move || endpoint.is_in_use(id))
            });
            let polled = || {
                traffic.polled();
                endpoint.polled();
            };
            drive.run(polled).await;
            endpoint.retire(id);
        }
    }
    place.end();
    endpoint.try_again().await;
}
