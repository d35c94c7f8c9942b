//! `client demo`, whose reader goes away.

use std::process::{Command, Stdio};

use nudj_mock::MockNudj;

use crate::import::client;

#[tokio::test]
async fn a_demo_that_nobody_reads_goes_on_and_leaves_no_user_behind() {
    let mock = MockNudj::builder().request_log(0).start().await.unwrap();
    let before = mock.users_count();
    let mut demo = Command::new(client())
        .args(["demo", "--endpoint", &mock.url()])
        .env("NUDJ_API_TOKEN", mock.token())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((demo.stdout.take(), demo.stderr.take()));
    let ended = tokio::task::spawn_blocking(move || demo.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(mock.users_count(), before);
}
