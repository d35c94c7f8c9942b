//! From the moment hyper has a request to the end of its answer.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::TrySendError};
use nudj_tower::{BoxError, timeout::Keeper};
use pin_project_lite::pin_project;

use super::{
    body::PooledBody,
    connection::Lease,
    exchange::{Tries, again, exchange},
};
use crate::transport::{
    reading::{Reading, inflate, is_encoded},
    wire::WholeExchange,
};

pin_project! {
    /// A request that hyper has, then the answer's body. Written by hand, since this is moved into a box: an `async` block would have room
    /// for everything twice.
    pub(super) struct UnderWay<F> {
        #[pin]
        stage: Stage<F>,
        limit: usize,
        // Of the attempt's time, for the connection that the request was sent on.
        keeper: Keeper,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        Sent { #[pin] answer: F, sent: Option<Sent> },
        Reading { head: Option<Parts>, #[pin] body: Reading<PooledBody> },
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

impl<F> UnderWay<F> {
    pub(super) fn new(answer: F, sent: Sent, limit: usize) -> Self {
        Self { stage: Stage::Sent { answer, sent: Some(sent) }, limit, keeper: Keeper::default() }
    }
}

impl<F> Future for UnderWay<F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>>,
{
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = *this.limit;
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::Sent { answer, sent } => {
                    let Poll::Ready(answer) = answer.poll(cx) else {
                        this.keeper.waits(cx, |at| sent.as_ref().is_some_and(|sent| sent.lease.end_by(at)));
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
                                this.stage.set(Stage::Reading { head: Some(head), body });
                                this.keeper.waits(cx, |_| false);
                                return Poll::Pending;
                            }
                        }
                        Err(error) => {
                            let Sent { lease, replay, mut tries } = sent;
                            let endpoint = Arc::clone(lease.endpoint());
                            let request = again(lease, replay, error, &mut tries)?;
                            Stage::Other { rest: exchange(&endpoint, *request, tries, limit) }
                        }
                    }
                }
                StageProj::Reading { head, body } => {
                    let Poll::Ready(body) = body.poll(cx) else {
                        this.keeper.waits(cx, |_| false);
                        return Poll::Pending;
                    };
                    let Some(head) = head.take() else { return Poll::Ready(Err(POLLED_AFTER_END.into())) };
                    return Poll::Ready(Ok(whole(head, body?)));
                }
                StageProj::Other { rest } => return rest.as_mut().poll(cx),
            };
            this.stage.set(next);
        }
    }
}

fn whole(head: Parts, body: Bytes) -> Response<Full<Bytes>> {
    Response::from_parts(head, Full::new(body))
}
