//! Ctrl-C while a test runs.

use std::{
    env, fs,
    io::Read as _,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A package whose one test says that it is up, then never ends. The pipe ends with it.
fn write_package(folder: &Path) {
    let manifest = "[package]\nname = \"trial\"\nedition = \"2024\"\n[workspace]\n";
    let test = r#"
        use std::io::Write as _;
        #[test]
        fn never_ends() {
            let mut pipe = std::fs::File::create(std::env::var_os("TRIAL_PIPE").unwrap()).unwrap();
            pipe.write_all(b"x").unwrap();
            loop { std::thread::park() }
        }
    "#;
    fs::create_dir_all(folder.join("src")).expect("made");
    fs::create_dir_all(folder.join("tests")).expect("made");
    for (name, text) in [("Cargo.toml", manifest), ("src/lib.rs", ""), ("tests/trial.rs", test)] {
        fs::write(folder.join(name), text).expect("written");
    }
}

/// `xtask test` there, with everything given that it would look for. Redis is its own where there is one.
fn xtask(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("NEXTEST") || text.starts_with("NUDJ_TEST_") && text != "NUDJ_TEST_REDIS_SERVER" {
            command.env_remove(&name);
        }
    }
    for name in ["CHROMIUM", "PROMTOOL", "NODE_MODULES", "PYTHON", "POSTGRES_BIN", "NATS_SERVER"] {
        command.env(format!("NUDJ_TEST_{name}"), "/");
    }
    for name in ["POSTGRES_URL", "NATS_URL", "AWS_ENDPOINT", "OAUTH_URL"] {
        command.env(format!("NUDJ_TEST_{name}"), "given");
    }
    command
        .args(["test", "--no-install"])
        .current_dir(folder)
        .env_remove("CI")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("TMPDIR", folder)
        .env("TRIAL_PIPE", folder.join("pipe"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupted_run_ends_its_test_and_its_servers_and_removes_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    write_package(folder.path());
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let run = xtask(folder.path()).spawn().expect("xtask starts");

    // Opening waits for the test to open its end, which it never does if xtask fails.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(fs::File::open(&pipe)));
    let Ok(opened) = receiver.recv_timeout(Duration::from_secs(200)) else {
        panic!("xtask did not start the test: {:?}", run.wait_with_output());
    };
    let mut pipe = opened.expect("opened");
    assert_eq!(pipe.read(&mut [0; 2]).expect("read"), 1, "the test is up");
    let kill = Command::new("sh").args(["-c", &format!("kill -s INT {}", run.id())]).status();
    assert!(kill.expect("sh runs").success());

    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(pipe.read(&mut [0]).expect("read"), 0, "the test is gone");
    let left = fs::read_dir(folder.path()).expect("listed").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("nudj-xtask")), "{left:?}");

    let report = String::from_utf8(output.stdout).expect("text");
    if env::var_os("NUDJ_TEST_REDIS_SERVER").is_some() {
        let (_, rest) = report.split_once("on port ").expect("Redis ran");
        let port = rest.lines().next().and_then(|port| port.parse().ok()).expect("a port");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "Redis is gone");
    }
}
