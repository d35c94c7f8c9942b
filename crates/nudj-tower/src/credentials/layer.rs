use tower_layer::Layer;

#[cfg(feature = "retry")]
use super::WhileIntact;
use super::{Credentialed, Credentials, Once, Replaying};

/// Puts the current credential on every request; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct CredentialsLayer<R = Replaying> {
    credentials: Credentials,
    replay: R,
}

impl CredentialsLayer {
    /// Replays a request once after a 401. Bodies must be `Clone`.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, replay: Replaying }
    }

    /// For the bodies of [`RetryLayer::replaying`](crate::retry::RetryLayer::replaying): replays a request once after a 401 as long as no
    /// byte of its body has been let go. Of a longer one the 401 renews the credential for the calls to come and is answered as it is.
    #[cfg(feature = "retry")]
    #[must_use]
    pub fn replay_bodies(self) -> CredentialsLayer<WhileIntact> {
        CredentialsLayer { credentials: self.credentials, replay: WhileIntact }
    }

    /// For bodies that cannot be sent twice: a 401 renews the credential for the calls to come and is answered as it is.
    #[must_use]
    pub fn without_replay(self) -> CredentialsLayer<Once> {
        CredentialsLayer { credentials: self.credentials, replay: Once }
    }
}

impl<R> CredentialsLayer<R> {
    /// The credentials, to look at or to rotate.
    #[must_use]
    pub fn handle(&self) -> Credentials {
        self.credentials.clone()
    }
}

impl<S, R: Clone> Layer<S> for CredentialsLayer<R> {
    type Service = Credentialed<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Credentialed::new(inner, self.credentials.clone(), self.replay.clone())
    }
}
