//! Either transport, as one service.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;
use nudj_tower::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    legacy::{self, Legacy},
    pool::{Pool, PoolFuture, PooledBody},
};
use crate::config::{HttpConfig, Transport};

#[derive(Clone, Debug)]
pub(super) enum Wire {
    Pool(Pool),
    Legacy(Arc<Legacy>),
}

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
}

impl Service<Request<Full<Bytes>>> for Wire {
    type Response = Response<WireBody>;
    type Error = BoxError;
    type Future = WireFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> WireFuture {
        match self {
            Self::Pool(pool) => WireFuture::Pool { future: pool.call(request) },
            Self::Legacy(client) => WireFuture::Legacy { future: client.request(request) },
        }
    }
}

pin_project! {
    #[project = WireFutureProj]
    pub(super) enum WireFuture {
        Pool { #[pin] future: PoolFuture },
        Legacy { #[pin] future: ResponseFuture },
    }
}

impl Future for WireFuture {
    type Output = Result<Response<WireBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            WireFutureProj::Pool { future } => {
                future.poll(cx).map_ok(|response| response.map(|body| WireBody::Pool { body }))
            }
            WireFutureProj::Legacy { future } => future
                .poll(cx)
                .map_ok(|response| response.map(|body| WireBody::Legacy { body }))
                .map_err(legacy::head_error),
        }
    }
}

pin_project! {
    #[project = WireBodyProj]
    pub(super) enum WireBody {
        Pool { #[pin] body: PooledBody },
        Legacy { #[pin] body: Incoming },
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.project() {
            WireBodyProj::Pool { body } => body.poll_frame(cx),
            WireBodyProj::Legacy { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Pool { body } => body.is_end_stream(),
            Self::Legacy { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Pool { body } => body.size_hint(),
            Self::Legacy { body } => body.size_hint(),
        }
    }
}
