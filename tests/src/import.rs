//! `client users import`, the built binary, against the mock: killed, interrupted, resumed.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use nudj_mock::{Fault, MockNudj};
use serde_json::Value;

/// The example, as `cargo build` makes it.
pub(crate) fn client() -> &'static Path {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // One that is there already, or a release build for figures.
        if let Some(built) = std::env::var_os("NUDJ_TEST_CLIENT") {
            return Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(built);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // The folder where this test was built: `target/debug/deps/<test>`.
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--example", "client", "--target-dir"])
            .arg(target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug/examples/client")
    })
}

struct Import {
    /// Takes a user twice, so that a duplicate shows.
    mock: MockNudj,
    folder: tempfile::TempDir,
}

impl Import {
    async fn new(file: &str, text: &str) -> Self {
        let mock =
            MockNudj::builder().duplicate_users(true).most_users(usize::MAX).request_log(0).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), text).unwrap();
        Self { mock, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(client());
        command
            .args(["users", "import"])
            .args(arguments)
            .args(["--endpoint", &self.mock.url()])
            .current_dir(self.folder.path())
            .env("NUDJ_API_TOKEN", self.mock.token())
            .env("NUDJ_RATE_LIMIT__MAX_REQUESTS", number("NUDJ_TEST_IMPORT_RATE").unwrap_or(1000).to_string())
            .env("NUDJ_RETRY__BASE_DELAY", "1ms")
            // Where one request in ten fails, three repeats leave one row in ten thousand undone.
            .env("NUDJ_RETRY__MAX_RETRIES", "9")
            .env("NUDJ_CIRCUIT_BREAKER__FAILURE_THRESHOLD", "0");
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    #[track_caller]
    fn assert_each_once(&self, count: usize) {
        let users = self.mock.users();
        let ids: HashSet<_> = users.iter().map(|user| user["externalUserId"].as_str().unwrap().to_owned()).collect();
        assert_eq!((users.len(), ids.len()), (count, count), "users, and how many of them are different");
    }
}

fn csv(count: usize) -> String {
    let rows = (0..count).map(|number| format!("ext-{number},user{number}@example.com\n"));
    std::iter::once("externalUserId,email\n".to_owned()).chain(rows).collect()
}

/// What a longer run is asked for.
fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Reads `lines` lines of what the child prints, off the runtime's threads.
async fn read_lines(mut child: Child, lines: usize) -> Child {
    tokio::task::spawn_blocking(move || {
        let mut out = BufReader::new(child.stdout.as_mut().unwrap());
        let mut line = String::new();
        for _ in 0..lines {
            line.clear();
            out.read_line(&mut line).unwrap();
        }
        drop(out);
        child
    })
    .await
    .unwrap()
}

