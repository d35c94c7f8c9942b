//! The keys as they stand in a store: one JSON object.

use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Revision, StoredKeys};

/// Unknown fields are an error: they would be lost when the keys are next written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::credentials) struct Written {
    current: String,
    #[serde(default)]
    previous: Option<String>,
    #[serde(default)]
    rotated_at: Option<u64>,
    #[serde(default)]
    begun: Option<String>,
}

impl Written {
    pub(in crate::credentials) fn of(keys: &StoredKeys) -> Self {
        Self {
            current: keys.current.expose_secret().to_owned(),
            previous: keys.previous.as_ref().map(|key| key.expose_secret().to_owned()),
            rotated_at: keys.rotated_at.and_then(|at| Some(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())),
            begun: keys.begun.clone(),
        }
    }

    pub(in crate::credentials) fn into_keys(mut self, revision: Revision) -> StoredKeys {
        StoredKeys {
            current: std::mem::take(&mut self.current).into(),
            previous: self.previous.take().map(SecretString::from),
            rotated_at: self
                .rotated_at
                .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
            begun: self.begun.take(),
            revision,
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.current.zeroize();
        self.previous.zeroize();
    }
}
