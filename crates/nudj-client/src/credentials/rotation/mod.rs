//! Replacing an API key on a schedule, so that a crash between any two steps leaves a key that works.
//!
//! ```text
//!  1 note in the store that a rotation begins     crash: the old key is current; the rotation is made again
//!  2 ask for a new key                            crash: the same; the server still takes the old key for its overlap
//!  3 store new and old                            crash: the new key is current, the old one its fallback
//!  4 use the new one; the old one is the fallback until the new one was accepted once
//! ```
//! Dropping a future of [`Rotation`] is such a crash. Only one process should rotate one key.
//!
//! Source: the seed's "API Key Management", every 30 days. It uses the key before it is stored; here it is the other way round.

mod api;
mod file_store;
mod schedule;
mod store;

pub use self::{
    api::ApiRotator,
    file_store::FileStore,
    schedule::Rotation,
    store::{Done, KeyRotator, SecretStore, StoredKey, StoredKeys},
};
