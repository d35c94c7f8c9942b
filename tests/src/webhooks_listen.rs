//! `client webhooks listen`, the built binary, with deliveries that the mock signs.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use http::StatusCode;
use nudj_mock::{MockNudj, WebhookEvent};
use serde_json::{Value, json};

use crate::import::client;

/// What both sides know.
const SECRET: &str = "whsec_a_secret_of_this_test_and_of_no_other";

struct Listener {
    child: Child,
    out: BufReader<ChildStdout>,
    url: String,
}

impl Listener {
    fn start() -> Self {
        let mut child = Command::new(client())
            .args(["webhooks", "listen", "--bind", "127.0.0.1:0", "--secret-env", "NUDJ_TEST_WEBHOOK_SECRET", "--json"])
            .env("NUDJ_TEST_WEBHOOK_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
        }
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        // What it says later must find a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, url }
    }

    /// The next event that it prints.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

fn event(id: &str) -> WebhookEvent {
    WebhookEvent::dotted("reward.earned", json!({ "points": 5 })).delivery_id(id).max_retries(0)
}

async fn answered(mock: &MockNudj, url: &str, id: &str) -> Option<StatusCode> {
    mock.send_webhook(url, Some(SECRET), &event(id)).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_a_line_and_a_signal_ends_it_well() {
    let mock = MockNudj::start().await.unwrap();
    let mut listener = Listener::start();
    for id in ["d-1", "d-2"] {
        assert_eq!(answered(&mock, &listener.url, id).await, Some(StatusCode::OK));
        let line = listener.line();
        assert_eq!(
            (&line["event"], &line["delivery_id"], &line["data"]["points"]),
            (&json!("reward.earned"), &json!(id), &json!(5))
        );
    }
    let forged =
        mock.send_webhook(&listener.url, Some("another secret, as long as this"), &event("d-3")).await.unwrap();
    assert_eq!(forged.status, Some(StatusCode::UNAUTHORIZED));
    let pid = listener.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let code = tokio::task::spawn_blocking(move || listener.child.wait().unwrap().code()).await.unwrap();
    assert_eq!(code, Some(0));
}

/// An accepted delivery that nobody saw is lost: the sender does not repeat it.
#[tokio::test(flavor = "multi_thread")]
async fn one_whose_output_is_closed_accepts_no_more_and_says_that_it_lost_something() {
    let mock = MockNudj::start().await.unwrap();
    let Listener { mut child, out, url } = Listener::start();
    drop(out);
    answered(&mock, &url, "d-1").await;
    let code = tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap();
    assert_eq!(code, Some(1));
}
