//! `demo --dashboard ADDR`: the dashboard, metrics and health checks on the demo's own traffic.

use std::sync::Arc;

use nudj::{
    cache::MultiLevelCache,
    client::{Client, Error},
    observe::{
        dashboard::{Dashboard, DashboardConfig},
        health::{CheckConfig, Health},
        prometheus::Prometheus,
    },
    tower::observe::Observer,
};
use tokio::net::TcpListener;

/// What the address serves: `/`, `/metrics`, `/health`, `/livez`, `/readyz`.
pub(crate) struct Board {
    listener: TcpListener,
    dashboard: Dashboard,
    prometheus: Prometheus,
}

impl Board {
    /// Takes the address before anything else happens, so that a busy one is told at once.
    pub(crate) async fn at(address: &str) -> Result<Self, Error> {
        let refused = |error: String| Error::usage("--dashboard", error);
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| refused(format!("{address} cannot be listened on: {error}")))?;
        let config = DashboardConfig { title: "nudj demo".to_owned(), ..DashboardConfig::default() };
        let dashboard = Dashboard::new(config).map_err(|error| refused(error.to_string()))?;
        let prometheus = Prometheus::new().map_err(|error| refused(error.to_string()))?;
        Ok(Self { listener, dashboard, prometheus })
    }

    pub(crate) fn observers(&self) -> [Arc<dyn Observer>; 2] {
        [self.dashboard.observer(), Arc::new(self.prometheus.observer().clone())]
    }

    /// Serves from now on, until the program ends, and says where.
    pub(crate) fn serve(self, client: &Client, cache: &MultiLevelCache) -> Result<Dashboard, Error> {
        let Self { listener, dashboard, prometheus } = self;
        let refused = |error: String| Error::usage("--dashboard", error);
        let address = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        let health = Health::builder().client(client, CheckConfig::default()).build();
        let health = health.map_err(|error| refused(error.to_string()))?;
        dashboard.watch(client);
        prometheus.observer().watch(client.handles());
        let cache = cache.clone();
        dashboard.cache("catalogue", move || cache.stats());
        let router = dashboard.router().merge(prometheus.router()).merge(health.router());
        tokio::spawn(async move { axum::serve(listener, router).await });
        println!("dashboard at http://{address}/, beside it /metrics, /health, /livez, /readyz");
        Ok(dashboard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_address_is_an_error_before_the_first_call() {
        let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = busy.local_addr().unwrap().to_string();
        let error = Board::at(&address).await.err().unwrap().to_string();
        assert!(error.contains("--dashboard") && error.contains(&address), "{error}");
        drop(busy);
        assert!(Board::at(&address).await.is_ok());
    }
}
