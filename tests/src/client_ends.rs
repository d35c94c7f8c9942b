//! How the example client ends: its reader goes away, it is interrupted, what its environment says cannot be read.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    os::unix::ffi::OsStrExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use http::Method;
use nudj_mock::{Fault, MockNudj};

use crate::import::client;

#[tokio::test]
async fn a_demo_that_nobody_reads_goes_on_and_leaves_no_user_behind() {
    let mock = MockNudj::builder().request_log(0).start().await.unwrap();
    let before = mock.users_count();
    let mut demo = start(&mock, "demo");
    drop((demo.stdout.take(), demo.stderr.take()));
    let ended = end(demo).await;
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(mock.users_count(), before);
}

#[tokio::test]
async fn a_doctor_whom_nobody_hears_out_ends_by_what_it_found() {
    let mock = MockNudj::start().await.unwrap();
    let mut doctor = start(&mock, "doctor");
    drop(doctor.stdout.take());
    let ended = end(doctor).await;
    assert_eq!(ended.code(), Some(0), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_interrupted_leaves_no_user_behind() {
    let mock = MockNudj::builder().request_log(0).start().await.unwrap();
    let before = mock.users_count();
    // Its answers come late, so that the scene is under way when the signal comes.
    mock.inject(Fault::latency(Duration::from_secs(2)).on(Method::POST, "/api/v2/admin/users"));
    for scene in ["import of", "register, and come"] {
        let mut demo = start(&mock, "demo");
        let told = BufReader::new(demo.stdout.take().unwrap());
        let demo = tokio::task::spawn_blocking(move || {
            let mut lines = told.lines().map(Result::unwrap);
            assert!(lines.any(|line| line.contains(scene)), "no {scene}");
            let sent = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
            assert!(sent.success());
            let rest: Vec<String> = lines.collect();
            assert!(rest.iter().any(|line| line.starts_with("clean-up")), "{rest:?}");
            demo
        });
        let ended = end(demo.await.unwrap()).await;
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert_eq!(mock.users_count(), before);
    }
}

#[test]
fn an_environment_that_cannot_be_read_is_named_and_ends_in_2() {
    let no_text = OsStr::from_bytes(b"caf\xe9");
    for (name, value) in [
        ("NUDJ_API_TOKEN", no_text),
        ("NUDJ_API_KEY", no_text),
        ("RUST_LOG", no_text),
        ("RUST_LOG", OsStr::new("nudj=loud")),
    ] {
        let mut doctor = Command::new(client());
        let out = doctor.args(["doctor", "--endpoint", "http://127.0.0.1:1"]).env(name, value).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(name) && !said.contains("caf"), "{said}");
    }
}

fn start(mock: &MockNudj, command: &str) -> Child {
    Command::new(client())
        .args([command, "--endpoint", &mock.url()])
        .env("NUDJ_API_TOKEN", mock.token())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn end(mut child: Child) -> ExitStatus {
    tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap()
}
