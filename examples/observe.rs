//! Metrics for Prometheus and health routes on a server of your own, while an endpoint dies.
//!
//! `cargo run --example observe`; with `-- --keep` it stays, for `curl http://127.0.0.1:9464/health`.

use std::{sync::Arc, time::Duration};

use axum::Router;
use nudj::{
    client::{Client, Config},
    mock::MockNudj,
    observe::{
        health::{CheckConfig, EndpointChecks, EndpointChecksConfig, Finding, Health},
        prometheus::Prometheus,
    },
    tower::BoxError,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockNudj::start_many(2).await?;
    let prometheus = Prometheus::new()?;
    let config = Config::with_endpoints(mock.urls());
    let transport = nudj::client::transport::Hyper::new(&config.http)?;
    let observer = Arc::new(prometheus.observer().clone());
    let client = Client::builder().config(config).token(mock.token()).observer(observer).build()?;
    prometheus.observer().watch(client.handles());

    let health = Health::builder()
        .client(&client, CheckConfig { cache_for: Duration::ZERO, ..CheckConfig::default() })
        .check("disk", CheckConfig::optional(), || async { Ok(Finding::Degraded("93 % full".into())) })
        .build()?;
    // Asks each endpoint by itself: one that is down takes no calls before a caller has met it.
    let checks =
        EndpointChecks::spawn(client.handles().endpoints().clone(), EndpointChecksConfig::default(), transport)?;

    let app: Router = Router::new().merge(prometheus.router()).merge(health.router());
    let keep = std::env::args().any(|argument| argument == "--keep");
    let listener = tokio::net::TcpListener::bind(if keep { "127.0.0.1:9464" } else { "127.0.0.1:0" }).await?;
    println!("http://{}/metrics, /health, /readyz, /livez", listener.local_addr()?);
    let server = tokio::spawn(axum::serve(listener, app).into_future());

    for round in ["all is well", "one endpoint is dead"] {
        for _ in 0..12 {
            client.integration().me().get().await?;
        }
        println!("\n{round}: {}", health.report().await.status.as_str());
        let text = prometheus.render();
        let shown = ["nudj_api_requests_total{", "nudj_circuit_breaker_state{", "nudj_retry_amplification_ratio "];
        text.lines()
            .filter(|line| shown.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"))
            .for_each(|line| println!("  {line}"));
        mock.kill(0).await?;
    }
    if keep {
        tokio::signal::ctrl_c().await?;
    }
    checks.shutdown().await;
    server.abort();
    Ok(())
}