fn last_line(out: &Output) -> Value {
    serde_json::from_slice(out.stdout.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_resumed_it_imports_each_user_once() {
    let users = number("NUDJ_TEST_IMPORT_USERS").unwrap_or(600);
    let kills = number("NUDJ_TEST_KILLS").unwrap_or(5);
    for arguments in
        [&["users.csv", "--checkpoint", "c", "--json"][..], &["users.csv", "--checkpoint", "c", "--json", "--bulk"]]
    {
        let import = Import::new("users.csv", &csv(users)).await;
        import.mock.inject(Fault::lost_answer().probability(0.05, 3));
        import.mock.inject(Fault::status(500).probability(0.10, 4));
        let mut rng = fastrand::Rng::with_seed(11);
        let start = tokio::time::Instant::now();
        for _ in 0..kills {
            let lines = rng.usize(1..(users / kills).max(2));
            let mut child = read_lines(import.start(arguments), lines).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let out = import.run(arguments).await;
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        let totals = last_line(&out);
        assert_eq!(totals["records"], users);
        assert_eq!(totals["totals"]["failed"], 0);
        import.assert_each_once(users);
        if number("NUDJ_TEST_KILLS").is_some() {
            let took = start.elapsed();
            println!(
                "{kills} kill -9 over {users} users, {arguments:?}: 0 missing, 0 twice, in {took:.0?}; {}",
                totals["totals"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_cleanly_and_says_how_to_resume() {
    let import = Import::new("users.csv", &csv(1500)).await;
    let arguments = ["users.csv", "--checkpoint", "c", "--json"];
    let child = read_lines(import.start(&arguments), 100).await;
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let out = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("interrupted after") && said.contains("run the same command again"), "{said}");
    let stopped = last_line(&out);
    assert_eq!(stopped["finished"], false);
    assert_eq!(stopped["records"], import.mock.users_count(), "what was sent is recorded");
    let out = import.run(&arguments).await;
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(last_line(&out)["resumed"], stopped["records"]);
    import.assert_each_once(1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_told_by_line_and_field_and_end_in_1() {
    let text = "email,externalUserId\na@example.com,1\nnonsense,2\nb@example.com,3,4\nc@example.com,5\n";
    let import = Import::new("users.csv", text).await;
    let out = import.run(&["users.csv"]).await;
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("line 3: email: is not an email address"), "{said}");
    assert!(said.contains("line 4: row: has 3 fields, not 2"), "{said}");
    assert_eq!(import.mock.users_count(), 2);

    let out = import.run(&["users.csv", "--json"]).await;
    let lines: Vec<Value> = out.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(lines.len(), 5, "one per row, and the totals");
    let bad = lines.iter().find(|line| line["line"] == 3).unwrap();
    assert_eq!((&bad["status"], &bad["error"]["field"]), (&"invalid".into(), &"email".into()));
    assert_eq!(last_line(&out)["totals"]["invalid"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_is_read_and_what_the_api_refuses_is_told() {
    let text = "{\"email\":\"a@example.com\",\"displayName\":\"Ada\",\"username\":\"ada\"}\n{\"externalUserId\":\"no email\"}\n";
    let import = Import::new("users.ndjson", text).await;
    let out = import.run(&["users.ndjson"]).await;
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("line 2: failed: the API answered 400"), "{said}");
    assert_eq!(import.mock.users()[0]["displayName"], "Ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_before_the_first_call_ends_in_2() {
    let import = Import::new("users.csv", &csv(3)).await;
    std::fs::write(import.folder.path().join("other.csv"), csv(4)).unwrap();
    std::fs::write(import.folder.path().join("columns.csv"), "email,phone\n").unwrap();
    std::fs::write(import.folder.path().join("spoiled"), "{").unwrap();
    // Where the checkpoint would be written aside: as on a full disk, no file can be.
    std::fs::create_dir(import.folder.path().join("full.new")).unwrap();
    std::fs::create_dir(import.folder.path().join("folder")).unwrap();
    assert_eq!(import.run(&["users.csv", "--checkpoint", "c"]).await.status.code(), Some(0));
    for (arguments, named) in [
        (&["none.csv"][..], "none.csv"),
        (&["columns.csv"], "phone"),
        (&["other.csv", "--checkpoint", "c"], "--checkpoint"),
        (&["users.csv", "--checkpoint", "no/such/folder/c"], "--checkpoint"),
        (&["users.csv", "--checkpoint", "spoiled"], "--checkpoint"),
        (&["users.csv", "--checkpoint", "full"], "--checkpoint"),
        (&["users.csv", "--checkpoint", "folder"], "--checkpoint"),
        (&["."], "FILE"),
    ] {
        let out = import.run(arguments).await;
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{said}");
    }
    import.assert_each_once(3);
}

/// What went to one API is not done at another.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_one_destination_is_none_of_another() {
    let import = Import::new("users.csv", &csv(3)).await;
    let arguments = ["users.csv", "--checkpoint", "c"];
    assert_eq!(import.run(&arguments).await.status.code(), Some(0));
    let production = MockNudj::builder().token(import.mock.token()).start().await.unwrap();
    let from = |url: &str| {
        let mut command = Command::new(client());
        command
            .args(["users", "import", "--endpoint", url])
            .args(arguments)
            .current_dir(import.folder.path())
            .env("NUDJ_API_TOKEN", import.mock.token());
        command
    };
    let mut command = from(&production.url());
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("--checkpoint") && said.contains("endpoints"), "{said}");
    assert_eq!(production.request_count(), 0);
    // In which order they are given makes no other destination of several.
    for (first, second) in [(production.url(), import.mock.url()), (import.mock.url(), production.url())] {
        let config = import.folder.path().join("nudj.toml");
        std::fs::write(&config, format!("endpoints = ['{first}', '{second}']")).unwrap();
        let mut command = Command::new(client());
        command
            .args(["users", "import", "users.csv", "--checkpoint", "both", "--config", "nudj.toml"])
            .current_dir(import.folder.path())
            .env("NUDJ_API_TOKEN", import.mock.token());
        let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_by_an_error_prints_its_totals_as_well() {
    let import = Import::new("users.csv", &csv(5)).await;
    let arguments = ["users.csv", "--json", "--checkpoint", "c"];
    for (after, expected) in [(0, 0), (2, 2)] {
        std::fs::remove_file(import.folder.path().join("c")).ok();
        import.mock.clear_faults();
        import.mock.inject(Fault::status(401).after(after).on(http::Method::POST, "/api/v2/admin/users"));
        let out = import.run(&arguments).await;
        assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
        let last = last_line(&out);
        assert_eq!((&last["finished"], &last["totals"]["created"]), (&false.into(), &expected.into()), "{last}");
    }
    // Nothing was settled by this run, so that what earlier ones did is known to the checkpoint alone.
    let out = import.run(&arguments).await;
    let last = last_line(&out);
    assert_eq!((&last["finished"], &last["totals"]), (&false.into(), &Value::Null), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_commands_take_as_delays_an_import_takes_as_well() {
    let import = Import::new("users.csv", &csv(3)).await;
    let mut command = import.command(&["users.csv"]);
    command.env("NUDJ_RETRY__BASE_DELAY", "10s").env("NUDJ_RETRY__MAX_DELAY", "1s");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    import.assert_each_once(3);
}

/// The figure: NUDJ_TEST_IMPORT_USERS=100000 with NUDJ_TEST_IMPORT_RATE, 500 users a second, is 200 s of work. In the usual run, a
/// small one shows that the path is there; the share is held in paused time by nudj-sync's own tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_is_what_an_import_takes_its_time_by() {
    let users = number("NUDJ_TEST_IMPORT_USERS").unwrap_or(300);
    let rate = number("NUDJ_TEST_IMPORT_RATE").unwrap_or(500);
    let import = Import::new("users.csv", &csv(users)).await;
    let mut command = import.command(&["users.csv", "--checkpoint", "c"]);
    command.env("NUDJ_RATE_LIMIT__MAX_REQUESTS", rate.to_string());
    let start = tokio::time::Instant::now();
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    import.assert_each_once(users);
    let share = users as f64 / took / rate as f64;
    println!("{users} users in {took:.1} s: {:.1} % of the {rate} per second allowed", share * 100.0);
    // A machine that is busy is no failure of the import; only who asks for the figure is told.
    assert!(number("NUDJ_TEST_IMPORT_USERS").is_none() || share >= 0.95, "{share}");
}
