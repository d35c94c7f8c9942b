//! One server that hands out credentials, reached over our own transport.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use nudj_tower::round_robin::Origin;
use tower::ServiceExt;

use super::ProviderError;
use crate::{Error, config::HttpConfig, transport::Hyper};

/// The longest answer that can hold a credential.
const MOST_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    /// Origin and path, for errors.
    pub(super) name: String,
    transport: Hyper,
}

impl Endpoint {
    /// Refuses what would show a secret: plain HTTP to another machine without `http.allow_http`, a URL that carries a password.
    pub(super) fn new(field: &str, url: &str, http: &HttpConfig) -> Result<Self, Error> {
        let origin = Origin::parse(url).map_err(|error| Error::config(field, error.to_string()))?;
        if origin.is_plain() && !origin.is_loopback() && !http.allow_http {
            let problem = "plain http would show the secret to the network; use https, or set http.allow_http = true";
            return Err(Error::config(field, problem));
        }
        let uri: Uri = url.parse().map_err(|_| Error::config(field, "is not a URL"))?;
        let http = HttpConfig { max_response_bytes: MOST_BYTES.min(http.max_response_bytes), ..http.clone() };
        Ok(Self { uri, name: origin.name().to_string(), transport: Hyper::new(&http)? })
    }

    /// Sends one request and follows no redirect. Dropping the future breaks the exchange off.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ProviderError> {
        let unreachable = |source| ProviderError::Unreachable { endpoint: self.name.clone(), source };
        let (head, body) = self.transport.clone().oneshot(request).await.map_err(unreachable)?.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        Ok(Response::from_parts(head, body))
    }

    pub(super) fn garbage(&self, problem: &'static str) -> ProviderError {
        ProviderError::Garbage { endpoint: self.name.clone(), problem }
    }
}
