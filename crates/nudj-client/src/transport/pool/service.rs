use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use nudj_tower::{BoxError, classify::TransportError};
use parking_lot::RwLock;
use tower_service::Service;

use super::{body::PooledBody, endpoint::Endpoint, error::PoolError, exchange::exchange, make::Maker};
use crate::config::HttpConfig;

/// From how many endpoints on those that are unused are forgotten when a new one comes.
const MANY: usize = 32;

/// Sends a request with an absolute URI over a connection of its own making. Clones share the connections.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    maker: Maker,
    endpoints: RwLock<Endpoints>,
}

#[derive(Debug, Default)]
struct Endpoints {
    /// A client has a handful: comparing is quicker than hashing.
    list: Vec<Arc<Endpoint>>,
    closed: bool,
}

impl Pool {
    pub(in crate::transport) fn new(config: &HttpConfig) -> Result<Self, crate::Error> {
        Ok(Self { shared: Arc::new(Shared { maker: Maker::new(config)?, endpoints: RwLock::default() }) })
    }

    /// Refuses new calls and those without a connection, and ends when the last exchange and its connection have ended.
    /// Dropping the future ends the waiting only.
    pub(in crate::transport) async fn shutdown(&self) {
        let endpoints = {
            let mut endpoints = self.shared.endpoints.write();
            endpoints.closed = true;
            endpoints.list.clone()
        };
        for endpoint in &endpoints {
            endpoint.close();
        }
        for endpoint in &endpoints {
            endpoint.emptied().await;
        }
    }

    fn endpoint(&self, request: &Request<Full<Bytes>>) -> Result<Arc<Endpoint>, BoxError> {
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(invalid("the URI has no scheme or no host; give an absolute one"));
        };
        if request.method() == Method::CONNECT {
            return Err(invalid("CONNECT opens a tunnel, which this transport does not do"));
        }
        if let Some(known) = self.shared.endpoints.read().find(request)? {
            return Ok(known);
        }
        let new = Endpoint::new(scheme.clone(), authority.clone(), self.shared.maker.clone())
            .map_err(|error| BoxError::from(TransportError::InvalidRequest(error)))?;
        let mut endpoints = self.shared.endpoints.write();
        if let Some(known) = endpoints.find(request)? {
            return Ok(known);
        }
        if endpoints.list.len() >= MANY {
            // A call or a connection would hold it too.
            endpoints.list.retain(|endpoint| Arc::strong_count(endpoint) > 1);
        }
        endpoints.list.push(Arc::clone(&new));
        Ok(new)
    }
}

impl Endpoints {
    fn find(&self, request: &Request<Full<Bytes>>) -> Result<Option<Arc<Endpoint>>, BoxError> {
        if self.closed {
            return Err(PoolError::Closed.into_transport());
        }
        let (Some(scheme), Some(authority)) = (request.uri().scheme(), request.uri().authority()) else {
            return Ok(None);
        };
        Ok(self.list.iter().find(|endpoint| endpoint.serves(scheme, authority)).cloned())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Their connections' tasks hold the endpoints; without this they would keep each other for good.
        for endpoint in &self.endpoints.get_mut().list {
            endpoint.drain_off();
        }
    }
}

impl Service<Request<Full<Bytes>>> for Pool {
    type Response = Response<PooledBody>;
    type Error = BoxError;
    type Future = PoolFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> PoolFuture {
        match self.endpoint(&request) {
            Ok(endpoint) => PoolFuture(Box::pin(exchange(endpoint, request))),
            Err(error) => PoolFuture(Box::pin(std::future::ready(Err(error)))),
        }
    }
}

/// Until the head of the answer. hyper's own future has no name, so one box holds it all.
pub(in crate::transport) struct PoolFuture(
    Pin<Box<dyn Future<Output = Result<Response<PooledBody>, BoxError>> + Send>>,
);

impl Future for PoolFuture {
    type Output = Result<Response<PooledBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for PoolFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolFuture").finish_non_exhaustive()
    }
}

fn invalid(problem: &'static str) -> BoxError {
    Box::new(TransportError::InvalidRequest(problem.into()))
}
