use nudj_tower::{BoxError, credentials::CredentialError};

/// A key was not rotated. The client serves on with the one it has. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The store failed. A key that was made already is kept in this process and stored by the next try.
    #[error("the keys in {store} could not be {tried}; they are tried again")]
    Store {
        /// The store's name.
        store: String,
        /// `read` or `written`.
        tried: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// No new key could be had.
    #[error("{rotator} made no new key; the one there serves on")]
    Rotator {
        /// The rotator's name.
        rotator: String,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The new key cannot be sent. It was neither stored nor used.
    #[error("the key from {rotator}: {problem}")]
    Unusable {
        /// The rotator's name.
        rotator: String,
        /// What is wrong, without the key.
        problem: &'static str,
    },
    /// A rotation was cut off before its key was stored, and the server takes the old key no more: it keeps no overlap, or that is
    /// over. No program can mend that.
    #[error(
        "the key in {store} was replaced and its successor is lost; make a new key by hand and write it there as `current`"
    )]
    KeyLost {
        /// The store's name.
        store: String,
        /// How the old key was refused.
        #[source]
        source: BoxError,
    },
    /// The keys of the store cannot be sent with.
    #[error("the keys in {store} cannot be used")]
    Keys {
        /// The store's name.
        store: String,
        /// What is wrong with them.
        #[source]
        source: CredentialError,
    },
    /// The runtime ended before the rotation did.
    #[error("the rotation was cut off; it is taken up when the process next starts")]
    CutOff,
}
