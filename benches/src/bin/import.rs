//! How much of its rate limit an import takes: the built client against a mock in this process, over loopback.
//!
//! `import [USERS@RATE …]`, such as `import 100000@500 100000@1000`; `+bulk` behind one sends chunks. Build the client first:
//! `cargo build --release --example client`.

use std::{
    env,
    error::Error,
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nudj_mock::MockNudj;
use tokio::time::Instant;

type Failed = Box<dyn Error + Send + Sync>;

/// One import.
struct Case {
    users: usize,
    rate: u32,
    bulk: bool,
}

/// What it took.
struct Taken {
    time: Duration,
    /// Of the client, in user and kernel mode.
    cpu_seconds: f64,
    /// Of the client, at most.
    resident_mib: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let asked: Vec<String> = env::args().skip(1).collect();
    let asked = if asked.is_empty() { vec!["100000@500".to_owned(), "100000@1000".to_owned()] } else { asked };
    let cases: Vec<Case> = asked.iter().map(|text| Case::parse(text)).collect::<Result<_, _>>()?;
    println!(
        "| users | allowed per second | by | seconds | of what is allowed | client's CPU seconds | client's memory at most |"
    );
    println!("|---|---|---|---|---|---|---|");
    for case in cases {
        let taken = case.run().await?;
        let share = case.users as f64 / taken.time.as_secs_f64() / f64::from(case.rate) * 100.0;
        let Case { users, rate, bulk } = case;
        let by = if bulk { "chunks of 100" } else { "a POST each" };
        // A bulk call is one of the calls that the limit counts.
        let share = if bulk { share / 100.0 } else { share };
        println!(
            "| {users} | {rate} | {by} | {:.1} | {share:.1} % | {:.1} | {:.1} MiB |",
            taken.time.as_secs_f64(),
            taken.cpu_seconds,
            taken.resident_mib
        );
    }
    Ok(())
}

impl Case {
    fn parse(text: &str) -> Result<Self, Failed> {
        let usage = || format!("{text}: not USERS@RATE or USERS@RATE+bulk");
        let (numbers, bulk) = text.strip_suffix("+bulk").map_or((text, false), |numbers| (numbers, true));
        let (users, rate) = numbers.split_once('@').ok_or_else(usage)?;
        Ok(Self { users: users.parse().map_err(|_| usage())?, rate: rate.parse().map_err(|_| usage())?, bulk })
    }

    async fn run(&self) -> Result<Taken, Failed> {
        // Takes a user twice, so that a duplicate shows.
        let mock = MockNudj::builder().duplicate_users(true).most_users(usize::MAX).request_log(0).start().await?;
        let folder = tempfile::tempdir()?;
        write_users(&folder.path().join("users.csv"), self.users)?;
        let mut command = Command::new(client()?);
        command.args(["users", "import", "users.csv", "--checkpoint", "checkpoint", "--endpoint", &mock.url()]);
        command.args(self.bulk.then_some("--bulk"));
        command.current_dir(folder.path()).stdout(Stdio::null());
        command.env("NUDJ_API_TOKEN", mock.token()).env("NUDJ_RATE_LIMIT__MAX_REQUESTS", self.rate.to_string());
        let start = Instant::now();
        let (ended, mut taken) = watch(command.spawn()?).await?;
        taken.time = start.elapsed();
        if !ended.success() || mock.users_count() != self.users {
            return Err(format!("the import ended with {ended} and {} users", mock.users_count()).into());
        }
        Ok(taken)
    }
}

fn write_users(path: &Path, users: usize) -> Result<(), Failed> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    writeln!(file, "externalUserId,email,username,displayName")?;
    for number in 0..users {
        writeln!(file, "ext-{number},user{number}@example.com,user{number},User {number}")?;
    }
    Ok(file.flush()?)
}

/// Beside this program's own folder, where cargo puts examples.
fn client() -> Result<PathBuf, Failed> {
    let path = env::current_exe()?.with_file_name("examples").join("client");
    if path.exists() { Ok(path) } else { Err("build the client first: cargo build --release --example client".into()) }
}

/// Looks at the child ten times a second, until it has ended.
async fn watch(mut child: Child) -> Result<(ExitStatus, Taken), Failed> {
    let mut taken = Taken { time: Duration::ZERO, cpu_seconds: 0.0, resident_mib: 0.0 };
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok((ended, taken));
        }
        let (status, stat) = (fs::read_to_string(folder.join("status")), fs::read_to_string(folder.join("stat")));
        if let Some(kib) = status.ok().and_then(|text| most_resident(&text)) {
            taken.resident_mib = kib / 1024.0;
        }
        if let Some(ticks) = stat.ok().and_then(|text| cpu_ticks(&text)) {
            taken.cpu_seconds = ticks / 100.0;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn most_resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// User and kernel time: the 14th and 15th field, after the name in brackets.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, kernel) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some(user + kernel)
}
