use std::sync::Arc;

use crate::BoxError;

/// A credential could not be had. The text names the provider, never the secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The provider failed.
    #[error("credentials from {provider} could not be had; is it reachable and configured?")]
    Fetch {
        /// The provider's name.
        provider: Arc<str>,
        /// What it said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The provider took too long.
    #[error("credentials from {provider} did not come within the fetch timeout")]
    Timeout {
        /// The provider's name.
        provider: Arc<str>,
    },
    /// The provider answered with something that is no credential.
    #[error("credentials from {provider} are not usable: {problem}")]
    Unusable {
        /// The provider's name.
        provider: Arc<str>,
        /// What is wrong, without the secret.
        problem: &'static str,
    },
}

impl CredentialError {
    pub(super) fn fetch(provider: &Arc<str>, source: BoxError) -> Self {
        Self::Fetch { provider: Arc::clone(provider), source: source.into() }
    }

    /// The error in another or in what caused it.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        crate::classify::find_in_chain(error)
    }
}
