//! Where credentials come from: the environment, a watched file, a token endpoint, a vault, or the first of several that answers.
//!
//! Each is a [`CredentialProvider`]; give one to [`ClientBuilder::credentials`](crate::ClientBuilder::credentials). When a credential
//! is renewed, and what a 401 does, is for [`nudj_tower::credentials`] to decide.
//!
//! ```no_run
//! use std::sync::Arc;
//! use nudj_client::{Client, Config, credentials::{Chain, EnvironmentCredential, FileCredential}};
//!
//! # fn example() -> Result<Client, nudj_client::Error> {
//! let mounted = FileCredential::new("/run/secrets/nudj-api-key");
//! let variable = EnvironmentCredential::new(["NUDJ_API_TOKEN"]);
//! let provider = Chain::new([Arc::new(mounted) as _, Arc::new(variable) as _]);
//! Client::builder()
//!     .config(Config::with_endpoints(["https://acme.nudj.cx"]))
//!     .credentials(Arc::new(provider))
//!     .build()
//! # }
//! ```
//!
//! | provider | read again |
//! |---|---|
//! | [`EnvironmentCredential`] | never: a process's environment does not change |
//! | [`FileCredential`] | when the file changes, and after a 401 |
//! | [`ClientCredentials`] | before the token expires, and after a 401 |
//! | [`Chain`] | when one of its providers is |
//! | `VaultSecret` (feature `vault`) | after a 401 |
//! | `AwsSecret` (feature `aws-secrets`) | after a 401 |
//! | [`rotation::StoredKey`] | after a 401, and by [`rotation::Rotation`] |
//!
//! "The vault, else the environment", with the feature `vault`:
//!
//! ```no_run
//! # #[cfg(feature = "vault")]
//! # fn example(http: &nudj_client::config::HttpConfig) -> Result<nudj_client::ClientBuilder, nudj_client::Error> {
//! use std::sync::Arc;
//! use nudj_client::{Client, credentials::{Chain, EnvironmentCredential, FileCredential, VaultSecret}};
//!
//! // The Vault agent beside the process keeps the token in this file.
//! let token = FileCredential::new("/run/vault/token");
//! let vault = VaultSecret::new("https://vault.internal:8200", "secret", "nudj/production", Arc::new(token), http)?;
//! let variable = EnvironmentCredential::new(["NUDJ_API_TOKEN"]);
//! let provider = Chain::new([Arc::new(vault) as _, Arc::new(variable) as _]);
//! # Ok(
//! Client::builder().credentials(Arc::new(provider))
//! # ) }
//! ```
//!
//! # Links for your users
//! With the feature `api-link`, `ApiLink` signs the tokens by which a member of your own site signs in to Nudj.
//!
//! # Errors
//! [`ProviderError`], which names the source and what to do and never holds a secret or what a server wrote. A credential that
//! worked serves on while its renewal fails.
//!
//! # Why no OAuth crate
//! One form POST and four fields of an answer. The `oauth2` crate would bring a second `rand`, `base64` and `sha2` for flows that no
//! API client uses, and its error holds the server's body.

#[cfg(feature = "api-link")]
mod api_link;
#[cfg(feature = "aws-secrets")]
mod aws;
mod chain;
mod endpoint;
mod environment;
mod error;
mod file;
mod oauth;
pub mod rotation;
mod scheme;
#[cfg(feature = "vault")]
mod vault;

pub use nudj_tower::credentials::{Credential, CredentialProvider, StaticCredential};

#[cfg(feature = "api-link")]
pub use self::api_link::{ApiLink, LinkAlgorithm, LinkUser};
#[cfg(feature = "aws-secrets")]
pub use self::aws::{AwsKeys, AwsSecret};
#[cfg(feature = "vault")]
pub use self::vault::VaultSecret;
pub use self::{
    chain::Chain, environment::EnvironmentCredential, error::ProviderError, file::FileCredential,
    oauth::ClientCredentials,
};
