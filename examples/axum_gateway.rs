//! An axum service whose handlers call Nudj through the stack, and the same layers around another upstream.
//!
//! Runs on an embedded API, calls itself once, and shows that one correlation id went all the way:
//! `cargo run --example axum_gateway`. With `--serve ADDR` it stays up.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use nudj::{
    client::{Client, Config, model::NewUser},
    mock::MockNudj,
    tower::{
        BoxError,
        circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
        correlation::{self, CorrelationLayer, CorrelationServerLayer},
        rate_limit::{RateLimitConfig, RateLimitLayer},
    },
};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

/// Any other upstream of this service; here one that runs in the process.
type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

#[derive(Clone)]
struct App {
    nudj: Client,
    weather: Upstream,
}

/// A handler that calls Nudj: the stack is behind the typed client.
async fn user(State(app): State<App>, Path(id): Path<String>) -> Result<impl IntoResponse, Failure> {
    Ok(Json(app.nudj.admin().users().get(&id).await?))
}

/// A handler that calls something else through the same layers.
async fn weather(State(app): State<App>) -> Result<Response<Body>, StatusCode> {
    app.weather.oneshot(Request::new(Body::empty())).await.map_err(|_| StatusCode::BAD_GATEWAY)
}

/// What callers of the gateway see when a call to Nudj failed: its status, or when to come again.
struct Failure(nudj::client::Error);

impl From<nudj::client::Error> for Failure {
    fn from(error: nudj::client::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let status = self.0.status().unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let retry_after = self.0.retry_after().map_or(String::new(), |wait| wait.as_secs().to_string());
        (status, [("retry-after", retry_after)], self.0.to_string()).into_response()
    }
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .route("/weather", get(weather))
        .with_state(app)
        // Outermost, so that everything a handler sends carries the id the handler was called with.
        .layer(CorrelationServerLayer::new())
}

/// The layers are general: here they guard a service that has nothing to do with Nudj.
fn weather_upstream() -> Result<Upstream, BoxError> {
    let limit = RateLimitConfig { max_requests: 10, window: Duration::from_secs(1), ..RateLimitConfig::default() };
    let service = ServiceBuilder::new()
        .layer(CorrelationLayer::new())
        .layer(RateLimitLayer::new(&limit)?)
        .layer(CircuitBreakerLayer::new(&CircuitBreakerConfig::default())?.named("weather"))
        .service(tower::service_fn(|request: Request<Body>| async move {
            let id = request.headers().get("x-correlation-id").cloned();
            Ok::<_, BoxError>(Response::new(Body::from(format!("sunny, asked as {id:?}"))))
        }));
    Ok(BoxCloneSyncService::new(service))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mock = MockNudj::start().await?;
    let nudj = Client::builder().config(Config::with_endpoints(mock.urls())).token(mock.token()).build()?;
    let ada =
        nudj.admin().users().create(&NewUser { email: Some("ada@example.org".into()), ..NewUser::default() }).await?;
    let app = routes(App { nudj, weather: weather_upstream()? });

    if let Some(address) = std::env::args().skip_while(|argument| argument != "--serve").nth(1) {
        println!("http://{address}/users/{} and /weather", ada.id);
        axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?;
        return Ok(());
    }
    let request = Request::get(format!("/users/{}", ada.id)).header("x-correlation-id", "from-the-browser");
    let response = app.oneshot(request.body(Body::empty())?).await?;
    println!("the gateway answered {} as {:?}", response.status(), response.headers().get("x-correlation-id"));
    let seen = mock.requests().pop().ok_or("nothing arrived")?;
    println!("Nudj was asked as {:?}", seen.header("x-correlation-id"));
    assert!(correlation::current().is_none(), "outside a handler there is no id");
    Ok(())
}
