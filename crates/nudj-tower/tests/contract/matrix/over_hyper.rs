//! The layers over hyper-util's client, as users have it: `Response<Incoming>` and its own error.

use std::{convert::Infallible, fmt::Debug, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use nudj_tower::BoxError;
use tokio::{net::TcpListener, task::JoinSet};
use tower::{Service, ServiceExt};

/// Answers with the body it is sent.
pub(super) struct Server {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((io, _)) = listener.accept().await {
                connections.spawn(async move {
                    let echo = hyper::service::service_fn(|request: Request<Incoming>| async {
                        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                        Ok::<_, Infallible>(Response::new(Full::new(body)))
                    });
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), echo).await;
                });
            }
        });
        Self { address, _task: task }
    }

    pub(super) fn put<B>(&self, body: B) -> Request<B> {
        Request::put(format!("http://{}/", self.address)).body(body).unwrap()
    }
}

/// A request to an address that takes no connections: nothing is ever bound to port 1 of this one.
pub(super) fn nobody_listens<B>(body: B) -> Request<B> {
    Request::put("http://127.0.0.1:1/").body(body).unwrap()
}

pub(super) fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

pub(super) async fn echoes<S, B, R>(service: S, request: Request<B>)
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let answer = service.oneshot(request).await.map_err(Into::into).unwrap();
    let body = answer.into_body().collect().await.map_err(Into::into).unwrap();
    assert_eq!(body.to_bytes(), "hello");
}

pub(super) async fn fails<S, B>(service: S, request: Request<B>)
where
    S: Service<Request<B>, Response: Debug, Error: Into<BoxError>>,
{
    let error = service.oneshot(request).await.map_err(Into::into).unwrap_err();
    let error = error.downcast::<Error>().expect("the client's own error");
    assert!(error.is_connect(), "{error:?}");
}
