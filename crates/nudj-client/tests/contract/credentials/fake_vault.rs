//! A Vault's KV 2 engine as far as its public HTTP documentation describes it: no Vault can be had here.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// What the fake does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Mood {
    #[default]
    Well,
    Sealed,
    Slow,
    Failing,
    Says(u16, &'static str),
    Redirects,
}

#[derive(Debug, Default)]
struct Kept {
    token: String,
    namespace: Option<String>,
    path: String,
    /// Version n stands at n - 1; a deleted one is null.
    versions: Vec<Value>,
    mood: Mood,
    requests: usize,
}

#[derive(Clone, Debug)]
pub(super) struct FakeVault {
    kept: Arc<Mutex<Kept>>,
    pub(super) address: String,
}

impl FakeVault {
    /// Listens on a free port. Takes requests for the secret at `path` (encoded) with this token.
    pub(super) async fn start(path: &str, token: &str, namespace: Option<&str>, data: Value) -> Self {
        let kept = Kept {
            token: token.to_owned(),
            namespace: namespace.map(str::to_owned),
            path: format!("/v1/{path}"),
            versions: vec![data],
            ..Kept::default()
        };
        let kept = Arc::new(Mutex::new(kept));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { kept, address }
    }

    fn with<T>(&self, read: impl FnOnce(&mut Kept) -> T) -> T {
        read(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.with(|kept| kept.mood = mood);
    }

    /// Somebody else writes.
    pub(super) fn write(&self, data: Value) {
        self.with(|kept| kept.versions.push(data));
    }

    pub(super) fn latest(&self) -> Value {
        self.with(|kept| kept.versions.last().cloned().unwrap())
    }

    pub(super) fn requests(&self) -> usize {
        self.with(|kept| kept.requests)
    }
}

fn errors(status: u16, errors: &[&str]) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "errors": errors }))).into_response()
}

async fn answer(State(kept): State<Arc<Mutex<Kept>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 100_000).await.unwrap();
    let mood = {
        let mut kept = kept.lock().unwrap();
        kept.requests += 1;
        kept.mood
    };
    match mood {
        Mood::Well => {}
        Mood::Sealed => return errors(503, &["Vault is sealed"]),
        Mood::Slow => std::future::pending().await,
        Mood::Failing => return errors(500, &["internal error: canary"]),
        Mood::Says(status, text) => return (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Mood::Redirects => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", "https://elsewhere.example/")]).into_response();
        }
    }
    let mut kept = kept.lock().unwrap();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let allowed = header("x-vault-token").as_deref() == Some(&*kept.token)
        && header("x-vault-namespace") == kept.namespace
        && header("x-vault-request").as_deref() == Some("true");
    if !allowed {
        return errors(403, &["permission denied"]);
    }
    if head.uri.path() != kept.path {
        return errors(404, &[]);
    }
    if head.method == Method::GET { read(&kept) } else { write(&mut kept, &body) }
}

fn metadata(version: usize, deleted: bool) -> Value {
    let deletion_time = if deleted { "2026-01-02T00:00:00Z" } else { "" };
    json!({
        "created_time": "2026-01-01T00:00:00Z", "custom_metadata": null, "deletion_time": deletion_time,
        "destroyed": false, "version": version,
    })
}

fn envelope(data: &Value) -> Value {
    json!({
        "request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data, "wrap_info": null,
        "warnings": null, "auth": null, "mount_type": "kv",
    })
}

fn read(kept: &Kept) -> Response {
    let (version, data) = (kept.versions.len(), kept.versions.last().unwrap());
    let status = if data.is_null() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let data = json!({ "data": data, "metadata": metadata(version, data.is_null()) });
    (status, Json(envelope(&data))).into_response()
}

fn write(kept: &mut Kept, body: &Bytes) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap();
    if body["options"]["cas"].as_u64().is_some_and(|cas| cas != kept.versions.len() as u64) {
        return errors(400, &["check-and-set parameter did not match the current version"]);
    }
    kept.versions.push(body["data"].clone());
    Json(envelope(&metadata(kept.versions.len(), false))).into_response()
}
