//! A real Redis on a socket of its own.

use std::process::{Child, Command, Stdio};

use crate::harness::environment;

/// A server of our own; ended when dropped.
pub(crate) struct Redis {
    child: Child,
    pub(crate) url: String,
    folder: tempfile::TempDir,
}

impl Redis {
    /// `None` after saying what is left out.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let binary = std::env::var("NUDJ_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        if Command::new(&binary).arg("--version").stdout(Stdio::null()).status().is_err() {
            environment("NUDJ_TEST_REDIS_SERVER", test)?;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let child = Command::new(binary)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, url: format!("redis+unix://{}", socket.display()), folder })
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = &self.folder;
    }
}
