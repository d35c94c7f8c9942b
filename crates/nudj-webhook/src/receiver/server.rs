//! A server for those who have none: one path, HTTP/1, every wait bounded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tower_service::Service as _;

use super::handle::end_of;
use super::{Receiver, ShutdownReport};

/// Out of file handles: a moment later there may be some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Receiver {
    /// Serves the configured path on `listener` until `stop` ends, then [shuts down](Self::shutdown): accepts no
    /// connection any more, answers the requests under way, handles what is due at the same time, all within `deadline`.
    ///
    /// Plain HTTP/1: TLS belongs to the proxy in front. A connection that takes longer than `read_timeout` to send a
    /// request's head, idle time included, is closed. Other paths are answered 404.
    ///
    /// When this future is dropped, connections break off; what was answered 2xx stays recorded.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        deadline: Duration,
    ) -> ShutdownReport {
        let mut connections = JoinSet::new();
        let (closing, closed) = watch::channel(());
        let places = Arc::new(Semaphore::new(self.config().max_connections));
        let mut stop = pin!(stop);
        while let Some((stream, place)) = tokio::select! {
            biased;
            () = &mut stop => None,
            accepted = accept(&listener, &places) => Some(accepted),
        } {
            connections.spawn(self.clone().connection(stream, place, closed.clone()));
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        drop(closing);
        // At the same time: a connection that stalls must not take the time of the handlers.
        let ended = timeout_at(end_of(deadline), async { while connections.join_next().await.is_some() {} });
        let (report, _) = tokio::join!(self.shutdown(deadline), ended);
        report
    }

    /// One connection; told to end when `closed` has lost its sender.
    async fn connection(self, stream: TcpStream, place: OwnedSemaphorePermit, mut closed: watch::Receiver<()>) {
        let service = service_fn(|request: Request<Incoming>| self.route(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config().read_timeout)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            _ = closed.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(error = %error, "a webhook connection broke");
        }
        drop(place);
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.uri().path() == self.config().path {
            return self.service().call(request).await;
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        // As every refusal: a stranger that goes on asking and never reads would keep its place.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(response)
    }
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        if let Ok(place) = Arc::clone(places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => tracing::warn!(error = %error, "a webhook connection could not be accepted"),
            }
        }
        sleep(ACCEPT_PAUSE).await;
    }
}
