//! What the transport is given to send.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use nudj_tower::HttpRequest;

use crate::service::WholeCall;

/// A request on its way to hyper. A call keeps it in its box until then, so that it is not moved from hand to hand.
pub(super) trait Outgoing: HttpRequest + Send + Sized + 'static {
    fn into_request(self) -> Request<Full<Bytes>>;

    /// As hyper takes it: the version is the connection's to say, not that of the request which a handler passes on.
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
