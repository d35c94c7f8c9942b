use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

/// A secret and how long it is good for.
#[derive(Clone, Debug)]
pub struct Credential {
    secret: SecretString,
    valid_for: Option<Duration>,
}

impl Credential {
    /// A secret that does not expire by itself.
    pub fn new(secret: impl Into<SecretString>) -> Self {
        Self { secret: secret.into(), valid_for: None }
    }

    /// The same secret, good for this long from now.
    #[must_use]
    pub fn valid_for(mut self, valid_for: Duration) -> Self {
        self.valid_for = Some(valid_for);
        self
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// How long it is good for; `None` means until it is replaced.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.valid_for
    }
}

/// How a credential stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `authorization: Bearer <secret>`.
    Bearer,
    /// The bare secret in a header of this name.
    Header(HeaderName),
}

impl Scheme {
    /// Whether a secret can stand in a request at all; what is wrong with it, without showing it, when not.
    ///
    /// # Errors
    /// The problem, for a person to read.
    pub fn check(&self, secret: &SecretString) -> Result<(), &'static str> {
        self.header_value(secret).map(drop)
    }

    pub(super) fn header_name(&self) -> &HeaderName {
        static BEARER: HeaderName = header::AUTHORIZATION;
        match self {
            Self::Bearer => &BEARER,
            Self::Header(name) => name,
        }
    }

    /// The header's value, marked sensitive. A `Bearer ` that came along with the secret is dropped first.
    ///
    /// # Errors
    /// The problem, for a person to read, when the secret cannot stand in a header. It is not shown.
    pub fn header_value(&self, secret: &SecretString) -> Result<HeaderValue, &'static str> {
        let secret = secret.expose_secret();
        let secret = secret.strip_prefix("Bearer ").unwrap_or(secret);
        if secret.is_empty() {
            return Err("it is empty");
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "it holds a space, a line end or another character no token has; was it read with its line end?",
            );
        }
        let value = match self {
            Self::Bearer => HeaderValue::try_from(format!("Bearer {secret}")),
            Self::Header(_) => HeaderValue::from_str(secret),
        };
        let mut value = value.map_err(|_| "it cannot stand in a header")?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_should_carry_is_refused() {
        for scheme in [Scheme::Bearer, Scheme::Header(HeaderName::from_static("x-api-token"))] {
            for secret in ["", "Bearer ", "a\nb: c", "a ", "\u{e4}", "a\0", "a\r"] {
                assert!(scheme.header_value(&secret.to_owned().into()).is_err(), "{secret:?}");
            }
        }
    }

    #[test]
    fn the_value_is_as_asked_and_sensitive() {
        for (scheme, given, expected) in [
            (Scheme::Bearer, "canary", "Bearer canary"),
            (Scheme::Bearer, "Bearer canary", "Bearer canary"),
            (Scheme::Header(HeaderName::from_static("x-api-token")), "canary", "canary"),
            (Scheme::Header(HeaderName::from_static("x-api-token")), "Bearer canary", "canary"),
        ] {
            let value = scheme.header_value(&given.to_owned().into()).unwrap();
            assert_eq!(value, expected);
            assert!(!format!("{value:?} {:?}", Credential::new(given.to_owned())).contains("canary"));
        }
    }
}
