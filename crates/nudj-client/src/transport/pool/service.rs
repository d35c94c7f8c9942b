use std::{future::ready, sync::Arc};

use http::{
    Method, Uri,
    uri::{Authority, Scheme},
};
use nudj_tower::{BoxError, classify::TransportError, round_robin::Origin};
use parking_lot::RwLock;

use super::{
    endpoint::Endpoint,
    error::PoolError,
    exchange::{Tries, exchange},
    make::Maker,
};
use crate::{
    config::HttpConfig,
    transport::{outgoing::Outgoing, wire::WholeExchange},
};

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

    /// The connections to where the request, whose URI is absolute, goes.
    pub(in crate::transport) fn bound(&self, request: &impl Outgoing) -> Result<Bound, BoxError> {
        self.endpoint(request.uri()).map(Bound)
    }

    /// The connections to `origin`.
    pub(in crate::transport) fn bound_to(&self, origin: &Origin) -> Result<Bound, BoxError> {
        self.endpoint(&origin.locate(Uri::from_static("/"))?).map(Bound)
    }

    fn endpoint(&self, uri: &Uri) -> Result<Arc<Endpoint>, BoxError> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(invalid("the URI has no scheme or no host; give an absolute one"));
        };
        if let Some(known) = self.shared.endpoints.read().find(scheme, authority)? {
            return Ok(known);
        }
        let new = Endpoint::new(scheme.clone(), authority.clone(), self.shared.maker.clone())
            .map_err(|error| BoxError::from(TransportError::InvalidRequest(error)))?;
        let mut endpoints = self.shared.endpoints.write();
        if let Some(known) = endpoints.find(scheme, authority)? {
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
    fn find(&self, scheme: &Scheme, authority: &Authority) -> Result<Option<Arc<Endpoint>>, BoxError> {
        if self.closed {
            return Err(PoolError::Closed.into_transport());
        }
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

/// The connections of one endpoint.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Bound(Arc<Endpoint>);

impl Bound {
    /// Sends a request there, and reads an answer of up to `limit` bytes.
    #[inline]
    pub(in crate::transport) fn exchange(&self, request: impl Outgoing, limit: usize) -> WholeExchange {
        if request.method() == Method::CONNECT {
            return Box::pin(ready(Err(invalid("CONNECT opens a tunnel, which this transport does not do"))));
        }
        exchange(&self.0, request, Tries::default(), limit)
    }
}

fn invalid(problem: &'static str) -> BoxError {
    Box::new(TransportError::InvalidRequest(problem.into()))
}
