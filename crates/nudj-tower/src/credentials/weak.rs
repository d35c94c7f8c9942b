use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::keeper::{Credentials, Shared};

/// [`Credentials`] that it does not keep: for who is held by what they hold, such as an observer.
#[derive(Clone)]
pub struct WeakCredentials(Weak<Shared>);

impl WeakCredentials {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// The credentials, as long as anybody sends with them or has a clone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Credentials> {
        self.0.upgrade().map(Credentials)
    }
}

impl fmt::Debug for WeakCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakCredentials").field("is_gone", &(self.0.strong_count() == 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::credentials::{Credentials, CredentialsConfig, Scheme, StaticCredential};

    #[test]
    fn goes_with_the_last_who_has_the_credentials() {
        let credentials =
            Credentials::new(StaticCredential::new("t"), Scheme::Bearer, CredentialsConfig::default()).unwrap();
        let (weak, clone) = (credentials.downgrade(), credentials.clone());
        drop(credentials);
        assert_eq!(weak.upgrade().unwrap().snapshot(), clone.snapshot());
        drop(clone);
        assert!(weak.upgrade().is_none());
    }
}
