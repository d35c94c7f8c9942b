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

/// What this program reads from the environment beside the configuration and the token.
pub(crate) const VARIABLES: [&str; 3] = ["NUDJ_AWS_SECRET", "NUDJ_VAULT_PATH", "NUDJ_SCREENSHOTS"];

/// A vault, and its provider or why there can be none.
pub(crate) type Named = (&'static str, Result<Arc<dyn CredentialProvider>, Error>);

/// The vaults that are named, in this order.
pub(crate) fn named(http: &HttpConfig, lookup: impl Fn(&str) -> Option<String>) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    if let (Some(address), Some(path)) = (lookup("VAULT_ADDR"), lookup("NUDJ_VAULT_PATH")) {
        named.push(("vault", vault(&address, &path, lookup("VAULT_NAMESPACE"), http)));
    }
    if let (Some(region), Some(id)) = (lookup("AWS_REGION"), lookup("NUDJ_AWS_SECRET")) {
        let secret = AwsKeys::from_environment().and_then(|keys| AwsSecret::new(&region, id, keys, http));
        named.push(("AWS Secrets Manager", secret.map(|secret| Arc::new(secret) as _)));
    }
    named
}

fn vault(
    address: &str,
    path: &str,
    namespace: Option<String>,
    http: &HttpConfig,
) -> Result<Arc<dyn CredentialProvider>, Error> {
    let token = Arc::new(EnvironmentCredential::new(["VAULT_TOKEN"]));
    let secret = VaultSecret::new(address, "secret", path, token, http)?;
    Ok(match namespace {
        Some(namespace) => Arc::new(secret.namespace(&namespace)?),
        None => Arc::new(secret),
    })
}

/// The vaults, else the environment; `None` when no vault is named.
pub(crate) fn provider(
    http: &HttpConfig,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Arc<dyn CredentialProvider>>, Error> {
    let mut chain = named(http, lookup).into_iter().map(|(_, provider)| provider).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() {
        return Ok(None);
    }
    chain.push(Arc::new(EnvironmentCredential::new(["NUDJ_API_TOKEN", "NUDJ_API_KEY"])));
    Ok(Some(Arc::new(Chain::new(chain))))
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
