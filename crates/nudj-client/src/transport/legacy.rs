//! The transport over hyper-util's `client::legacy`.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};
use nudj_tower::{
    BoxError,
    classify::{TransportError, find_in_chain},
};

use super::connector::{self, Connector};
use crate::config::{HttpConfig, HttpVersion};

pub(super) type Legacy = Client<Connector, Full<Bytes>>;

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
    Ok(builder.build(connector::connector(config)?))
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
