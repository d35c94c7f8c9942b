//! The API: axum routes a request to a plain function over the store.

mod actions;
mod catalogue;
mod challenges;
mod events;
mod failure;
mod holdings;
mod input;
mod oauth;
mod page;
mod participations;
mod points;
mod progress;
mod rewards;
mod routes;
mod users;
mod webhooks;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension,
    extract::{Query, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    clock::{Clock, Millis},
    error::lock,
    store::{Seen, Store, digest},
};

pub(crate) use failure::{Failure, envelope};
pub(crate) use input::Input;
pub(crate) use routes::router;
pub(crate) use users::new_user;

/// What handlers share.
pub(crate) struct World {
    pub(crate) store: Mutex<Store>,
    pub(crate) clock: Clock,
    /// What clients reach the sockets by: `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) rotation_overlap: Duration,
    pub(crate) token_lifetime: Duration,
}

/// The body of a request, already read.
#[derive(Debug, Clone)]
pub(crate) struct Arrived(pub(crate) Bytes);

/// One call, as a handler sees it.
pub(crate) struct Call<'a> {
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: &'a Bytes,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    token: Option<&'a str>,
    pub(crate) now: Millis,
    pub(crate) at: Instant,
    pub(crate) world: &'a World,
}

/// What a handler is: input checked, store read or changed, result or refusal.
type Handler = fn(&mut Store, &Call<'_>) -> Result<Value, Failure>;

/// A procedure: its name in error envelopes, and its handler.
#[derive(Debug, Clone, Copy)]
struct Procedure {
    name: &'static str,
    run: Handler,
    public: bool,
}

impl Call<'_> {
    /// The first path parameter.
    pub(crate) fn id(&self) -> &str {
        self.params.first().map_or("", |(_, value)| value)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where the caller reached the mock, such as `http://127.0.0.1:40123`. HTTP/2 has the host in the URI, HTTP/1.1 in a header.
    pub(crate) fn origin(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or(self.world.scheme);
        let host = self.uri.authority().map(Authority::as_str).or_else(|| self.header("host"));
        format!("{scheme}://{}", host.unwrap_or("nudj-mock.invalid"))
    }

    pub(crate) fn json(&self) -> Result<Value, Failure> {
        let kind = self.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !self.body.is_empty() && !kind.trim().eq_ignore_ascii_case("application/json") {
            return Err(Failure::not_json());
        }
        serde_json::from_slice(self.body).map_err(|error| Failure::invalid(format!("The body is not JSON: {error}")))
    }
}

/// Runs one procedure: token, then idempotency key, then the handler, all under one lock, so keyed repeats cannot overtake.
async fn run(
    procedure: Procedure,
    State(world): State<Arc<World>>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    Extension(Arrived(body)): Extension<Arrived>,
    request: Request,
) -> Response {
    let Ok(params) = params else {
        return refuse(&Failure::invalid("Input validation failed: the path is not UTF-8"), procedure.name);
    };
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()) else {
        return refuse(&Failure::invalid("Input validation failed: the query cannot be read"), procedure.name);
    };
    let call = Call {
        params: params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        query,
        body: &body,
        uri: request.uri(),
        headers: request.headers(),
        token: token(request.headers()),
        now: world.clock.millis(),
        at: Instant::now(),
        world: &world,
    };
    let mut store = lock(&world.store);
    if !procedure.public && !call.token.is_some_and(|token| store.tokens.is_valid(token, call.at)) {
        return refuse(&Failure::unauthorized(), procedure.name);
    }
    let keyed = matches!(*request.method(), Method::POST | Method::PATCH | Method::PUT) && store.idempotency.is_on();
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).filter(|_| keyed);
    // Without scheme and host: a client repeats at another instance what it asked the first.
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let asked = key.map(|key| (key, digest(&format!("{} {path}", request.method()), &body)));
    if let Some((key, asked)) = asked {
        match store.idempotency.look_up(key, asked) {
            Seen::New => {}
            Seen::Before(status, body) => {
                let replayed = HeaderName::from_static("idempotent-replayed");
                return ([(replayed, HeaderValue::from_static("true"))], answer(status, body)).into_response();
            }
            Seen::Otherwise => return refuse(&Failure::key_reused(), procedure.name),
        }
    }
    let (status, value) = match (procedure.run)(&mut store, &call) {
        Ok(value) => (StatusCode::OK, value),
        Err(failure) => (failure.status, envelope(failure.status, &failure.message, procedure.name)),
    };
    let given = Bytes::from(value.to_string());
    if let Some((key, asked)) = asked {
        store.idempotency.keep(key, asked, status, given.clone());
    }
    answer(status, given)
}

/// The token of either header, an optional `Bearer ` stripped from both, as documented.
fn token(headers: &HeaderMap) -> Option<&str> {
    ["x-api-token", header::AUTHORIZATION.as_str()].into_iter().find_map(|name| {
        let value = headers.get(name)?.to_str().ok()?.trim();
        let bare = value.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "));
        Some(bare.map_or(value, |(_, token)| token.trim_start()))
    })
}

fn answer(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A refusal in the documented envelope.
pub(crate) fn refuse(failure: &Failure, procedure: &str) -> Response {
    answer(failure.status, Bytes::from(envelope(failure.status, &failure.message, procedure).to_string()))
}
