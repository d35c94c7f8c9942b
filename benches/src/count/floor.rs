//! What a pool can cost at the least: hyper's connections, used without limits, ages, idle times, looks at sockets or replays.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nudj_tower::BoxError;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tower::Service;

use crate::Body;

/// HTTP/1.1 connections in a `Vec`, the last used first.
#[derive(Clone)]
pub(super) struct Bare(Arc<(SocketAddr, Mutex<Vec<http1::SendRequest<Body>>>)>);

impl Bare {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(Arc::new((address, Mutex::default())))
    }
}

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let (address, idle) = &*shared;
            let kept = idle.lock().pop();
            let mut sender = match kept {
                Some(sender) => sender,
                None => {
                    let (sender, connection) = http1::handshake(connect(*address).await?).await?;
                    tokio::spawn(connection);
                    sender
                }
            };
            let parts = std::mem::take(request.uri_mut()).into_parts();
            *request.uri_mut() = parts.path_and_query.map(Uri::from).unwrap_or_default();
            request.headers_mut().insert(HOST, HeaderValue::from_static("127.0.0.1"));
            sender.ready().await?;
            let answer = whole(sender.send_request(request).await?).await?;
            idle.lock().push(sender);
            Ok(answer)
        })
    }
}

/// One HTTP/2 connection.
#[derive(Clone)]
pub(super) struct BareShared(Arc<(SocketAddr, Mutex<Option<http2::SendRequest<Body>>>)>);

impl BareShared {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(Arc::new((address, Mutex::default())))
    }
}

impl Service<Request<Body>> for BareShared {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let (address, kept) = &*shared;
            let there = kept.lock().clone();
            let mut sender = match there {
                Some(sender) => sender,
                None => {
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), connect(*address).await?).await?;
                    tokio::spawn(connection);
                    *kept.lock() = Some(sender.clone());
                    sender
                }
            };
            whole(sender.send_request(request).await?).await
        })
    }
}

async fn connect(address: SocketAddr) -> Result<TokioIo<TcpStream>, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn whole(answer: Response<Incoming>) -> Result<Response<Body>, BoxError> {
    let (parts, body) = answer.into_parts();
    Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
}
