//! The token from a vault, where the environment names one, else from the environment itself.
//!
//! | variables | where the token is |
//! |---|---|
//! | `VAULT_ADDR`, `VAULT_TOKEN`, `NUDJ_VAULT_PATH` (`VAULT_NAMESPACE`) | field `current` of that KV 2 secret below `secret` |
//! | `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `NUDJ_AWS_SECRET` (`AWS_SESSION_TOKEN`) | that whole secret |
//! | `NUDJ_API_TOKEN`, else `NUDJ_API_KEY` | the variable |

use std::sync::Arc;

use nudj::client::{
    Error,
    config::HttpConfig,
    credentials::{AwsKeys, AwsSecret, Chain, CredentialProvider, EnvironmentCredential, VaultSecret},
};

/// All that is named, in this order; `None` when no vault is.
pub(crate) fn provider(
    http: &HttpConfig,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Arc<dyn CredentialProvider>>, Error> {
    let mut named: Vec<Arc<dyn CredentialProvider>> = Vec::new();
    if let (Some(address), Some(path)) = (lookup("VAULT_ADDR"), lookup("NUDJ_VAULT_PATH")) {
        let token = Arc::new(EnvironmentCredential::new(["VAULT_TOKEN"]));
        let secret = VaultSecret::new(&address, "secret", &path, token, http)?;
        named.push(Arc::new(match lookup("VAULT_NAMESPACE") {
            Some(namespace) => secret.namespace(&namespace)?,
            None => secret,
        }));
    }
    if let (Some(region), Some(id)) = (lookup("AWS_REGION"), lookup("NUDJ_AWS_SECRET")) {
        named.push(Arc::new(AwsSecret::new(&region, id, AwsKeys::from_environment()?, http)?));
    }
    if named.is_empty() {
        return Ok(None);
    }
    named.push(Arc::new(EnvironmentCredential::new(["NUDJ_API_TOKEN", "NUDJ_API_KEY"])));
    Ok(Some(Arc::new(Chain::new(named))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pairs: &[(&str, &str)]) -> Result<Option<String>, Error> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Ok(provider(&HttpConfig::default(), lookup)?.map(|provider| provider.name().to_owned()))
    }

    #[tokio::test]
    async fn a_vault_that_is_named_comes_before_the_environment() {
        assert_eq!(name(&[("VAULT_ADDR", "https://vault.example")]).unwrap(), None);
        let both = [("VAULT_ADDR", "https://vault.example"), ("NUDJ_VAULT_PATH", "nudj/production")];
        assert_eq!(name(&both).unwrap().unwrap(), "vault or environment");
        let plain = [("VAULT_ADDR", "http://vault.example"), ("NUDJ_VAULT_PATH", "nudj/production")];
        assert!(name(&plain).unwrap_err().to_string().contains("plain http"));
    }
}
