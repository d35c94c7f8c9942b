//! The service below, as the exchange sees it.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Service, ServiceExt};

use crate::error::BoxError;

/// A service that answers requests with a body `A` in HTTP.
pub(super) trait Origin<A>: Clone + Send + 'static {
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Waits until it is ready, and calls it.
    fn ask(self, request: Request<A>) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send;
}

impl<S, A, B> Origin<A> for S
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    A: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = B;

    async fn ask(self, request: Request<A>) -> Result<Response<B>, BoxError> {
        self.oneshot(request).await.map_err(Into::into)
    }
}
