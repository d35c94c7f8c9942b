//! The receiver as an axum router.

use axum::Router;
use axum::routing::any_service;

use super::Receiver;

impl Receiver {
    /// A router with the one route that [`WebhookConfig::path`](crate::WebhookConfig::path) names; merge it into yours.
    ///
    /// A server in front of it should bound the time for a request's head as well, which no service can.
    pub fn router(&self) -> Router {
        // `validate()` lets no path pass that axum would panic on.
        Router::new().route(&self.config().path, any_service(self.service()))
    }
}
