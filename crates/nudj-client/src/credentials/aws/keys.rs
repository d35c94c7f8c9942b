use secrecy::SecretString;

use crate::{Error, credentials::ProviderError};

/// An AWS access key. Its id is no secret, the rest is.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    pub(super) id: String,
    pub(super) secret: SecretString,
    pub(super) session: Option<SecretString>,
}

impl AwsKeys {
    /// A key that lasts.
    pub fn new(id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self { id: id.into(), secret: secret.into(), session: None }
    }

    /// Adds the session token of a key that does not last.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<SecretString>) -> Self {
        self.session = Some(token.into());
        self
    }

    /// What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where it is set, `AWS_SESSION_TOKEN` hold. Roles that a machine or a pod
    /// has by itself are not asked for.
    ///
    /// # Errors
    /// Of kind `auth` when one of the first two is not set to a text.
    pub fn from_environment() -> Result<Self, Error> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let required = |name: &str| {
            text(name).ok_or_else(|| Error::auth(ProviderError::NotSet { names: name.to_owned() }.to_string()))
        };
        Ok(Self {
            id: required("AWS_ACCESS_KEY_ID")?,
            secret: required("AWS_SECRET_ACCESS_KEY")?.into(),
            session: text("AWS_SESSION_TOKEN").map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_environment_gives_both_parts_or_none() {
        let all = |name: &str| Some(format!("canary {name}"));
        let keys = AwsKeys::read(all).unwrap();
        assert_eq!(keys.secret.expose_secret(), "canary AWS_SECRET_ACCESS_KEY");
        assert!(keys.session.is_some());
        assert!(!format!("{keys:?}").contains("canary AWS_S"));
        let keys = AwsKeys::read(|name| all(name).filter(|_| name != "AWS_SESSION_TOKEN")).unwrap();
        assert!(keys.session.is_none());
        for missing in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let error =
                AwsKeys::read(|name| if name == missing { Some(String::new()) } else { all(name) }).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(missing) && !text.contains("canary"), "{text}");
        }
    }
}
