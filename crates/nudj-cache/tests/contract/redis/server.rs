//! A redis-server of one's own.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

pub(super) struct Server {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    _folder: tempfile::TempDir,
}

fn program() -> String {
    std::env::var("NUDJ_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

impl Server {
    /// A server on a port of its own, or `None` with the reason said.
    pub(super) fn start(test: &str, options: &[&str]) -> Option<Self> {
        let there = Command::new(program()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            crate::left_out(test, "NUDJ_TEST_REDIS_SERVER");
            return None;
        }
        // Another process may take the port before the server does; then it does not start, and the next is tried.
        for _ in 0..20 {
            // A cluster's second port lies 10 000 higher.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if port > 55_000 {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let mut arguments: Vec<String> =
                ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(Into::into).into();
            arguments.extend(["--port".into(), port.to_string(), "--dir".into(), folder.path().display().to_string()]);
            arguments.extend(options.iter().map(ToString::to_string));
            let mut server = Self { child: None, port, arguments, _folder: folder };
            if server.run() {
                return Some(server);
            }
        }
        panic!("redis-server did not start");
    }

    /// Starts it, and waits until it says that it is ready.
    fn run(&mut self) -> bool {
        let mut child =
            Command::new(program()).args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        let mut lines = lines.lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        // Read on, or the server would block when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        ready
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub(super) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(super) fn thaw(&self) {
        self.signal("-CONT");
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "redis-server did not start again");
    }

    /// Says something to it, past the cache.
    pub(super) async fn tell(&self, words: &[&str]) -> String {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let (name, arguments) = words.split_first().unwrap();
        let reply: redis::Value = redis::cmd(name).arg(arguments).query_async(&mut connection).await.unwrap();
        match reply {
            redis::Value::Int(number) => number.to_string(),
            redis::Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            other => format!("{other:?}"),
        }
    }

    /// Three nodes that share the slots.
    #[cfg(feature = "redis-cluster")]
    pub(super) async fn start_cluster(test: &str) -> Option<Vec<Self>> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Self::start(test, &["--cluster-enabled", "yes"])?);
        }
        for (node, slots) in nodes.iter().zip([("0", "5000"), ("5001", "11000"), ("11001", "16383")]) {
            node.tell(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]).await;
        }
        for (index, node) in nodes.iter().enumerate() {
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
        }
        for node in &nodes[1..] {
            nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]).await;
        }
        for node in &nodes {
            super::until("the cluster is whole", async || {
                let info = node.tell(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await;
        }
        Some(nodes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
