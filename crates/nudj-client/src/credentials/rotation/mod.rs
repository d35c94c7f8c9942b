//! Replacing an API key on a schedule, so that a crash between any two steps leaves a key that works.
//!
//! ```text
//!  1 note in the store that a rotation begins     crash: the old key is current; the rotation is made again
//!  2 ask for a new key                            crash: the same; the server still takes the old key for its overlap
//!  3 store new and old                            crash: the new key is current, the old one its fallback
//!  4 use the new one; the old one is the fallback until the new one was accepted once
//! ```
//! The steps run in a task of their own: dropping a future of [`Rotation`] does not cut them off, the end of the process does. A key
//! that was made and could not be stored is kept in the process and stored by the next try. Only one process should rotate one key;
//! a [store](SecretStore) with revisions refuses the second.
//!
//! # What a server must do
//! Between steps 2 and 3 a process can end with the only copy of the new key. So the server must go on taking the old one for a while,
//! or give the same new key again when it is asked under the same name (sent as `Idempotency-Key`). One that does neither can lose
//! its user's key at that one point, whatever the client does; then [`Rotation::resume`] says so: [`RotationError::KeyLost`].
//!
//! Source: the seed's "API Key Management", every 30 days. It uses the key before it is stored; here it is the other way round.

mod api;
mod error;
mod file_store;
mod schedule;
mod store;
mod written;

#[cfg(any(feature = "aws-secrets", feature = "vault"))]
pub(in crate::credentials) use self::written::Written;
pub use self::{
    api::ApiRotator,
    error::RotationError,
    file_store::FileStore,
    schedule::Rotation,
    store::{Done, KeyRotator, Revision, SecretStore, StoredKey, StoredKeys},
};
