use std::future::ready;

use nudj_tower::credentials::{Credential, CredentialProvider, Fetch};

use super::ProviderError;

/// The first of some environment variables that holds a text. An empty one counts as not set.
///
/// A process's environment does not change while it runs, so it is never read again to help a 401.
#[derive(Clone, Debug)]
pub struct EnvironmentCredential {
    names: Vec<String>,
}

impl EnvironmentCredential {
    /// Looks at these variables, in this order, such as `["NUDJ_API_TOKEN", "NUDJ_API_KEY"]`.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }

    fn read(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<Credential, ProviderError> {
        self.names
            .iter()
            .filter_map(|name| lookup(name))
            .find(|value| !value.is_empty())
            .map(Credential::new)
            .ok_or_else(|| ProviderError::NotSet { names: self.names.join(", ") })
    }
}

impl CredentialProvider for EnvironmentCredential {
    fn name(&self) -> &str {
        "environment"
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(ready(self.read(|name| std::env::var(name).ok()).map_err(Into::into)))
    }

    fn renews(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Credential, ProviderError> {
        EnvironmentCredential::new(["FIRST", "SECOND"])
            .read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_first_that_holds_a_text_wins() {
        for (pairs, expected) in [
            (&[("FIRST", "a"), ("SECOND", "b")][..], "a"),
            (&[("SECOND", "b")][..], "b"),
            (&[("FIRST", ""), ("SECOND", "b")][..], "b"),
        ] {
            assert_eq!(read(pairs).unwrap().secret().expose_secret(), expected);
        }
    }

    #[test]
    fn nothing_set_is_an_error_that_names_what_to_set() {
        for pairs in [&[][..], &[("FIRST", ""), ("THIRD", "canary")][..]] {
            let error = read(pairs).unwrap_err().to_string();
            assert!(error.contains("FIRST, SECOND") && !error.contains("canary"), "{error}");
        }
    }

    #[tokio::test]
    async fn reads_the_process_environment() {
        let credential = EnvironmentCredential::new(["CARGO_MANIFEST_DIR"]).fetch().await.unwrap();
        assert_eq!(credential.secret().expose_secret(), env!("CARGO_MANIFEST_DIR"));
        assert!(credential.lifetime().is_none());
    }
}
