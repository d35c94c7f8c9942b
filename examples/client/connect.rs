//! From arguments, file and environment to a client.

use std::{env::VarError, sync::Arc};

use nudj::client::{Client, ClientBuilder, Config, Error};
use nudj::tower::observe::Observer;
use secrecy::SecretString;

use crate::{args::Global, vaults};

/// The configuration that arguments, file and environment give together.
pub(crate) fn config(global: &Global) -> Result<Config, Error> {
    token()?;
    let loaded = Config::load(global.config.as_deref())?;
    for name in loaded.unknown_variables.iter().filter(|name| !vaults::VARIABLES.contains(&name.as_str())) {
        tell!("warning: {name} is no setting; is it misspelt?");
    }
    let mut config = loaded.config;
    if !global.endpoints.is_empty() {
        config.endpoints.clone_from(&global.endpoints);
    }
    Ok(config)
}

/// Where the environment may hold the token.
const TOKENS: [&str; 2] = ["NUDJ_API_TOKEN", "NUDJ_API_KEY"];

/// The token from the environment. Both variables are read, so that one that is no text is told, be it the second.
pub(crate) fn token() -> Result<Option<SecretString>, Error> {
    let [first, second] = TOKENS.map(variable);
    let (first, second) = (first?, second?);
    Ok(first.or(second).map(SecretString::from))
}

/// The builder of a client that takes its token from a vault where the environment names one, else from the environment.
pub(crate) fn remote(config: Config, observer: Option<Arc<dyn Observer>>) -> Result<ClientBuilder, Error> {
    Ok(match vaults::provider(&config.http, variable)? {
        Some(provider) => builder(config, None, observer).credentials(provider),
        None => builder(config, token()?, observer),
    })
}

/// What a variable is set to; an empty one counts as not set. What is set, and no text, is not taken for missing.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::usage(name, "is no text in UTF-8")),
    }
}

/// The builder of a client over that configuration.
pub(crate) fn builder(
    config: Config,
    token: Option<SecretString>,
    observer: Option<Arc<dyn Observer>>,
) -> ClientBuilder {
    let mut builder = Client::builder().config(config);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    if let Some(observer) = observer {
        builder = builder.observer(observer);
    }
    builder
}
