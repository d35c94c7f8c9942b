//! HashiCorp Vault's KV secrets engine, version 2, over its HTTP API.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use nudj_tower::{
    BoxError,
    credentials::{CredentialProvider, Fetch, Scheme},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ProviderError,
    endpoint::Endpoint,
    rotation::{Done, Revision, SecretStore, StoredKeys, Written},
};
use crate::{Error, config::HttpConfig, path};

/// A secret in HashiCorp Vault (or OpenBao), KV version 2. A provider, and a [`SecretStore`] for keys that rotate.
///
/// Vault's token goes to the one address alone, over TLS unless that is this machine or `http.allow_http` is set; no redirect is
/// followed with it. Reading is tried up to three times, each for at most 5 s.
///
/// As a provider it reads one field, `current` unless [set](Self::field), of the latest version. As a store it keeps the fields
/// `current`, `previous`, `rotated_at` and `begun`, and writes with check-and-set: of two processes that rotate, the second is told
/// [`ProviderError::Conflict`]. It refuses a secret that holds other fields, since writing would lose them.
///
/// ```no_run
/// use std::sync::Arc;
/// use nudj_client::{config::HttpConfig, credentials::{EnvironmentCredential, VaultSecret}};
///
/// # fn example() -> Result<VaultSecret, nudj_client::Error> {
/// let token = Arc::new(EnvironmentCredential::new(["VAULT_TOKEN"]));
/// Ok(VaultSecret::new("https://vault.internal:8200", "secret", "nudj/production", token, &HttpConfig::default())?
///     .namespace("marketing")?
///     .field("api_key"))
/// # }
/// ```
#[derive(Clone)]
pub struct VaultSecret {
    endpoint: Endpoint,
    token: Arc<dyn CredentialProvider>,
    namespace: Option<HeaderValue>,
    field: Arc<str>,
}

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault agents that guard against forged requests want it on each.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Version<T> {
    data: T,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Write {
    options: Options,
    data: Written,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

impl VaultSecret {
    /// Reads the secret at `path` of the engine mounted at `mount`, such as `secret`, from the Vault at `address`. Vault's own token comes
    /// from `token` at each request: from the file that a Vault agent keeps up to date, or the environment's `VAULT_TOKEN`.
    ///
    /// # Errors
    /// Of kind `config` when an argument cannot be used, or `address` is plain HTTP to another machine without `http.allow_http`.
    pub fn new(
        address: &str,
        mount: &str,
        path: &str,
        token: Arc<dyn CredentialProvider>,
        http: &HttpConfig,
    ) -> Result<Self, Error> {
        let url = format!(
            "{}/v1/{}/data/{}",
            address.trim_end_matches('/'),
            path::segments("vault mount", mount)?,
            path::segments("vault path", path)?
        );
        Ok(Self {
            endpoint: Endpoint::new("vault address", &url, http)?,
            token,
            namespace: None,
            field: "current".into(),
        })
    }

    /// Asks in this namespace (Vault Enterprise, HCP).
    ///
    /// # Errors
    /// Of kind `config` when it cannot stand in a header.
    pub fn namespace(mut self, namespace: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(namespace)
            .map_err(|_| Error::config("vault namespace", "must be visible ASCII, such as `team/`"))?;
        self.namespace = Some(value);
        Ok(self)
    }

    /// Reads this field of the secret.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = field.into();
        self
    }

    /// Reads, or writes `body`.
    async fn send(&self, body: Option<Vec<u8>>) -> Result<Response<Bytes>, BoxError> {
        let token = self.token.fetch().await?;
        let token = Scheme::Header(TOKEN)
            .header_value(token.secret())
            .map_err(|problem| ProviderError::Unsendable { what: "the token for Vault", problem })?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder()
            .method(method)
            .uri(self.endpoint.uri.clone())
            .header(TOKEN, token)
            .header(REQUEST, "true");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(namespace) = &self.namespace {
            request = request.header(NAMESPACE, namespace);
        }
        let answer = self.endpoint.send(request.body(Full::from(body.unwrap_or_default()))?).await?;
        if answer.status() == StatusCode::OK { Ok(answer) } else { Err(self.refused(&answer).into()) }
    }

    async fn read<T: for<'a> Deserialize<'a>>(&self, problem: &'static str) -> Result<Version<T>, BoxError> {
        let answer = self.send(None).await?;
        // The source is left out: it would show what stands there.
        let envelope: Envelope<Version<T>> =
            serde_json::from_slice(answer.body()).map_err(|_| self.endpoint.garbage(problem))?;
        Ok(envelope.data)
    }

    fn refused(&self, answer: &Response<Bytes>) -> ProviderError {
        let status = answer.status();
        let errors = serde_json::from_slice::<Refusal>(answer.body()).map(|body| body.errors).unwrap_or_default();
        // Only what is known is repeated: a server may write anything there, what it was sent included.
        let says = |text: &str| errors.iter().any(|error| error.contains(text));
        if status == StatusCode::BAD_REQUEST && says("check-and-set parameter did not match") {
            return ProviderError::Conflict { endpoint: self.endpoint.name.clone() };
        }
        let (code, advice) = match status {
            StatusCode::BAD_REQUEST => (None, "is the mount a KV engine of version 2?"),
            StatusCode::FORBIDDEN => (
                Some("permission denied"),
                "is the token valid, of this namespace, and do its policies allow the path?",
            ),
            StatusCode::NOT_FOUND => {
                (None, "are mount, path and namespace right, and is the latest version not deleted?")
            }
            StatusCode::TOO_MANY_REQUESTS => (Some("quota exceeded"), "it is tried again"),
            StatusCode::SERVICE_UNAVAILABLE if says("sealed") => (Some("sealed"), "unseal it; it is tried again"),
            status if status.is_redirection() => {
                (None, "give the address it redirects to; the token follows no redirect")
            }
            status if status.is_server_error() => (None, "it is tried again"),
            _ => (None, "is it the address of a Vault?"),
        };
        ProviderError::Refused { endpoint: self.endpoint.name.clone(), status, code, advice }
    }
}

impl CredentialProvider for VaultSecret {
    fn name(&self) -> &str {
        "vault"
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move {
            let read = self.read::<serde_json::Map<String, Value>>("it is no version of a KV 2 secret").await?;
            Ok(self.endpoint.field(&read.data, &self.field)?)
        })
    }
}

impl SecretStore for VaultSecret {
    fn name(&self) -> &str {
        "vault"
    }

    fn load(&self) -> Done<'_, StoredKeys> {
        Box::pin(async move {
            let problem = "it is no key store; write `current` alone into it";
            let read = self.read::<Written>(problem).await?;
            Ok(read.data.into_keys(Revision::new(read.metadata.version.to_string())))
        })
    }

    fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
        Box::pin(async move {
            // 0 says that nothing may be there yet.
            let cas = keys.revision.name().and_then(|version| version.parse().ok()).unwrap_or(0);
            let body = serde_json::to_vec(&Write { options: Options { cas }, data: Written::of(&keys) })?;
            let answer = self.send(Some(body)).await?;
            let written: Envelope<Metadata> = serde_json::from_slice(answer.body())
                .map_err(|_| self.endpoint.garbage("it does not say which version was written"))?;
            Ok(Revision::new(written.data.version.to_string()))
        })
    }
}

impl fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultSecret")
            .field("endpoint", &self.endpoint.name)
            .field("namespace", &self.namespace)
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}
