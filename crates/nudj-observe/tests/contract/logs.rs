//! Lines as somebody reads them, and what they never hold.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};

use http::Method;
use nudj_mock::{Fault, MockNudj};
use nudj_observe::logs::{self, LogConfig, LogError, LogFormat};
use serde_json::Value;
use tracing::{Dispatch, Subscriber, instrument::WithSubscriber, subscriber::NoSubscriber};
use tracing_subscriber::prelude::*;

use crate::client;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

/// With a single subscriber alive, tracing asks only the current thread's when it meets a line for the first time: another test's thread,
/// which has none, would silence that line here. Two are never single.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

fn subscriber(format: LogFormat, filter: &str) -> (impl Subscriber + Send + Sync + 'static, Lines) {
    LazyLock::force(&SECOND);
    let lines = Lines::default();
    let writer = lines.clone();
    let config = LogConfig { format, filter: filter.to_owned(), ..LogConfig::default() };
    (tracing_subscriber::registry().with(logs::layer(&config, move || writer.clone()).unwrap()), lines)
}

/// One call that is repeated once, and one that fails.
async fn calls() -> String {
    let mock = MockNudj::start().await.unwrap();
    let client = client(&mock, |_: &nudj_tower::observe::Event<'_>| {});
    mock.inject(Fault::status(503).times(1));
    client.integration().me().get().await.unwrap();
    client.request(Method::GET, "/api/v2/admin/users/olivia?email=olivia@example.org").send().await.unwrap_err();
    mock.token().to_owned()
}

#[tokio::test]
async fn a_calls_lines_have_the_seeds_fields() {
    let (subscriber, lines) = subscriber(LogFormat::Json, "nudj_tower=debug");
    let token = calls().with_subscriber(subscriber).await;
    let all = lines.json();
    let of = |message: &str| -> Vec<&Value> { all.iter().filter(|line| line["message"] == message).collect() };
    assert_eq!(of("call started").len(), 2, "{all:?}");
    let [completed] = of("call completed")[..] else { panic!("{all:?}") };
    for (field, expected) in [
        ("level", Value::from("INFO")),
        ("target", "nudj_tower::metrics::record".into()),
        ("operation", "getMe".into()),
        ("url.template", "/api/v2/integration/me".into()),
        ("http.request.method", "GET".into()),
        ("http.response.status_code", 200.into()),
        ("outcome", "success".into()),
        ("attempts", 2.into()),
    ] {
        assert_eq!(completed[field], expected, "{field} in {completed}");
    }
    assert!(completed["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(completed["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(completed["endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let span = &completed["spans"][0];
    assert_eq!(span["name"], "http_call");
    assert_eq!(span["correlation_id"], completed["correlation_id"]);
    let [failed] = of("call failed")[..] else { panic!("{all:?}") };
    assert_eq!((&failed["error.type"], &failed["attempts"]), (&"404".into(), &1.into()));
    let text = lines.text();
    // A name that the lines' ids, which are random hex, cannot hold.
    assert!(!text.contains("olivia"), "an id or a query was logged: {text}");
    assert!(!text.contains(&token));
}

#[tokio::test]
async fn pretty_lines_say_the_same() {
    let (subscriber, lines) = subscriber(LogFormat::Pretty, "info");
    calls().with_subscriber(subscriber).await;
    let text = lines.text();
    let line = text.lines().find(|line| line.contains("call completed")).unwrap();
    assert!(line.contains(r#"operation="getMe""#) && line.contains("attempts=2"), "{line}");
    assert!(!text.contains("call started"), "that is for debug");
    assert!(!text.contains('\u{1b}'), "no colour unless asked");
}

#[test]
fn what_other_code_writes_is_redacted_in_either_format() {
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let (subscriber, lines) = subscriber(format, "trace");
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", api_key = "canary-1", url = "https://h/p?key=canary-2");
            let _entered = span.enter();
            span.record("api_key", "canary-3");
            tracing::info!(
                authorization = "canary-4",
                pin_token = 99_887_766,
                headers = ?["Bearer canary-5"],
                request = r#"{"x-api-token":"canary-7"}"#,
                user = "ada\nlevel=ERROR",
                "fetched https://ada:canary-6@h/x"
            );
        });
        let text = lines.text();
        assert!(!text.contains("canary") && !text.contains("99887766"), "{text}");
        assert!(text.contains("fetched https://[REDACTED]@h/x"), "{text}");
        assert_eq!(text.lines().count(), 1, "nobody writes lines into our log: {text}");
    }
}

/// An error whose text others write, as that of a call holds the API's own message.
#[derive(Debug, thiserror::Error)]
#[error("the API answered 500: x\n2026-01-01T00:00:00Z ERROR {0}\u{1b}[2J\u{9b}2J\r\u{7}")]
struct Foreign(&'static str);

#[test]
fn nobody_writes_lines_or_orders_into_our_log() {
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let (subscriber, lines) = subscriber(format, "trace");
        tracing::subscriber::with_default(subscriber, || {
            let error = Foreign("forged");
            let _entered = tracing::info_span!("request", %error).entered();
            tracing::warn!(%error, error.debug = ?error, error.dyn = &error as &dyn std::error::Error, "failed: {error}");
            tracing::warn!("{error}");
            tracing::warn!(%error);
        });
        let text = lines.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        // JSON is for machines: it escapes what JSON does.
        let is_order = |c: char| if format == LogFormat::Json { c < ' ' } else { c.is_control() };
        assert!(!text.contains(|c| is_order(c) && c != '\n'), "{text:?}");
        assert!(text.contains(r"500: x\n2026-01-01T00:00:00Z ERROR forged\u"), "{text}");
        if format == LogFormat::Json {
            let error = Foreign("forged").to_string();
            assert!(lines.json().iter().all(|line| line["spans"][0]["error"] == error), "{text}");
        }
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_an_error() {
    let config = LogConfig { filter: "nudj=loud".to_owned(), ..LogConfig::default() };
    let made = logs::layer::<tracing_subscriber::Registry, _>(&config, io::sink);
    assert!(matches!(made.err(), Some(LogError::Filter(_))));
    serde_json::from_str::<LogConfig>(r#"{"format": "json", "level": "info"}"#).unwrap_err();
    assert_eq!(serde_json::from_str::<LogConfig>(r#"{"format": "json"}"#).unwrap().format, LogFormat::Json);
}
