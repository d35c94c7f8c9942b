//! The secrets that are valid, and until when.

use std::sync::Arc;

use super::secret::Secret;
use crate::Error;

/// A rotation needs two; more than this is a mistake, and each costs a hash per refused request.
const MAX_SECRETS: usize = 8;

/// The valid secrets, newest first.
#[derive(Clone, Debug)]
pub(super) struct Keys(Arc<[Key]>);

#[derive(Clone, Debug)]
struct Key {
    secret: Arc<Secret>,
    /// Last second at which it is accepted; `None` means for good.
    until: Option<i64>,
}

impl Keys {
    pub(super) fn new(secrets: Vec<Secret>) -> Result<Self, Error> {
        if secrets.is_empty() || secrets.len() > MAX_SECRETS {
            return Err(Error::config("secret", "at least 1 and at most 8 secrets must be given"));
        }
        Ok(Self(secrets.into_iter().map(|secret| Key { secret: Arc::new(secret), until: None }).collect()))
    }

    /// `secret` becomes the newest; all others end at `until` at the latest, and those that ended before `now` go.
    pub(super) fn rotated(&self, secret: Secret, until: i64, now: i64) -> Result<Self, Error> {
        let newest = Key { secret: Arc::new(secret), until: None };
        let older = self.0.iter().filter(|key| key.valid(now)).map(|key| Key {
            secret: Arc::clone(&key.secret),
            until: Some(key.until.map_or(until, |already| already.min(until))),
        });
        let keys: Arc<[Key]> = std::iter::once(newest).chain(older).collect();
        if keys.len() > MAX_SECRETS {
            return Err(Error::config(
                "secret",
                "8 secrets are still valid; wait until the oldest one's overlap is over",
            ));
        }
        Ok(Self(keys))
    }

    pub(super) fn newest(&self) -> Option<&Secret> {
        self.0.first().map(|key| &*key.secret)
    }

    pub(super) fn valid(&self, now: i64) -> impl Iterator<Item = &Secret> {
        self.0.iter().filter(move |key| key.valid(now)).map(|key| &*key.secret)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn valid(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now <= until)
    }
}
