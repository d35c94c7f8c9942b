//! What the transport is given to send.

use bytes::Bytes;
use http::{Request, Uri, Version};
use http_body_util::Full;
use nudj_tower::HttpRequest;

use crate::service::WholeCall;

/// A request on its way to a connection. A call keeps it in its box until then, so that it is not moved from hand to hand.
pub(super) trait Outgoing: HttpRequest + Send + Sized + 'static {
    fn into_request(self) -> Request<Full<Bytes>>;

    /// Leaves path and query of the URI, and nothing of where they were to go.
    #[inline]
    fn forget_origin(&mut self) {
        if self.uri().scheme().is_some() || self.uri().authority().is_some() {
            let parts = std::mem::take(self.uri_mut()).into_parts();
            *self.uri_mut() = parts.path_and_query.map(Uri::from).unwrap_or_default();
        }
    }

    /// As a connection takes it: the version is the connection's to say, not that of the request which a handler passes on.
    #[inline]
    fn into_sent(self) -> Request<Full<Bytes>> {
        let mut request = self.into_request();
        *request.version_mut() = Version::HTTP_11;
        request
    }
}

impl Outgoing for Request<Full<Bytes>> {
    fn into_request(self) -> Request<Full<Bytes>> {
        self
    }
}

impl Outgoing for WholeCall {
    fn into_request(self) -> Request<Full<Bytes>> {
        self.into_request()
    }
}
