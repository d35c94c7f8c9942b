//! One server that hands out credentials, reached over our own transport and layers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
#[cfg(any(feature = "aws-secrets", feature = "vault"))]
use nudj_tower::credentials::Credential;
use nudj_tower::{
    retry::{RetryConfig, RetryLayer},
    round_robin::Origin,
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer},
};
#[cfg(any(feature = "aws-secrets", feature = "vault"))]
use serde_json::{Map, Value};
use tower::{ServiceBuilder, ServiceExt};

use super::ProviderError;
use crate::{Error, NudjService, config::HttpConfig, transport::Hyper};

/// The longest answer that can hold a credential.
const MOST_BYTES: usize = 64 * 1024;

/// The longest one try may take: also a store that nobody bounds from above must not wait for ever.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A lost packet is made up for within the wait of those who call; what lasts longer is for the keeper's backoff.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 2,
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(500),
        max_retry_after: Duration::from_secs(1),
        ..RetryConfig::default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    /// Origin and path, for errors.
    pub(super) name: String,
    service: NudjService,
}

/// The URL in its one normal form: a signature is made for that name of the host, and holds only for a request that carries it.
fn at(origin: &Origin, url: &str) -> Result<Uri, http::Error> {
    let normal = origin.locate(Uri::from_static("/"))?.into_parts();
    let mut parts = url.parse::<Uri>()?.into_parts();
    (parts.scheme, parts.authority) = (normal.scheme, normal.authority);
    Ok(Uri::from_parts(parts)?)
}

impl Endpoint {
    /// As [`HttpConfig::origin`] refuses.
    pub(super) fn new(field: &str, url: &str, http: &HttpConfig) -> Result<Self, Error> {
        let origin = http.origin(field, url)?;
        let uri = at(&origin, url).map_err(|_| Error::config(field, "is not a URL"))?;
        let http = HttpConfig { max_response_bytes: MOST_BYTES.min(http.max_response_bytes), ..http.clone() };
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new(retries())?)
            .layer(AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: ATTEMPT })?)
            .service(Hyper::new(&http)?);
        Ok(Self { uri, name: origin.name().to_string(), service: NudjService::new(service) })
    }

    /// Sends a request, a GET up to three times, and follows no redirect. Dropping the future breaks the exchange off.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ProviderError> {
        let unreachable = |source| ProviderError::Unreachable { endpoint: self.name.clone(), source };
        let (head, body) = self.service.clone().oneshot(request).await.map_err(unreachable)?.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        Ok(Response::from_parts(head, body))
    }

    /// One field of what stands in a secret.
    #[cfg(any(feature = "aws-secrets", feature = "vault"))]
    pub(super) fn field(&self, fields: &Map<String, Value>, name: &str) -> Result<Credential, ProviderError> {
        match fields.get(name) {
            Some(Value::String(secret)) => Ok(Credential::new(secret.as_str())),
            Some(_) => Err(self.garbage("the field is no text")),
            None => Err(self.garbage("it has no field of the configured name")),
        }
    }

    pub(super) fn garbage(&self, problem: &'static str) -> ProviderError {
        ProviderError::Garbage { endpoint: self.name.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_the_host_that_its_signature_names_and_to_the_path_as_given() {
        for (url, uri, name) in [
            ("https://Vault.Internal:443/v1/Key/", "https://vault.internal/v1/Key/", "https://vault.internal/v1/Key"),
            ("http://LocalHost:4566", "http://localhost:4566/", "http://localhost:4566"),
        ] {
            let endpoint = Endpoint::new("address", url, &HttpConfig::default()).unwrap();
            assert_eq!((endpoint.uri.to_string().as_str(), endpoint.name.as_str()), (uri, name));
        }
    }
}
