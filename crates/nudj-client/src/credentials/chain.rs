use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use nudj_tower::{
    BoxError,
    credentials::{CredentialProvider, Fetch},
};
use tokio::time::timeout;

use super::ProviderError;

/// The first of several providers that has a credential, asked in order each time: "the vault, else the environment".
///
/// One that does not answer is left for the next after 3 seconds, so that a vault that hangs does not use up the whole
/// [`fetch_timeout`](nudj_tower::credentials::CredentialsConfig::fetch_timeout).
#[derive(Clone)]
pub struct Chain {
    providers: Arc<[Arc<dyn CredentialProvider>]>,
    name: Arc<str>,
    patience: Duration,
}

impl Chain {
    /// Asks these, in this order.
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn CredentialProvider>>) -> Self {
        let providers: Arc<[_]> = providers.into_iter().collect();
        let names: Vec<_> = providers.iter().map(|provider| provider.name()).collect();
        Self { name: names.join(" or ").into(), providers, patience: Duration::from_secs(3) }
    }

    /// The longest one provider may take: 3 s unless set. All together should stay below the fetch timeout.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl CredentialProvider for Chain {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move {
            let mut tried = Vec::with_capacity(self.providers.len());
            let mut last = None;
            for provider in &*self.providers {
                let error: BoxError = match timeout(self.patience, provider.fetch()).await {
                    Ok(Ok(credential)) => return Ok(credential),
                    Ok(Err(error)) => error,
                    Err(_) => ProviderError::TooSlow { after: self.patience }.into(),
                };
                tracing::debug!(provider = provider.name(), %error, "no credential; the next is asked");
                tried.push(format!("{}: {error}", provider.name()));
                last = Some(error);
            }
            Err(ProviderError::Exhausted { tried: tried.join("; "), last }.into())
        })
    }

    fn renews(&self) -> bool {
        self.providers.iter().any(|provider| provider.renews())
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut changes: Vec<_> = self.providers.iter().map(|provider| provider.changed()).collect();
        Box::pin(poll_fn(move |cx| {
            let any = changes.iter_mut().any(|change| change.as_mut().poll(cx).is_ready());
            if any { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("providers", &self.name).finish_non_exhaustive()
    }
}
