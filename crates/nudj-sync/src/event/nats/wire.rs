//! Subjects, bodies and errors as the server has them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::Event;
use crate::{BoxError, Error};

/// Header of a replayed copy: the number of its entry among the dead letters.
pub(super) const REPLAY_OF: &str = "Nudj-Replay-Of";

/// An entry among the dead letters.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) event: Event,
    #[serde(default)]
    pub(super) attempts: u32,
    /// `None`: it waits behind a dead letter of its key.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Which partition a key belongs to. Part of what is stored: it must never change.
pub(super) fn partition(key: &str, partitions: u16) -> u16 {
    let hash = digest(key);
    u16::from_be_bytes([hash[0], hash[1]]) % partitions.max(1)
}

pub(super) fn subject(name: &str, partition: u16) -> String {
    format!("{name}.{partition}")
}

/// A key's subject among the dead letters.
pub(super) fn dead_subject(name: &str, key: &str) -> String {
    let hash: String = digest(key)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}_dead.{hash}")
}

pub(super) fn encode(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::Local(error.into()))
}

pub(super) fn decode_entry(body: &[u8]) -> Result<Entry, Error> {
    serde_json::from_slice(body).map_err(|error| Error::corrupt("stream of dead letters", error.to_string()))
}

pub(super) fn failed(source: impl Into<BoxError>) -> Error {
    Error::store("event bus", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_a_key_is_what_it_was() {
        assert_eq!(["u-1", "u-2", "u-3"].map(|key| partition(key, 16)), [10, 2, 0]);
        assert_eq!(partition("u-1", 1), 0);
    }
}
