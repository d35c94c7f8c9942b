use std::sync::Arc;

use axum::{Router, http::request::Parts};
use nudj_client::Client;
use nudj_tower::{ConfigError, observe::Observer};
use serde::Serialize;
use serde_json::Value;

use super::{DashboardConfig, SyncProgress, control::Guard, hub::Hub, router};

/// The dashboard. A clone shows the same.
#[derive(Clone, Debug)]
pub struct Dashboard {
    hub: Arc<Hub>,
}

impl Dashboard {
    /// A dashboard that shows nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of range.
    pub fn new(config: DashboardConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { hub: Arc::new(Hub::new(config)) })
    }

    /// What the client's builder is given: counts calls, attempts, repeats, failures and events.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.hub.collector) as _
    }

    /// Shows this client's endpoints, breakers, limiter, retry budget and credential, in place of another's.
    pub fn watch(&self, client: &Client) {
        self.hub.sources.write().client = Some(client.handles().clone());
    }

    /// Shows a cache: whatever serialises as `nudj_cache::CacheStats` does. It is read once a second while somebody looks. Up to 8
    /// names are shown; a name that is known already is read anew from now on. Returns whether it is shown.
    pub fn cache<T: Serialize>(&self, name: &str, stats: impl Fn() -> T + Send + Sync + 'static) -> bool {
        self.hub.sources.write().caches.set(name, Box::new(move || value(&stats())))
    }

    /// Shows a webhook receiver, or anything else that serialises to a flat set of numbers, such as `nudj_webhook::Snapshot`; else as
    /// [`cache`](Self::cache).
    pub fn webhooks<T: Serialize>(&self, name: &str, stats: impl Fn() -> T + Send + Sync + 'static) -> bool {
        self.hub.sources.write().webhooks.set(name, Box::new(move || value(&stats())))
    }

    /// Shows how far a synchronization is, from its first [`set`](SyncProgress::set) on. Up to 32 names are shown.
    #[must_use]
    pub fn sync(&self, name: &str) -> SyncProgress {
        self.hub.progresses.of(name)
    }

    /// Lets those whose request `guard` accepts force breakers open, closed, or back to automatic. Without a guard the page is
    /// read-only. The guard sees the request's head: look at what your own authentication put there; a header that any
    /// visitor can send is no guard. Only requests of the page's own origin get as far as the guard, by `localhost`, an address in
    /// numbers or one of [`hosts`](DashboardConfig::hosts). It can be set once; a second one is not taken.
    pub fn controls(&self, guard: impl Fn(&Parts) -> bool + Send + Sync + 'static) {
        let _ = self.hub.guard.set(Guard(Arc::new(guard)));
    }

    /// The routes `/`, `/events`, `/snapshot.json` and `/breakers`, to merge or to nest anywhere. It has no authentication of its own:
    /// serve it on loopback, or put your own layer around it. What it shows can be read by whoever makes a browser on this machine take a name of
    /// his own for it (DNS rebinding); where that matters, have your layer look at `host`.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        router::router(Arc::clone(&self.hub))
    }

    /// Ends all viewers' streams, now and from now on, so that a server can shut down gracefully: streams do not end by themselves.
    pub fn close(&self) {
        self.hub.closed.send_replace(true);
    }
}

fn value(stats: &impl Serialize) -> Value {
    serde_json::to_value(stats).unwrap_or_default()
}
