//! A PostgreSQL server that a test may stop.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A PostgreSQL server of our own; as root it runs as `nobody`, for it refuses root.
pub(crate) struct PostgresServer {
    folder: TempDir,
    port: u16,
    programs: PathBuf,
    as_root: bool,
}

impl PostgresServer {
    pub(crate) fn new() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let newest = versions.flatten().map(|version| version.path().join("bin")).max()?;
        let folder = tempfile::tempdir().unwrap();
        let as_root = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap()) == 0;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder, port, programs: newest, as_root };
        if server.as_root {
            run(Command::new("chown").arg("nobody").arg(server.folder.path()));
        }
        run(server.command("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D", &server.data()]));
        server.pg_ctl("start");
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }

    /// `start`, or `stop`, which is a crash.
    pub(crate) fn pg_ctl(&self, what: &str) {
        let log = self.folder.path().join("log");
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.folder.path().display());
        let mut command = self.command("pg_ctl");
        command.args(["-w", "-D", &self.data(), "-l", log.to_str().unwrap(), "-o", &options, "-m", "immediate", what]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{what}");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.pg_ctl("stop");
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
