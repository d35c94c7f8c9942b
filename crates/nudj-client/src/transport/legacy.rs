//! The transport over hyper-util's `client::legacy`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use nudj_tower::{
    BoxError,
    classify::{TransportError, find_in_chain},
};
use tokio::time::timeout;
use tower_service::Service;

use super::{
    connector::{self, Connector},
    pool::PoolError,
};
use crate::config::{HttpConfig, HttpVersion};

pub(super) type Legacy = Client<Timed, Full<Bytes>>;

/// The connector with a bound on the whole: its own covers TCP, and the TLS handshake would go on for ever.
#[derive(Clone)]
pub(super) struct Timed {
    connector: Connector,
    limit: Duration,
}

type Connected = Result<<Connector as Service<Uri>>::Response, BoxError>;

impl Service<Uri> for Timed {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = BoxError;
    /// In a box, since it must be movable: once per connection.
    type Future = Pin<Box<dyn Future<Output = Connected> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, origin: Uri) -> Self::Future {
        let (connecting, limit) = (self.connector.call(origin), self.limit);
        Box::pin(async move {
            let io = timeout(limit, connecting).await.map_err(|_| PoolError::ConnectTimeout { limit })??;
            Ok(io)
        })
    }
}

pub(super) fn client(config: &HttpConfig) -> Result<Legacy, crate::Error> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_max_idle_per_host)
        .retry_canceled_requests(false)
        .http2_only(config.version == HttpVersion::Http2)
        .http2_keep_alive_interval(Some(connector::KEEP_ALIVE_INTERVAL))
        .http2_keep_alive_timeout(connector::KEEP_ALIVE_TIMEOUT);
    Ok(builder.build(Timed { connector: connector::connector(config)?, limit: config.connect_timeout }))
}

/// In the terms of the layers above.
pub(super) fn head_error(error: Error) -> BoxError {
    let connect = error.is_connect();
    // hyper cancels a request that still stands in its queue when a pooled connection turns out to be dead.
    let unsent = find_in_chain::<hyper::Error>(&error).is_some_and(hyper::Error::is_canceled);
    let error = Box::new(error);
    Box::new(match (connect, unsent) {
        (true, _) => TransportError::Connect(error),
        (_, true) => TransportError::Unsent(error),
        _ => TransportError::Exchange(error),
    })
}
