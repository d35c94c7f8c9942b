use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderValue, Request, Response, StatusCode, header},
    routing::{get, post},
};

use super::{
    control::{self, Order},
    happenings::Tone,
    hub::Hub,
    page::PAGE,
    stream,
};

pub(super) fn router<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>) -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/snapshot.json", get(snapshot))
        .route("/events", get(events))
        .route("/breakers", post(breakers))
        .with_state(hub)
}

pub(super) fn plain(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", text.into())
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    guarded(response)
}

/// What every answer says to browsers: keep nothing, guess nothing, send no referrer.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn page() -> Response<Body> {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", Body::from(PAGE.html.as_str()));
    if let Ok(policy) = HeaderValue::from_str(&PAGE.policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn snapshot(State(hub): State<Arc<Hub>>) -> Response<Body> {
    answer(StatusCode::OK, "application/json", Body::from(hub.whole()))
}

async fn events(State(hub): State<Arc<Hub>>, request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let controls = hub.guard.get().is_some_and(|guard| (guard.0)(&parts));
    guarded(stream::open(hub, controls))
}

/// Drives a breaker: 404 without a guard, 403 where it or the request's origin says no.
async fn breakers(State(hub): State<Arc<Hub>>, request: Request<Body>) -> Response<Body> {
    let Some(guard) = hub.guard.get() else {
        return plain(StatusCode::NOT_FOUND, "this dashboard is read-only");
    };
    let (parts, body) = request.into_parts();
    if !control::from_the_page(&parts, &hub.config.hosts) {
        return plain(
            StatusCode::FORBIDDEN,
            "only the dashboard's own page may ask for this, by a name that is among its `hosts`",
        );
    }
    if !(guard.0)(&parts) {
        return plain(StatusCode::FORBIDDEN, "you may not drive breakers");
    }
    let Ok(body) = to_bytes(body, control::MAX_BODY).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off");
    };
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return plain(StatusCode::BAD_REQUEST, format!("not an order: {error}")),
    };
    let handles = hub.sources.read().client.clone();
    let breakers = handles.map(|handles| handles.breakers()).unwrap_or_default();
    let Some(breaker) = breakers.iter().find(|breaker| breaker.name() == order.endpoint) else {
        return plain(StatusCode::NOT_FOUND, "there is no breaker of this name");
    };
    tracing::warn!(endpoint = breaker.name(), action = ?order.action, "breaker driven from the dashboard");
    hub.collector.happened(Tone::Info, breaker.name(), order.action.words().to_owned());
    order.action.carry_out(breaker);
    plain(StatusCode::NO_CONTENT, Body::empty())
}
