//! Stands before the database: cuts its connections, and may change what it says.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(super) struct Proxy {
    pub(super) url: String,
    is_cut: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// What the server says as `from` is heard as `to`, which is as long.
    pub(super) async fn new(url: &str, from: &'static str, to: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let is_cut = Arc::new(watch::Sender::new(false));
        let cuts = Arc::clone(&is_cut);
        let through = url.replace(&server, &address);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *cuts.borrow() {
                    continue;
                }
                let (server, mut cut) = (server.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        () = relay(client, server, from, to) => {}
                        _ = cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { url: through, is_cut, task }
    }

    /// All connections break, and no new one is served.
    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(super) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn relay(client: TcpStream, server: String, from: &str, to: &str) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut heard, mut said), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    let up = async { drop(tokio::io::copy(&mut heard, &mut to_server).await) };
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let bytes = &mut buffer[..count];
            for at in 0..count.saturating_sub(from.len() - 1) {
                if bytes[at..].starts_with(from.as_bytes()) {
                    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
                }
            }
            if said.write_all(bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
