//! `demo --dashboard ADDR`: the dashboard, metrics and health checks on the demo's own traffic.

use std::sync::Arc;

use nudj::{
    cache::MultiLevelCache,
    client::{Client, Error},
    observe::{
        dashboard::{Dashboard, DashboardConfig},
        health::{CheckConfig, Health},
        metrics::MetricsObserver,
        prometheus::Prometheus,
    },
    sync::status::{SyncObserver, SyncStatus},
    tower::observe::Observer,
};
use tokio::net::TcpListener;

/// What the address serves: `/`, `/metrics`, `/health`, `/livez`, `/readyz`.
pub(crate) struct Board {
    listener: TcpListener,
    dashboard: Dashboard,
    prometheus: Prometheus,
}

/// What is served, for those who have something to show on it.
pub(crate) struct Served {
    pub(crate) dashboard: Dashboard,
    metrics: MetricsObserver,
}

impl Served {
    /// Shows a synchronization on the page and in the metrics, by what it says of itself.
    pub(crate) fn sync(&self, name: &'static str) -> impl SyncObserver {
        let (page, metrics) = (self.dashboard.sync(name), self.metrics.sync(name));
        move |status: &SyncStatus| {
            page.set(status.done, status.total, status.lag);
            page.set_backlog(status.waiting, status.dead_letters);
            metrics.set_progress(status.done, status.total.unwrap_or(status.done));
            metrics.set_lag(status.lag.unwrap_or_default());
            metrics.set_lag_bytes(status.lag_bytes.unwrap_or_default());
            metrics.set_dead_letters(status.dead_letters);
        }
    }
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
    pub(crate) fn serve(self, client: &Client, cache: &MultiLevelCache) -> Result<Served, Error> {
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
        say!("dashboard at http://{address}/, beside it /metrics, /health, /livez, /readyz");
        Ok(Served { dashboard, metrics: prometheus.observer().clone() })
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

    #[tokio::test]
    async fn what_a_synchronization_says_is_on_the_page_and_in_the_metrics() {
        let mock = nudj::mock::MockNudj::start().await.unwrap();
        let client = Client::builder().endpoint(mock.url()).token(mock.token()).build().unwrap();
        let board = Board::at("127.0.0.1:0").await.unwrap();
        let address = board.listener.local_addr().unwrap();
        let cache = MultiLevelCache::builder(nudj::cache::CacheConfig::default()).build().unwrap();
        let served = board.serve(&client, &cache).unwrap();
        let mut status = SyncStatus::default();
        (status.done, status.total, status.waiting, status.dead_letters) = (7, Some(9), Some(2), 1);
        status.lag = Some(std::time::Duration::from_secs(4));
        served.sync("users").status(&status);
        let metrics = get(address, "/metrics").await;
        for line in [
            "nudj_sync_items_done{stream=\"users\"} 7",
            "nudj_sync_items_planned{stream=\"users\"} 9",
            "nudj_sync_lag_seconds{stream=\"users\"} 4",
            "nudj_dead_letters{source=\"users\"} 1",
        ] {
            assert!(metrics.contains(line), "{line} is not in {metrics}");
        }
        let page = get(address, "/snapshot.json").await;
        assert!(page.contains("\"dead_letters\":1") && page.contains("\"waiting\":2"), "{page}");
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}
