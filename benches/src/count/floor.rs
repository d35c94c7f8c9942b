//! What a pool can cost at the least: hyper's and h2's connections, used without limits, ages, idle times, looks at sockets or replays.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{CONTENT_LENGTH, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
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
pub(super) struct BareShared(Arc<(SocketAddr, Mutex<Option<SendRequest<Bytes>>>)>);

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
                    let io = connect(*address).await?.into_inner();
                    let (sender, connection) = h2::client::handshake(io).await?;
                    tokio::spawn(connection);
                    *kept.lock() = Some(sender.clone());
                    sender
                }
            };
            let (mut head, body) = request.into_parts();
            let body = body.into_inner().unwrap_or_default();
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            let (answer, mut stream) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            let (head, mut body) = answer.await?.into_parts();
            let mut read = BytesMut::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                read.extend_from_slice(&data);
            }
            Ok(Response::from_parts(head, Full::new(read.freeze())))
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
