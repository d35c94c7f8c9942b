//! Tokens on demand. Seed only, not in the public reference: the real API has neither a token endpoint nor key rotation by call.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Form, FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Arrived, Call, Failure, World, answer};
use crate::{error::lock, store::Store};

/// Makes a new key; the one that asked stays good for the configured overlap.
pub(super) fn rotate(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let old = call.token.ok_or_else(Failure::unauthorized)?;
    let new = store.tokens.issue(None, call.at);
    store.tokens.retire(old, call.world.rotation_overlap, call.at);
    Ok(json!({"apiKey": new}))
}

/// The client credentials grant of RFC 6749, section 4.4; the client by form fields or by `Authorization: Basic`.
pub(super) async fn token(
    State(world): State<Arc<World>>,
    Extension(Arrived(body)): Extension<Arrived>,
    request: Request,
) -> Response {
    let basic = basic(request.headers());
    let (head, _) = request.into_parts();
    let request = Request::from_parts(head, axum::body::Body::from(body));
    let Ok(Form(fields)) = Form::<Vec<(String, String)>>::from_request(request, &()).await else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match field("grant_type").as_deref() {
        Some("client_credentials") => {}
        Some(_) => return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        None => return refuse(StatusCode::BAD_REQUEST, "invalid_request"),
    }
    let Some((id, secret)) = basic.or_else(|| field("client_id").zip(field("client_secret"))) else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    let mut store = lock(&world.store);
    if !store.tokens.is_client(&id, &secret) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let token = store.tokens.issue(Some(world.token_lifetime), Instant::now());
    let given = json!({"access_token": token, "token_type": "Bearer", "expires_in": world.token_lifetime.as_secs()});
    ([(header::CACHE_CONTROL, "no-store")], answer(StatusCode::OK, given.to_string().into())).into_response()
}

/// Id and secret are form-encoded, each for itself, before they are joined: RFC 6749, section 2.3.1.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(encoded.trim()).ok())??;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

/// `None` when it is not UTF-8.
fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

fn refuse(status: StatusCode, error: &str) -> Response {
    let body = json!({"error": error}).to_string();
    ([(header::CACHE_CONTROL, "no-store")], answer(status, body.into())).into_response()
}
