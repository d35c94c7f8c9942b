//! The token is in its header and nowhere else.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::Method;
use nudj_client::{Client, config::AuthHeader};
use nudj_mock::{Fault, MockNudj};
use tracing_subscriber::fmt::MakeWriter;

use super::{client_over, quick};

/// Everything that was logged.
#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Captures what this thread logs, at TRACE, for as long as the guard lives.
    pub(super) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // Without one that is interested for good, a line of code that another test's thread reaches between two of these is
        // noted as of interest to nobody, and then missing here.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let captured = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(captured.clone()).finish();
        (captured, tracing::subscriber::set_default(subscriber))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Captured {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_token_is_in_no_log_error_or_debug_output() {
    const CANARY: &str = "canary-token-5f1c";
    let (captured, _guard) = Captured::start();
    let mut printed = String::new();
    for header in [AuthHeader::XApiToken, AuthHeader::Bearer] {
        let mock = MockNudj::builder().token(CANARY).start().await.unwrap();
        let mut config = quick(&mock);
        config.auth.header = header;
        let builder = Client::builder().config(config).token(CANARY);
        printed += &format!("{builder:?}");
        let client = builder.build().unwrap();
        client.integration().me().get().await.unwrap();
        for fault in [
            Fault::statuses([500, 503]),
            Fault::close().times(1),
            Fault::html(502).times(4),
            Fault::status(401).times(1),
        ] {
            mock.inject(fault);
            if let Err(error) = client.integration().me().get().await {
                printed += &format!(
                    "{error} {error:?} {:?}",
                    std::error::Error::source(&error).map(|source| format!("{source:?}"))
                );
            }
        }
        let request = client
            .request(Method::POST, "/api/v2/integration/me")
            .query("search", CANARY)
            .header("x-own-secret".parse().unwrap(), CANARY.parse().unwrap())
            .body(CANARY);
        printed += &format!("{client:?} {request:?} {:?} {:?}", client.service(), client.config());
        let seen = mock.requests()[0].clone();
        let (name, value) = match header {
            AuthHeader::XApiToken => ("x-api-token", CANARY.to_owned()),
            AuthHeader::Bearer => ("authorization", format!("Bearer {CANARY}")),
        };
        assert_eq!(seen.header(name), Some(value.as_str()), "it was sent");
    }
    let mock = MockNudj::start().await.unwrap();
    mock.add_user(&serde_json::json!({"email": "ada@example.org", "displayName": CANARY})).unwrap();
    let answer = client_over(&mock, quick(&mock)).request(Method::GET, "/api/v2/admin/users").send().await.unwrap();
    assert!(String::from_utf8_lossy(answer.body()).contains(CANARY), "there is something to show");
    printed += &format!("{answer:?}");
    let log = String::from_utf8(captured.bytes()).unwrap();
    assert!(log.contains("correlation_id"), "the log was captured: {log}");
    assert!(!log.contains(CANARY), "{log}");
    assert!(!printed.contains(CANARY), "{printed}");
}
