use std::{path::PathBuf, time::Duration};

use http::StatusCode;
use nudj_tower::BoxError;

/// A provider had no credential. Never holds a secret, nor a text that a server wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// No variable is set.
    #[error("none of the environment variables {names} is set to a text; set one")]
    NotSet {
        /// The variables' names.
        names: String,
    },
    /// The file cannot be read.
    #[error("{} cannot be read; is it mounted, and may this process read it?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not one that holds a secret.
    #[error("{} {problem}", path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server could not be asked.
    #[error("{endpoint} could not be asked for a credential")]
    Unreachable {
        /// The server's origin and path.
        endpoint: String,
        /// What the transport said.
        #[source]
        source: BoxError,
    },
    /// The server refused.
    #[error("{endpoint} answered {}{}; {advice}", status.as_u16(), code.map(|code| format!(" {code}")).unwrap_or_default())]
    Refused {
        /// The server's origin and path.
        endpoint: String,
        /// Its status.
        status: StatusCode,
        /// Its code, when it is one that the protocol defines.
        code: Option<&'static str>,
        /// What to do.
        advice: &'static str,
    },
    /// The server's answer is not what was expected.
    #[error("{endpoint} answered with something that holds no credential: {problem}")]
    Garbage {
        /// The server's origin and path.
        endpoint: String,
        /// What is wrong, without what was answered.
        problem: &'static str,
    },
    /// What the provider itself needs to ask with cannot be sent.
    #[error("{what} is not usable: {problem}")]
    Unsendable {
        /// What it is.
        what: &'static str,
        /// What is wrong with it, without showing it.
        problem: &'static str,
    },
    /// Somebody else has written since the keys were read. Nothing was changed.
    #[error("{endpoint} holds a newer writing than the one that was read; does another process rotate the same key?")]
    Conflict {
        /// The server's origin and path.
        endpoint: String,
    },
    /// A provider of a chain took too long.
    #[error("no answer within {after:?}")]
    TooSlow {
        /// The longest a provider of the chain may take.
        after: Duration,
    },
    /// Every provider of a chain failed.
    #[error("no provider of the chain has a credential: {tried}")]
    Exhausted {
        /// Each provider's name and what it said.
        tried: String,
        /// What the last one said.
        #[source]
        last: Option<BoxError>,
    },
}

impl ProviderError {
    /// Whether the source would say the same again until a person has changed something. Of a chain, which asks several, nobody knows.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NotSet { .. } | Self::Unsendable { .. } => true,
            // AWS says 400 of too many requests.
            Self::Refused { code: Some("ThrottlingException"), .. } => false,
            Self::Refused { status, .. } => status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429),
            _ => false,
        }
    }
}
