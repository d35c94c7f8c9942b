//! [`WebhookService`]: the receiver as a plain tower service.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::intake::Intake;

/// Answers webhooks, over any request body. It looks at no path: mount it where you like. Always ready, as what it
/// cannot take it answers with 503; never fails. Clones share everything.
#[derive(Clone, Debug)]
pub struct WebhookService {
    intake: Arc<Intake>,
}

impl WebhookService {
    pub(super) fn new(intake: Arc<Intake>) -> Self {
        Self { intake }
    }
}

impl<B> Service<Request<B>> for WebhookService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = WebhookFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> WebhookFuture {
        let intake = Arc::clone(&self.intake);
        WebhookFuture(Box::pin(async move {
            let (head, body) = request.into_parts();
            intake.receive(&head, body).await.response(head.version)
        }))
    }
}

/// The answer to come. Dropping it leaves the delivery recorded or not, never in between.
pub struct WebhookFuture(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>);

impl Future for WebhookFuture {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for WebhookFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookFuture").finish_non_exhaustive()
    }
}
