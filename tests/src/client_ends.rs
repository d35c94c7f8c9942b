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

/// Its consent names users alone, and no documented call takes a challenge away.
#[tokio::test]
async fn a_demo_at_an_api_that_is_not_its_own_creates_users_and_nothing_else() {
    let mock = MockNudj::start().await.unwrap();
    let before = mock.users_count();
    let ended = end(start(&mock, "demo")).await;
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(mock.users_count(), before);
    let requests = mock.requests();
    let changes: Vec<_> = requests.iter().filter(|request| request.method != Method::GET).collect();
    assert!(!changes.is_empty());
    assert!(changes.iter().all(|request| request.path.starts_with("/api/v2/admin/users")), "{changes:?}");
}

#[test]
fn what_cannot_be_meant_on_the_command_line_ends_in_2_before_a_call() {
    for (arguments, named) in [
        (&["call", "GET", "/users#x"][..], "%23"),
        (&["doctor", "--path", "/users#x"], "%23"),
        (&["call", "GET", "/users", "--header", "a: 1", "--header", "A: 2"], "--header"),
    ] {
        let mut command = Command::new(client());
        let out =
            command.args(arguments).args(["--endpoint", "http://127.0.0.1:1"]).env("NUDJ_API_TOKEN", "t").output();
        let out = out.unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{said}");
    }
}

/// Who names a secret in a vault does not mean the token of the environment.
#[test]
fn half_a_vault_is_said_to_be_half_and_another_token_not_sent_instead() {
    let (vault, address) = (("NUDJ_VAULT_PATH", OsStr::new("nudj")), ("VAULT_ADDR", OsStr::new("http://127.0.0.1:1")));
    let no_text = OsStr::from_bytes(b"caf\xe9");
    let aws = ("NUDJ_AWS_SECRET", OsStr::new("nudj"));
    for (given, missing) in [
        (&[vault][..], "VAULT_ADDR"),
        (&[vault, ("VAULT_ADDR", OsStr::new(""))], "VAULT_ADDR"),
        (&[vault, address], "VAULT_TOKEN"),
        (&[vault, address, ("VAULT_TOKEN", no_text)], "VAULT_TOKEN"),
        (&[("NUDJ_VAULT_PATH", no_text), address], "NUDJ_VAULT_PATH"),
        (&[aws], "AWS_REGION"),
        (&[aws, ("AWS_REGION", OsStr::new("eu-west-1"))], "AWS_ACCESS_KEY_ID"),
    ] {
        for (arguments, code) in [(&["call", "GET", "/x"][..], 2), (&["doctor"], 1)] {
            let mut command = Command::new(client());
            command.args(arguments).args(["--endpoint", "http://127.0.0.1:1"]).env("NUDJ_API_TOKEN", "t");
            for name in ["VAULT_ADDR", "VAULT_TOKEN", "AWS_REGION", "AWS_ACCESS_KEY_ID"] {
                command.env_remove(name);
            }
            let out = command.envs(given.iter().copied()).output().unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert_eq!(out.status.code(), Some(code), "{given:?} {arguments:?}: {said}");
            assert!(said.contains(missing) && !said.contains("caf"), "{said}");
        }
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
