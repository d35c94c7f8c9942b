//! What Prometheus' own tool thinks of it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use nudj_mock::MockNudj;
use nudj_observe::{
    metrics::{CacheLevel, WebhookTotals},
    prometheus::Prometheus,
};
use nudj_tower::observe::{Event, Observer};

use crate::{client, needs};

/// A scrape in which every metric has at least one series.
pub(crate) async fn everything() -> String {
    let mock = MockNudj::start().await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    let client = client(&mock, observer.clone());
    observer.watch(client.handles());
    client.integration().me().get().await.unwrap();
    mock.kill(0).await.unwrap();
    for _ in 0..6 {
        let _ = client.integration().me().get().await;
    }
    observer.watch_cache(|| vec![CacheLevel { name: "memory", entries: Some(1), ..CacheLevel::default() }]);
    observer.watch_webhooks(WebhookTotals::default);
    observer.sync("users").set_progress(1, 2);
    observer.observe(&Event::CredentialRefreshed { provider: "oauth", renewed: true, valid_for: None });
    observer.observe(&Event::LimiterWaited { waited: Duration::from_millis(20) });
    let expiring = nudj_client::Client::builder()
        .endpoint("http://127.0.0.1:9")
        .credentials(std::sync::Arc::new(nudj_tower::credentials::FromFn::new("oauth", || {
            let credential = nudj_tower::credentials::Credential::new("t").valid_for(Duration::from_secs(60));
            std::future::ready(Ok(credential))
        })))
        .build()
        .unwrap();
    expiring.handles().credentials().load().await.unwrap();
    observer.watch(expiring.handles());
    prometheus.render()
}

/// Runs promtool with these arguments and this input; its words when it is not content.
pub(crate) fn promtool(tool: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(words) }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(tool) = needs("promtool_finds_nothing_wrong_with_the_metrics", "NUDJ_TEST_PROMTOOL") else { return };
    let text = everything().await;
    promtool(&tool, &["check", "metrics"], &text).unwrap_or_else(|words| panic!("{words}"));
    promtool(&tool, &["check", "metrics"], "# TYPE bad counter\nbad 1\n").unwrap_err();
}
