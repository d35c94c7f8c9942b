//! The token from a vault, where the environment names one, else from the environment itself. One is named by `NUDJ_VAULT_PATH` or
//! `NUDJ_AWS_SECRET`; without the others, but for those in brackets, it is an error.
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

/// The vaults that are named, in this order. One is named by where its secret is: the other variables are other programs' as well.
pub(crate) fn named(http: &HttpConfig, lookup: impl Fn(&str) -> Result<Option<String>, Error>) -> Vec<Named> {
    let all = [("vault", vault(http, &lookup)), ("AWS Secrets Manager", aws(http, &lookup))];
    all.into_iter().filter_map(|(name, provider)| Some((name, provider.transpose()?))).collect()
}

type Provider = Result<Option<Arc<dyn CredentialProvider>>, Error>;

fn vault(http: &HttpConfig, lookup: impl Fn(&str) -> Result<Option<String>, Error>) -> Provider {
    const NAMED_BY: &str = "NUDJ_VAULT_PATH";
    let Some(path) = lookup(NAMED_BY)? else { return Ok(None) };
    let address = required("VAULT_ADDR", NAMED_BY, &lookup)?;
    required("VAULT_TOKEN", NAMED_BY, &lookup)?;
    let token = Arc::new(EnvironmentCredential::new(["VAULT_TOKEN"]));
    let secret = VaultSecret::new(&address, "secret", &path, token, http)?;
    Ok(Some(match lookup("VAULT_NAMESPACE")? {
        Some(namespace) => Arc::new(secret.namespace(&namespace)?),
        None => Arc::new(secret),
    }))
}

fn aws(http: &HttpConfig, lookup: impl Fn(&str) -> Result<Option<String>, Error>) -> Provider {
    const NAMED_BY: &str = "NUDJ_AWS_SECRET";
    let Some(id) = lookup(NAMED_BY)? else { return Ok(None) };
    let region = required("AWS_REGION", NAMED_BY, &lookup)?;
    // One that is no text would be taken for none.
    lookup("AWS_SESSION_TOKEN")?;
    Ok(Some(Arc::new(AwsSecret::new(&region, id, AwsKeys::from_environment()?, http)?)))
}

/// Half a vault is not taken for none: what stands in its place in the environment may be another host's token.
fn required(
    name: &str,
    named_by: &str,
    lookup: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<String, Error> {
    let missing =
        || Error::usage(name, format!("is not set, and {named_by} names a secret there; set it, or unset that"));
    lookup(name)?.ok_or_else(missing)
}

/// The vaults, else the environment; `None` when no vault is named.
pub(crate) fn provider(
    http: &HttpConfig,
    lookup: impl Fn(&str) -> Result<Option<String>, Error>,
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
        let lookup =
            |name: &str| Ok(pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()));
        Ok(provider(&HttpConfig::default(), lookup)?.map(|provider| provider.name().to_owned()))
    }

    #[tokio::test]
    async fn a_vault_that_is_named_comes_before_the_environment() {
        assert_eq!(name(&[("VAULT_ADDR", "https://vault.example")]).unwrap(), None);
        let (path, token) = (("NUDJ_VAULT_PATH", "nudj/production"), ("VAULT_TOKEN", "canary"));
        let all = [("VAULT_ADDR", "https://vault.example"), path, token];
        assert_eq!(name(&all).unwrap().unwrap(), "vault or environment");
        for missing in 0..3 {
            let half: Vec<_> = (0..3).filter(|at| *at != missing).map(|at| all[at]).collect();
            match name(&half) {
                Ok(provider) => assert_eq!((missing, provider), (1, None), "what does not name it alone is another's"),
                Err(error) => assert!(error.to_string().starts_with(all[missing].0), "{error}"),
            }
        }
        let plain = [("VAULT_ADDR", "http://vault.example"), path, token];
        assert!(name(&plain).unwrap_err().to_string().contains("plain http"));
    }
}
