use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use nudj_tower::{
    BoxError,
    credentials::{Credential, CredentialProvider, Fetch},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AwsKeys,
    refusal::{NOT_THERE, code, refused},
    sigv4::{self, Scope},
};
use crate::{
    Error,
    config::HttpConfig,
    credentials::{
        ProviderError,
        endpoint::Endpoint,
        rotation::{Done, Revision, SecretStore, StoredKeys, Written},
    },
    error::{new_uuid, wall_clock},
};

/// A secret in AWS Secrets Manager. A provider, and a [`SecretStore`] for keys that rotate.
///
/// Each request is signed for this service, region and minute, and goes over TLS unless the address is this machine's or
/// `http.allow_http` is set; no redirect is followed with it, and none takes longer than 5 s.
///
/// As a provider it reads the whole text of the secret, or one [field](Self::field) of the JSON that stands there. As a store it keeps
/// that JSON itself, with the fields `current`, `previous`, `rotated_at` and `begun`; a writing becomes `AWSCURRENT` only if
/// that label is still where it was when the keys were read: of two processes that rotate, the second is told
/// [`ProviderError::Conflict`]. The access key needs `GetSecretValue`, and as a store `PutSecretValue` and `UpdateSecretVersionStage`.
///
/// ```no_run
/// use nudj_client::{config::HttpConfig, credentials::{AwsKeys, AwsSecret}};
///
/// # fn example() -> Result<AwsSecret, nudj_client::Error> {
/// let keys = AwsKeys::from_environment()?;
/// Ok(AwsSecret::new("eu-west-1", "nudj/production", keys, &HttpConfig::default())?.field("api_key"))
/// # }
/// ```
#[derive(Clone)]
pub struct AwsSecret {
    endpoint: Endpoint,
    host: HeaderValue,
    scope: Scope,
    keys: AwsKeys,
    id: Arc<str>,
    field: Option<Arc<str>>,
}

const NAME: &str = "aws-secrets-manager";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const CURRENT: &str = "AWSCURRENT";
/// The label of a value that is written and not current yet.
const PENDING: &str = "nudj-pending";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    secret_string: Option<String>,
    version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    version_id: String,
}

impl AwsSecret {
    /// The secret of this name or ARN, in this region.
    ///
    /// # Errors
    /// Of kind `config` when the region is none.
    pub fn new(region: &str, id: impl Into<Arc<str>>, keys: AwsKeys, http: &HttpConfig) -> Result<Self, Error> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(fits) {
            return Err(Error::config("aws region", "must be a region's code, such as eu-west-1"));
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Self::at(&format!("https://secretsmanager.{region}.{domain}"), region, id, keys, http)
    }

    /// As [`new`](Self::new), at another address: a VPC endpoint's, or that of an emulator.
    ///
    /// # Errors
    /// Of kind `config` when `address` cannot be used, or is plain HTTP to another machine without `http.allow_http`.
    pub fn at(
        address: &str,
        region: &str,
        id: impl Into<Arc<str>>,
        keys: AwsKeys,
        http: &HttpConfig,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::new("aws address", address, http)?;
        if !matches!(endpoint.uri.path(), "" | "/") {
            return Err(Error::config("aws address", "must have no path"));
        }
        // As hyper writes it: without the scheme's own port.
        let origin = &endpoint.name;
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        let host = HeaderValue::from_str(host).map_err(|_| Error::config("aws address", "has no usable host"))?;
        let scope = Scope { region: region.to_owned(), service: "secretsmanager" };
        Ok(Self { endpoint, host, scope, keys, id: id.into(), field: None })
    }

