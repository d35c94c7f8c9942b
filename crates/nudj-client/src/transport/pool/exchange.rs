//! One request over one connection; over another one where that is safe.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST, uri::Parts};
use http_body_util::Full;
use hyper::client::conn::TrySendError;
use nudj_tower::{
    BoxError,
    classify::{TransportError, find_in_chain},
};

use super::{body::PooledBody, connection::Held, endpoint::Endpoint, error::PoolError};

/// From how long on an unused connection is looked at before it is used.
///
/// That its end has come is known to the operating system, but to hyper only once the runtime has asked: see
/// [`watched`](crate::transport::watched). Of what the look costs nothing is seen between calls that are so far apart. An end that an
/// answer foretold is known without.
const QUIET: Duration = Duration::from_millis(1);

/// How many new or shared connections may close before they take the request.
const CLOSED_EARLY: u8 = 3;

/// How often a request is sent anew that the server says it did not process.
const REPLAYS: u8 = 1;

/// Sends `request`, whose URI is absolute, and answers with the head; the body keeps the connection until its end.
pub(super) async fn exchange(
    endpoint: Arc<Endpoint>,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<PooledBody>, BoxError> {
    let (mut closed, mut replays) = (0, 0);
    loop {
        let mut lease = endpoint.checkout().await.map_err(PoolError::into_transport)?;
        if lease.idle_for.is_some_and(|idle| idle >= QUIET) && !lease.still_open() {
            lease.discard();
            continue;
        }
        let replay = if lease.is_shared() {
            absolute_form(&mut request, &endpoint)?;
            Some(copy(&request))
        } else {
            origin_form(&mut request, &endpoint);
            None
        };
        let sent = match lease.begin() {
            Held::Used(kept) => kept.connection.sender.try_send_request(request).await,
            Held::Shared(connection, _) => connection.sender.try_send_request(request).await,
            Held::Unused(_) | Held::Gone => return Err(PoolError::ClosedEarly.into_transport()),
        };
        request = match (sent.map_err(failure), replay) {
            (Ok(response), _) => return Ok(response.map(|body| PooledBody::new(body, lease))),
            (Err(Failure::Unsent(request)), _) => {
                // Each dead one out of the idle is one less, so only the others need counting.
                if lease.idle_for.is_none() || lease.is_shared() {
                    closed += 1;
                }
                lease.discard();
                if closed >= CLOSED_EARLY {
                    return Err(PoolError::ClosedEarly.into_transport());
                }
                *request
            }
            (Err(Failure::NotProcessed), Some(request)) => {
                lease.discard();
                if replays >= REPLAYS {
                    return Err(PoolError::Refused.into_transport());
                }
                replays += 1;
                request
            }
            (Err(Failure::NotProcessed), None) => return Err(PoolError::Refused.into_transport()),
            (Err(Failure::Broken(error)), _) => return Err(Box::new(TransportError::Exchange(error))),
        };
    }
}

enum Failure {
    /// hyper gives the request back only if not a byte of it was written.
    Unsent(Box<Request<Full<Bytes>>>),
    /// The server says that it did nothing about it.
    NotProcessed,
    Broken(BoxError),
}

fn failure(mut error: TrySendError<Request<Full<Bytes>>>) -> Failure {
    if let Some(request) = error.take_message() {
        return Failure::Unsent(Box::new(request));
    }
    let error = error.into_error();
    if find_in_chain::<h2::Error>(&error).is_some_and(not_processed) {
        Failure::NotProcessed
    } else {
        Failure::Broken(error.into())
    }
}

/// RFC 9113, sections 6.8 and 8.7: REFUSED_STREAM, and GOAWAY on a stream above the last one that it names. h2 gives the error
/// of a GOAWAY to those streams only.
fn not_processed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// As HTTP/1.1 wants it: path and query as the target, the authority as `host`.
fn origin_form(request: &mut Request<Full<Bytes>>, endpoint: &Endpoint) {
    if request.uri().scheme().is_some() {
        let parts = std::mem::take(request.uri_mut()).into_parts();
        *request.uri_mut() = parts.path_and_query.map(Uri::from).unwrap_or_default();
        request.headers_mut().insert(HOST, endpoint.host.clone());
    }
}

/// As HTTP/2 wants it, should the request have been made ready for HTTP/1.1 before.
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

/// All that goes on the wire.
fn copy(request: &Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
