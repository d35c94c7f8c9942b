//! API Link: a member of your site signs in to Nudj by a token that you sign.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto::aws_lc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::{Error, config::HttpConfig, error::wall_clock, path};

/// Signs user tokens with the client secret of an API Link, and makes the links that browsers are sent to.
///
/// The documentation does not show which algorithm is expected; HS256 is the usual one for a shared secret. A token is good for
/// 5 minutes unless [set](Self::lifetime): make it when the user clicks. Whoever holds one is that user, so tokens and links are
/// secrets too.
///
/// ```
/// use nudj_client::{config::HttpConfig, credentials::{ApiLink, LinkUser}};
/// use secrecy::ExposeSecret;
///
/// # fn example(client_secret: secrecy::SecretString) -> Result<(), nudj_client::Error> {
/// let link = ApiLink::new("https://acme.nudj.cx", "client-1", client_secret, &HttpConfig::default())?;
/// let ada = LinkUser { email: Some("ada@example.org".into()), ..LinkUser::new("customer-42") };
/// let url = link.url(&ada, Some("/challenges"))?;
/// assert!(url.expose_secret().starts_with("https://acme.nudj.cx/api/link?userToken=ey"));
/// # Ok(()) }
/// # example("a secret of at least thirty-two bytes".to_owned().into()).unwrap();
/// ```
///
/// Source: Nudj's "API Link user authentication" page; `iat` and `exp` are added to the claims it lists.
#[derive(Clone)]
pub struct ApiLink {
    origin: String,
    client_id: String,
    secret: SecretString,
    algorithm: LinkAlgorithm,
    lifetime: Duration,
}

/// How user tokens are signed: HMAC with SHA-2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// Who signs in. A `user_id` that Nudj knows is updated, another is created.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkUser {
    /// Your own id of the user; Nudj keeps it as the external id. Not empty.
    pub user_id: String,
    /// The user's language. Default `en`.
    pub locale: String,
    /// The user's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The anonymous account whose progress the user takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_account_id: Option<String>,
}

#[derive(Serialize)]
struct Claims<'u> {
    #[serde(flatten)]
    user: &'u LinkUser,
    iat: u64,
    exp: u64,
}

impl ApiLink {
    /// Signs for the organisation at `domain`, such as `https://acme.nudj.cx`.
    ///
    /// # Errors
    /// Of kind `config` when `domain` is no origin, or plain HTTP to another machine without `http.allow_http`; when the client id
    /// or the secret is empty.
    pub fn new(
        domain: &str,
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
        http: &HttpConfig,
    ) -> Result<Self, Error> {
        let (client_id, secret) = (client_id.into(), client_secret.into());
        if client_id.is_empty() || secret.expose_secret().is_empty() {
            return Err(Error::config("api link", "needs a client id and a client secret"));
        }
        let origin = http.named_origin("api link domain", domain)?.name().to_string();
        Ok(Self { origin, client_id, secret, algorithm: LinkAlgorithm::default(), lifetime: Duration::from_secs(300) })
    }

    /// Signs by another algorithm.
    #[must_use]
    pub fn algorithm(mut self, algorithm: LinkAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long a token is good for, in whole seconds: 5 minutes unless set, at least 1 s and at most a day.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.clamp(Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
        self
    }

    /// A token for this user, good from now.
    ///
    /// # Errors
    /// Of kind `config` when the user's id or locale is empty.
    pub fn token(&self, user: &LinkUser) -> Result<SecretString, Error> {
        self.token_at(user, wall_clock())
    }

    /// Where to send the user's browser: the link with a token in it, and where to go from there: `callback_path`, a path on the same
    /// site that your organisation's settings allow.
    ///
    /// # Errors
    /// As [`token`](Self::token), and when `callback_path` would lead to another site.
    pub fn url(&self, user: &LinkUser, callback_path: Option<&str>) -> Result<SecretString, Error> {
        // Browsers read `\` as `/`, drop tabs and line ends, and so see another site's name in more than `//`.
        let elsewhere = |path: &&str| {
            !path.starts_with('/') || path[1..].starts_with(['/', '\\']) || path.contains(|c: char| c.is_control())
        };
        if callback_path.as_ref().is_some_and(elsewhere) {
            return Err(Error::config("callback_path", "must be a path on the same site, such as `/challenges`"));
        }
        let token = self.token(user)?;
        let mut url = format!("{}/api/link", self.origin);
        let pairs = [("userToken", token.expose_secret()), ("clientId", &*self.client_id)];
        let pairs = pairs.into_iter().chain(callback_path.map(|path| ("callbackPath", path)));
        path::append_query(&mut url, pairs.map(|(name, value)| (name, value.to_owned())));
        Ok(url.into())
    }

    fn token_at(&self, user: &LinkUser, now: SystemTime) -> Result<SecretString, Error> {
        for (field, value) in [("user_id", &user.user_id), ("locale", &user.locale)] {
            if value.is_empty() {
                return Err(Error::config(field, "must not be empty"));
            }
        }
        let iat = now.duration_since(SystemTime::UNIX_EPOCH).map(|age| age.as_secs()).unwrap_or_default();
        let claims = Claims { user, iat, exp: iat.saturating_add(self.lifetime.as_secs()) };
        let unsigned = |error: jsonwebtoken::errors::Error| Error::config("api link", "cannot sign").caused_by(error);
        let algorithm = match self.algorithm {
            LinkAlgorithm::Hs256 => Algorithm::HS256,
            LinkAlgorithm::Hs384 => Algorithm::HS384,
            LinkAlgorithm::Hs512 => Algorithm::HS512,
        };
        // Not `encode`: it panics when another crate has switched on a second backend and no one installed either.
        let key = EncodingKey::from_secret(self.secret.expose_secret().as_bytes());
        let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).map_err(unsigned)?;
        let message = format!("{}.{}", part(&Header::new(algorithm))?, part(&claims)?);
        let signature = signer.try_sign(message.as_bytes()).map_err(|error| unsigned(error.into()))?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

fn part(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_vec(value)
        .map_err(|error| Error::config("api link", "cannot be written as JSON").caused_by(error))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

impl LinkUser {
    /// A user of your own, in English.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self {
            user_id: user_id.into(),
            locale: "en".to_owned(),
            email: None,
            username: None,
            anonymous_account_id: None,
        }
    }
}

impl fmt::Debug for LinkUser {
    /// Without what is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkUser").field("locale", &self.locale).finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiLink")
            .field("origin", &self.origin)
            .field("client_id", &self.client_id)
            .field("algorithm", &self.algorithm)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
