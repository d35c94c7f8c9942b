//! One request over one connection; over another one where that is safe.

use std::{future::ready, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Request, Uri, header::HOST, uri::Parts};
use http_body_util::Full;
use hyper::client::conn::TrySendError;
use nudj_tower::{
    BoxError,
    classify::{IDEMPOTENCY_KEY, TransportError},
    correlation::CORRELATION_ID,
};

use super::{
    connection::{Held, Lease},
    endpoint::Endpoint,
    error::PoolError,
    under_way::{Sent, UnderWay},
};
use crate::transport::{outgoing::Outgoing, wire::WholeExchange};

/// From how long on an unused connection is looked at before it is used.
///
/// That its end has come is known to the operating system, but here only once the runtime has asked: see
/// [`watched`](crate::transport::watched). Of what the look costs nothing is seen between calls that are so far apart. An end that an
/// answer foretold is known without.
const QUIET: Duration = Duration::from_millis(1);

/// How many new or shared connections may close before they take the request; where more are shared, those and a new one.
const CLOSED_EARLY: usize = 3;

/// How often a request is sent anew whose stream the server refused.
const REFUSALS: u8 = 1;

/// How often one is sent anew that a connection which says goodbye did not come to. A server may end each after a thousand requests, and
/// those under way then are often more than a hundred.
const GOODBYES: u8 = 8;

/// Sends `request`, whose URI is absolute or a path, and reads an answer of up to `limit` bytes.
///
/// Over a connection that is at hand it is sent right here, so that it is moved once, into the connection, and not into a future first.
#[inline]
pub(super) fn exchange(endpoint: &Arc<Endpoint>, request: impl Outgoing, tries: Tries, limit: usize) -> WholeExchange {
    match at_hand(endpoint) {
        Some(lease) => send(lease, request, tries, limit),
        None => {
            let endpoint = Arc::clone(endpoint);
            Box::pin(async move {
                let lease = loop {
                    if let Some(lease) = usable(endpoint.checkout().await.map_err(PoolError::into_transport)?) {
                        break lease;
                    }
                };
                send(lease, request, tries, limit).await
            })
        }
    }
}

#[inline]
fn at_hand(endpoint: &Arc<Endpoint>) -> Option<Lease> {
    loop {
        // Each one that is not usable is one less.
        if let Some(lease) = usable(endpoint.at_hand()?) {
            return Some(lease);
        }
    }
}

#[inline]
fn usable(lease: Lease) -> Option<Lease> {
    if lease.idle_for.is_some_and(|idle| idle >= QUIET) && !lease.still_open() {
        lease.discard();
        return None;
    }
    Some(lease)
}

#[inline]
fn send(mut lease: Lease, mut request: impl Outgoing, tries: Tries, limit: usize) -> WholeExchange {
    if lease.is_shared() {
        return send_shared(lease, request.into_sent(), tries, limit);
    }
    origin_form(&mut request, lease.endpoint());
    let Held::Used(kept) = lease.begin() else { return failed(PoolError::ClosedEarly) };
    let answer = kept.connection.sender.try_send_request(request.into_sent());
    Box::pin(UnderWay::new(answer, Sent { lease, replay: None, tries }, limit))
}

fn send_shared(mut lease: Lease, mut request: Request<Full<Bytes>>, mut tries: Tries, limit: usize) -> WholeExchange {
    if let Err(error) = absolute_form(&mut request, lease.endpoint()) {
        return Box::pin(ready(Err(error)));
    }
    let Held::Shared(joined) = lease.begin() else { return failed(PoolError::ClosedEarly) };
    if !joined.connection().is_first() {
        keep_out_of_table(&mut request);
    }
    let replay = Some(Box::new(copy(&request)));
    match joined.send(request) {
        Ok(answer) => Box::pin(UnderWay::new(answer, Sent { lease, replay, tries }, limit)),
        Err(failure) => {
            let endpoint = Arc::clone(lease.endpoint());
            match again(lease, replay, failure, &mut tries) {
                Ok(request) => exchange(&endpoint, *request, tries, limit),
                Err(error) => Box::pin(ready(Err(error))),
            }
        }
    }
}

fn failed(error: PoolError) -> WholeExchange {
    Box::pin(ready(Err(error.into_transport())))
}

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    closed: usize,
    refusals: u8,
    goodbyes: u8,
}

/// The request, to be sent over another connection, or why that may not be.
pub(super) fn again(
    lease: Lease,
    replay: Option<Box<Request<Full<Bytes>>>>,
    failure: Failure,
    tries: &mut Tries,
) -> Result<Box<Request<Full<Bytes>>>, BoxError> {
    let failure = match failure {
        // It never came to this one.
        Failure::Ended(_) if lease.has_written_nothing() => Failure::Unsent(None),
        other => other,
    };
    match failure {
        Failure::Unsent(request) => {
            // Each dead one out of the idle is one less, so only the others need counting.
            if lease.idle_for.is_none() || lease.is_shared() {
                tries.closed += 1;
            }
            let most = lease.endpoint().max_shared().saturating_add(1).max(CLOSED_EARLY);
            lease.discard();
            let request = request.or(replay).filter(|_| tries.closed < most);
            request.ok_or_else(|| PoolError::ClosedEarly.into_transport())
        }
        Failure::Refused => {
            // By now the connection knows how many streams the server takes: this one waits its turn.
            drop(lease);
            tries.refusals += 1;
            let request = replay.filter(|_| tries.refusals <= REFUSALS);
            request.ok_or_else(|| PoolError::Refused.into_transport())
        }
        Failure::Goodbye => {
            lease.discard();
            tries.goodbyes += 1;
            let request = replay.filter(|_| tries.goodbyes <= GOODBYES);
            request.ok_or_else(|| PoolError::Refused.into_transport())
        }
        Failure::Invalid(error) => Err(Box::new(TransportError::InvalidRequest(error))),
        Failure::Ended(_) if lease.is_silent() => Err(PoolError::Silent.into_transport()),
        Failure::Ended(error) | Failure::Broken(error) => Err(Box::new(TransportError::Exchange(error))),
    }
}

