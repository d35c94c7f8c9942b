//! Either transport, from a request to the whole answer.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use nudj_tower::BoxError;

use super::{
    ended::Ended,
    inflate::inflate,
    legacy::{self, Legacy},
    outgoing::Outgoing,
    pool::{Bound, Pool},
    reading::{Reading, is_encoded},
};
use crate::config::{HttpConfig, Transport};

#[derive(Clone, Debug)]
pub(super) enum Wire {
    Pool(Pool),
    /// The connections of one endpoint, found once.
    Bound(Bound),
    Legacy(Arc<Legacy>),
}

/// hyper's futures have no names, so one box holds the exchange, body included.
pub(super) type WholeExchange = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

impl Wire {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        Ok(match config.transport {
            Transport::Pool => Self::Pool(Pool::new(config)?),
            Transport::Legacy => Self::Legacy(Arc::new(legacy::client(config)?)),
        })
    }

    pub(super) async fn shutdown(&self) {
        if let Self::Pool(pool) = self {
            pool.shutdown().await;
        }
    }

    /// Sends `request`, and reads an answer of up to `limit` bytes.
    pub(super) fn exchange(&self, request: impl Outgoing, limit: usize) -> WholeExchange {
        match self {
            Self::Pool(pool) => match pool.bound(&request) {
                Ok(bound) => bound.exchange(request, limit),
                Err(error) => Box::pin(ready(Err(error))),
            },
            Self::Bound(bound) => bound.exchange(request, limit),
            Self::Legacy(client) => {
                let is_head = request.method() == Method::HEAD;
                let head = client.request(request.into_sent());
                Box::pin(async move {
                    let (head, body) = head.await.map_err(legacy::head_error)?.into_parts();
                    let body = Ended::new(body, head.version, is_head);
                    if is_encoded(&head.headers) {
                        return inflate(head, body, limit).await;
                    }
                    Ok(Response::from_parts(head, Full::new(Reading::announced(body, limit)?.await?)))
                })
            }
        }
    }
}
