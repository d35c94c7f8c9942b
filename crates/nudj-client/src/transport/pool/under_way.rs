//! From the moment a connection has a request to the end of its answer.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Body;
use http_body_util::Full;
use nudj_tower::{
    BoxError,
    classify::TransportError,
    timeout::{Keeper, TimeIsUp},
};
use pin_project_lite::pin_project;

use super::{
    body::PooledBody,
    connection::Lease,
    error::PoolError,
    exchange::{Failure, Tries, again, exchange},
};
use crate::transport::{
    inflate::inflate,
    reading::{Reading, is_encoded},
    wire::WholeExchange,
};

pin_project! {
    /// A request that a connection has, then the answer's body. Written by hand, since this is moved into a box: an `async` block would have room
    /// for everything twice.
    pub(super) struct UnderWay<F, B> {
        #[pin]
        stage: Stage<F, B>,
        limit: usize,
        // Of the attempt's time, for the connection that the request was sent on.
        keeper: Keeper,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, B> {
        Sent { #[pin] answer: F, sent: Option<Sent> },
        Reading { head: Option<Parts>, #[pin] body: Reading<PooledBody<B>> },
        // What few come to: inflating, and another connection.
        Other { rest: WholeExchange },
    }
}

/// What goes with a request that was sent.
pub(super) struct Sent {
    pub(super) lease: Lease,
    /// What to send should the server say that it did not process it.
    pub(super) replay: Option<Box<Request<Full<Bytes>>>>,
    pub(super) tries: Tries,
}

/// To a caller who has a fault, and should see it, not wait for ever.
const POLLED_AFTER_END: &str = "a request's future was polled after it had ended";

impl<F, B> UnderWay<F, B> {
    pub(super) fn new(answer: F, sent: Sent, limit: usize) -> Self {
        Self { stage: Stage::Sent { answer, sent: Some(sent) }, limit, keeper: Keeper::default() }
    }
}

impl<F, B, E> Future for UnderWay<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static,
    E: Into<Failure>,
{
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let keeper = this.keeper;
        this.stage
            .as_mut()
            .poll(cx, keeper, *this.limit)
            .map_err(|error| if keeper.is_over() { late(error) } else { error })
    }
}

impl<F, B, E> Stage<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + Unpin + 'static,
    E: Into<Failure>,
{
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        keeper: &mut Keeper,
        limit: usize,
    ) -> Poll<Result<Response<Full<Bytes>>, BoxError>> {
        loop {
            let next = match self.as_mut().project() {
                StageProj::Sent { answer, sent } => {
                    // Not polled again once it has ended: h2 would not bear it.
                    let Some(waiting) = sent else { return Poll::Ready(Err(POLLED_AFTER_END.into())) };
                    let Poll::Ready(answer) = answer.poll(cx) else {
                        waiting.lease.waits_in(cx.waker());
                        keeper.waits(cx, |at| waiting.lease.end_by(at, cx.waker()));
                        return Poll::Pending;
                    };
                    let Some(sent) = sent.take() else { return Poll::Ready(Err(POLLED_AFTER_END.into())) };
                    match answer {
                        Ok(response) => {
                            let (head, body) = response.into_parts();
                            let body = PooledBody::new(body, sent.lease);
                            if is_encoded(&head.headers) {
                                Stage::Other { rest: Box::pin(inflate(head, body, limit)) }
                            } else {
                                let mut body = Reading::announced(body, limit)?;
                                // Most bodies have come with their head, and need no place to wait in.
                                if let Poll::Ready(body) = Pin::new(&mut body).poll(cx) {
                                    return Poll::Ready(Ok(whole(head, body?)));
                                }
                                self.set(Stage::Reading { head: Some(head), body });
                                keeper.waits(cx, |_| false);
                                return Poll::Pending;
                            }
                        }
                        Err(error) => {
                            let Sent { lease, replay, mut tries } = sent;
                            let endpoint = Arc::clone(lease.endpoint());
                            let request = again(lease, replay, error.into(), &mut tries)?;
                            if keeper.is_over() {
                                return Poll::Ready(Err(PoolError::Late.into_transport()));
                            }
                            Stage::Other { rest: exchange(&endpoint, *request, tries, limit) }
                        }
                    }
                }
                StageProj::Reading { head, body } => {
                    let Poll::Ready(body) = body.poll(cx) else {
                        keeper.waits(cx, |_| false);
                        return Poll::Pending;
                    };
                    let Some(head) = head.take() else { return Poll::Ready(Err(POLLED_AFTER_END.into())) };
                    return Poll::Ready(Ok(whole(head, body?)));
                }
                StageProj::Other { rest } => return rest.as_mut().poll(cx),
            };
            self.set(next);
        }
    }
}

/// Once the time is up, an exchange that breaks is taken to have been ended for it: what else may have broken it, nobody would have waited for.
#[cold]
fn late(error: BoxError) -> BoxError {
    match error.downcast_ref() {
        Some(TransportError::Exchange(_)) => Box::new(TransportError::Exchange(TimeIsUp.into())),
        _ => error,
    }
}

fn whole(head: Parts, body: Bytes) -> Response<Full<Bytes>> {
    Response::from_parts(head, Full::new(body))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nudj_tower::timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer};
    use tokio::time::advance;
    use tokio_test::task;
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::transport::pool::{
        connection::Held,
        lone::{Lone, lone},
    };

    #[tokio::test(start_paused = true)]
    async fn a_late_request_that_its_connection_has_not_taken_is_not_sent_over_another() {
        // Ready for a request, and then nobody drives it.
        let Lone { lease, connection, peer: _peer, kept: _kept, .. } = lone().await;
        let mut lease = Some(lease);

        let limit = Duration::from_secs(10);
        let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: limit }).unwrap().one_task();
        let service = layer.layer(service_fn(move |()| {
            let mut lease = lease.take().expect("called once");
            let Held::Used(kept) = lease.begin() else { panic!("it takes one call at a time") };
            let answer = kept.connection.sender.try_send_request(Request::new(Full::default()));
            Box::pin(UnderWay::new(answer, Sent { lease, replay: None, tries: Tries::default() }, 1024))
        }));
        let mut call = task::spawn(service.oneshot(()));
        assert!(call.poll().is_pending());
        advance(limit).await;
        drop(connection);
        let Poll::Ready(answer) = call.poll() else { panic!("it goes on over another connection") };
        let error = answer.unwrap_err();
        let unsent = error.downcast_ref::<TransportError>().expect("what it says is that nothing was sent");
        assert!(matches!(unsent, TransportError::Unsent(_)) && !unsent.was_sent(), "{error:?}");
    }
}
