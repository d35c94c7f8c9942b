//! One listening socket: its accept loop, its connections, its death and its return.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Response;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Mutex, Notify, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{
    body::PacedBody,
    error::Disconnected,
    exchange::{Core, Delivery},
};

/// Long enough not to spin while descriptors are short, short enough not to be noticed.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Instance {
    index: usize,
    addr: SocketAddr,
    up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Dropping it stops it as well, since `stop` goes with it.
    Up { stop: oneshot::Sender<()>, serving: JoinHandle<()> },
    /// Holds the port without listening, so that connections are refused and nobody else takes it. `None` when it could not be held.
    Down { port: Option<TcpSocket> },
}

impl Instance {
    pub(crate) fn listen(core: &Arc<Core>, index: usize, addr: SocketAddr) -> io::Result<Self> {
        let listener = bind(addr)?.listen(1024)?;
        let addr = listener.local_addr()?;
        Ok(Self { index, addr, up: AtomicBool::new(true), state: Mutex::new(serve(core, index, listener)) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Closes the listening socket and every connection; all are closed when this returns.
    pub(crate) async fn kill(&self) {
        let mut state = self.state.lock().await;
        if matches!(*state, State::Down { .. }) {
            return;
        }
        let State::Up { stop, serving } = std::mem::replace(&mut *state, State::Down { port: None }) else { return };
        self.up.store(false, Ordering::Relaxed);
        // An error means that the loop has ended already.
        let _ = stop.send(());
        let _ = serving.await;
        *state = State::Down { port: bind(self.addr).ok() };
    }

    pub(crate) async fn revive(&self, core: &Arc<Core>) -> io::Result<()> {
        let mut state = self.state.lock().await;
        let State::Down { port } = &mut *state else { return Ok(()) };
        let socket = match port.take() {
            Some(socket) => socket,
            None => bind(self.addr)?,
        };
        *state = serve(core, self.index, socket.listen(1024)?);
        self.up.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the past may still linger on this port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn serve(core: &Arc<Core>, index: usize, listener: TcpListener) -> State {
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(accept(Arc::clone(core), index, listener, stopped));
    State::Up { stop, serving }
}

async fn accept(core: Arc<Core>, index: usize, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    core.count_connection(index);
                    connections.spawn(connection(Arc::clone(&core), index, stream));
                }
                // Out of file descriptors, or a client that was gone before it was accepted: go on in a moment.
                Err(_) => tokio::time::sleep(AFTER_FAILED_ACCEPT).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(core: Arc<Core>, index: usize, stream: TcpStream) {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = &core.tls {
        // A handshake that fails is the client's story to tell.
        if let Ok(stream) = tls.acceptor.accept(stream).await {
            speak(&core, index, stream).await;
        }
        return;
    }
    speak(&core, index, stream).await;
}

/// HTTP/1.1 or HTTP/2, as the client begins.
async fn speak<S>(core: &Arc<Core>, index: usize, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let close = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (core, close) = (Arc::clone(core), Arc::clone(&close));
        async move {
            match core.exchange(index, request).await {
                Delivery::Answer { head, body, pace } => Ok(Response::from_parts(head, PacedBody::new(body, pace))),
                Delivery::Abandoned => Err(Disconnected::BeforeAnswer),
                Delivery::Closed => {
                    close.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    tokio::select! {
        // A connection that ends in an error is the client's story to tell.
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        () = close.notified() => {}
    }
}
