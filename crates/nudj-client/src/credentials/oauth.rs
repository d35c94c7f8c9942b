//! The client credentials grant of RFC 6749, section 4.4.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use nudj_tower::credentials::{Credential, CredentialProvider, Fetch};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::{ProviderError, endpoint::Endpoint};
use crate::{Error, config::HttpConfig, path::form};

/// Tokens from an OAuth2 token endpoint, for a client id and a secret.
///
/// The seed's grant; Nudj's public reference documents no token endpoint. The secret goes to the endpoint alone, over TLS unless that
/// is this machine or `http.allow_http` is set, and no redirect is followed with it.
#[derive(Clone)]
pub struct ClientCredentials {
    endpoint: Endpoint,
    id: String,
    secret: SecretString,
    scope: Option<String>,
    basic: bool,
}

/// What is read of an answer. The rest is ignored, as RFC 6749 asks.
#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl ClientCredentials {
    /// Asks the token endpoint at `url`. `http` says how it is reached: timeouts, authorities, plain HTTP.
    ///
    /// # Errors
    /// Of kind `config` when `url` cannot be used, or is plain HTTP to another machine without `http.allow_http`.
    pub fn new(
        url: &str,
        id: impl Into<String>,
        secret: impl Into<SecretString>,
        http: &HttpConfig,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::new("token endpoint", url, http)?;
        Ok(Self { endpoint, id: id.into(), secret: secret.into(), scope: None, basic: false })
    }

    /// Asks for this scope, or for several with spaces between them.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sends id and secret as `Authorization: Basic` instead of as form fields, for servers that take nothing else.
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.basic = true;
        self
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let secret = self.secret.expose_secret();
        let mut fields = vec![("grant_type", "client_credentials")];
        if !self.basic {
            fields.extend([("client_id", &*self.id), ("client_secret", secret)]);
        }
        fields.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let mut request = Request::post(self.endpoint.uri.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if self.basic {
            // Each part is form-encoded first: RFC 6749, section 2.3.1.
            let pair = BASE64_STANDARD.encode(format!("{}:{}", form(&self.id), form(secret)));
            let mut value = HeaderValue::try_from(format!("Basic {pair}"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = fields.iter().map(|(name, value)| format!("{name}={}", form(value))).collect::<Vec<_>>().join("&");
        request.body(Full::from(body))
    }

    fn read(&self, answer: &Response<Bytes>) -> Result<Credential, ProviderError> {
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer));
        }
        let token: Token =
            serde_json::from_slice(answer.body()).map_err(|_| self.endpoint.garbage("it is no JSON of a token"))?;
        if token.token_type.is_none_or(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(self.endpoint.garbage("its token_type is not Bearer"));
        }
        let secret = token.access_token.ok_or_else(|| self.endpoint.garbage("it has no access_token"))?;
        let credential = Credential::new(secret);
        match token.expires_in {
            None | Some(Value::Null) => Ok(credential),
            Some(lifetime) => match seconds(&lifetime) {
                Some(lifetime) => Ok(credential.valid_for(lifetime)),
                None => Err(self.endpoint.garbage("its expires_in is no number of seconds")),
            },
        }
    }

    fn refused(&self, answer: &Response<Bytes>) -> ProviderError {
        // Only codes that the RFC defines are repeated: a server may write anything there, what it was sent included.
        let code = serde_json::from_slice::<Refusal>(answer.body())
            .ok()
            .and_then(|refusal| CODES.into_iter().find(|(code, _)| *code == refusal.error));
        let status = answer.status();
        let advice = code.map_or_else(
            || match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "are client id and secret right?",
                status if status.is_redirection() => "give the URL it redirects to; the secret follows no redirect",
                status if status.is_server_error() => "it is tried again",
                _ => "is it the URL of the token endpoint?",
            },
            |(_, advice)| advice,
        );
        ProviderError::Refused {
            endpoint: self.endpoint.name.clone(),
            status,
            code: code.map(|(code, _)| code),
            advice,
        }
    }
}

/// The error codes of RFC 6749, section 5.2, and what to do about each.
const CODES: [(&str, &str); 6] = [
    ("invalid_request", "does this server want id and secret as Authorization: Basic?"),
    ("invalid_client", "are client id and secret right?"),
    ("invalid_grant", "may this client use the client credentials grant?"),
    ("unauthorized_client", "may this client use the client credentials grant?"),
    ("unsupported_grant_type", "the server does not offer the client credentials grant"),
    ("invalid_scope", "may this client ask for that scope?"),
];

/// Seconds as a number, or as a text that holds one, which some servers send. A time before now is none left.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if seconds.is_nan() {
        return None;
    }
    // A longer life than a century says that it does not expire; the keeper would not take a larger number either.
    Some(Duration::from_secs_f64(seconds.clamp(0.0, 3.2e9)))
}

impl CredentialProvider for ClientCredentials {
    fn name(&self) -> &str {
        "oauth2"
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move {
            let answer = self.endpoint.send(self.request()?).await?;
            Ok(self.read(&answer)?)
        })
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("endpoint", &self.endpoint.name)
            .field("scope", &self.scope)
            .field("basic", &self.basic)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