/// Why there is no answer.
pub(super) enum Failure {
    /// Not a byte of the request was written. With the request, where it was given back.
    Unsent(Option<Box<Request<Full<Bytes>>>>),
    /// The server says that it did nothing about it.
    Refused,
    /// And that it takes no more over this connection.
    Goodbye,
    /// No connection would take it.
    Invalid(BoxError),
    /// The connection was no more; it may have written the request before.
    Ended(BoxError),
    Broken(BoxError),
}

impl From<TrySendError<Request<Full<Bytes>>>> for Failure {
    fn from(mut error: TrySendError<Request<Full<Bytes>>>) -> Self {
        match error.take_message() {
            // hyper gives it back only if it wrote nothing of it.
            Some(request) => Self::Unsent(Some(Box::new(request))),
            None => Self::Broken(error.into_error().into()),
        }
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        // RFC 9113, sections 6.8 and 8.7: REFUSED_STREAM, and GOAWAY on a stream above the last one that it names. h2 gives the error of a GOAWAY to
        // those streams only.
        if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
            Self::Refused
        } else if error.is_remote() && error.is_go_away() {
            Self::Goodbye
        } else if error.is_io() {
            Self::Ended(error.into())
        } else {
            Self::Broken(error.into())
        }
    }
}

/// As HTTP/1.1 wants it: path and query as the target, the authority as `host`.
#[inline]
fn origin_form(request: &mut impl Outgoing, endpoint: &Endpoint) {
    request.forget_origin();
    request.headers_mut().insert(HOST, endpoint.host.clone());
}

/// As HTTP/2 wants it: with the origin in the URI.
fn absolute_form(request: &mut Request<Full<Bytes>>, endpoint: &Endpoint) -> Result<(), BoxError> {
    if request.uri().scheme().is_none() {
        let mut parts: Parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(endpoint.scheme.clone());
        parts.authority = Some(endpoint.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| TransportError::InvalidRequest(Box::new(error)))?;
        request.headers_mut().remove(HOST);
    }
    Ok(())
}

/// Headers whose value is new in each call. HPACK's table holds 4 kB: each value put there drives out what the next call would have
/// found, and never serves again. The first call on a connection leaves the names there. RFC 7541, section 6.2.3.
const NEW_EACH_TIME: [HeaderName; 3] = [CORRELATION_ID, HeaderName::from_static("traceparent"), IDEMPOTENCY_KEY];

fn keep_out_of_table(request: &mut Request<Full<Bytes>>) {
    for name in &NEW_EACH_TIME {
        if let Some(value) = request.headers_mut().get_mut(name) {
            // Nobody logs the request from here on.
            value.set_sensitive(true);
        }
    }
}

/// All that goes on the wire.
fn copy(request: &Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

#[cfg(test)]
mod tests {
    use tokio_test::task;

    use super::*;
    use crate::transport::pool::lone::{LoneShared, lone_shared, lone_shared_of};

    #[tokio::test]
    async fn what_a_connection_had_not_written_when_it_ended_may_go_over_another() {
        for is_written in [false, true] {
            let LoneShared { mut lease, mut connection, peer, kept: _kept, .. } = lone_shared().await;
            let request = || Request::post("http://a/").body(Full::default()).unwrap();
            let Held::Shared(joined) = lease.begin() else { panic!("all share it") };
            let answer = joined.send(request()).unwrap_or_else(|_| panic!("it takes requests"));
            if is_written {
                assert!(task::spawn(&mut connection).poll().is_pending());
            }
            drop(peer);
            let _ = connection.await;
            let failure = Failure::from(answer.await.unwrap_err());
            let again = again(lease, Some(Box::new(request())), failure, &mut Tries::default());
            assert_eq!(again.is_err(), is_written);
            if let Err(error) = again {
                assert!(matches!(error.downcast_ref(), Some(TransportError::Exchange(_))), "{error:?}");
            }
        }
    }

    #[tokio::test]
    async fn three_connections_may_close_before_they_take_the_request_or_all_that_are_shared_and_a_new_one() {
        for (shared, most) in [(1, 3), (2, 3), (10, 11)] {
            let (mut tries, mut asked) = (Tries::default(), 1);
            let error = loop {
                let LoneShared { lease, .. } = lone_shared_of(shared).await;
                match again(lease, Some(Box::default()), Failure::Unsent(None), &mut tries) {
                    Ok(_) => asked += 1,
                    Err(error) => break error,
                }
                assert!(asked <= most, "it goes on and on");
            };
            assert_eq!(asked, most, "{shared} shared");
            let unsent = error.downcast_ref::<TransportError>();
            assert!(unsent.is_some_and(|error| !error.was_sent()), "{error:?}");
        }
    }
}