    /// Reads this field of the JSON object that the secret holds.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(field.into());
        self
    }

    async fn send(&self, action: &str, body: &Value) -> Result<Response<Bytes>, BoxError> {
        let body = serde_json::to_vec(body)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert(TARGET, HeaderValue::try_from(format!("secretsmanager.{action}"))?);
        let now = sigv4::timestamp(wall_clock()).ok_or("this machine's clock is wrong")?;
        headers.insert(sigv4::DATE, HeaderValue::try_from(now)?);
        let unsendable = |problem| ProviderError::Unsendable { what: "the AWS access key", problem };
        if let Some(session) = &self.keys.session {
            let mut value = HeaderValue::from_str(session.expose_secret())
                .map_err(|_| unsendable("the session token cannot stand in a header"))?;
            value.set_sensitive(true);
            headers.insert(sigv4::SECURITY_TOKEN, value);
        }
        let signature = sigv4::authorization(&self.keys, &self.scope, &Method::POST, &headers, &body)
            .ok_or_else(|| unsendable("its id cannot stand in a header"))?;
        headers.insert(header::AUTHORIZATION, signature);
        let mut request = Request::post(self.endpoint.uri.clone()).body(Full::from(body))?;
        *request.headers_mut() = headers;
        Ok(self.endpoint.send(request).await?)
    }

    async fn done(&self, action: &str, body: &Value) -> Result<Bytes, BoxError> {
        let answer = self.send(action, body).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            _ => Err(refused(&self.endpoint.name, &answer).into()),
        }
    }

    async fn get(&self) -> Result<(SecretString, Option<String>), BoxError> {
        let body = json!({ "SecretId": &*self.id, "VersionStage": CURRENT });
        let answer = self.done("GetSecretValue", &body).await?;
        // The source is left out: it would show what stands there.
        let got: Got = serde_json::from_slice(&answer)
            .map_err(|_| self.endpoint.garbage("it is no answer of AWS Secrets Manager"))?;
        let text = got.secret_string.ok_or_else(|| self.endpoint.garbage("it holds bytes and no text"))?;
        Ok((text.into(), got.version_id))
    }
}

impl CredentialProvider for AwsSecret {
    fn name(&self) -> &str {
        NAME
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move {
            let (text, _) = self.get().await?;
            let Some(field) = &self.field else { return Ok(Credential::new(text)) };
            let fields = serde_json::from_str(text.expose_secret())
                .map_err(|_| self.endpoint.garbage("it is no JSON object, and a field of it is configured"))?;
            Ok(self.endpoint.field(&fields, field)?)
        })
    }
}

impl SecretStore for AwsSecret {
    fn name(&self) -> &str {
        NAME
    }

    fn load(&self) -> Done<'_, StoredKeys> {
        Box::pin(async move {
            let (text, version) = self.get().await?;
            let problem = "it is no key store; write {\"current\":\"…\"} into it";
            let written: Written =
                serde_json::from_str(text.expose_secret()).map_err(|_| self.endpoint.garbage(problem))?;
            Ok(written.into_keys(version.map_or_else(Revision::default, Revision::new)))
        })
    }

    fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
        Box::pin(async move {
            let conflict = || ProviderError::Conflict { endpoint: self.endpoint.name.clone() };
            let read = keys.revision.name().ok_or_else(conflict)?;
            let put = json!({
                "SecretId": &*self.id,
                "SecretString": serde_json::to_string(&Written::of(&keys))?,
                "ClientRequestToken": new_uuid().to_string(),
                "VersionStages": [PENDING],
            });
            let answer = self.done("PutSecretValue", &put).await?;
            let put: Put = serde_json::from_slice(&answer)
                .map_err(|_| self.endpoint.garbage("it does not say which version was written"))?;
            let label = json!({
                "SecretId": &*self.id,
                "VersionStage": CURRENT,
                "MoveToVersionId": put.version_id,
                "RemoveFromVersionId": read,
            });
            let answer = self.send("UpdateSecretVersionStage", &label).await?;
            match (answer.status(), code(&answer)) {
                (StatusCode::OK, _) => Ok(Revision::new(put.version_id)),
                (_, Some((NOT_THERE, _))) => Err(conflict().into()),
                _ => Err(refused(&self.endpoint.name, &answer).into()),
            }
        })
    }
}

impl fmt::Debug for AwsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecret")
            .field("endpoint", &self.endpoint.name)
            .field("id", &self.id)
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}
