//! One id for a whole call: a handler is called with an id, and what it sends carries the same one.
//!
//! `cargo run --example correlation`

use axum::{Router, body::Body, extract::State, routing::get};
use http::{Request, Response};
use nudj::tower::{
    BoxError,
    correlation::{CorrelationLayer, CorrelationServerLayer},
};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

async fn handler(State(upstream): State<Upstream>) -> &'static str {
    match upstream.oneshot(Request::new(Body::empty())).await {
        Ok(_) => "done",
        Err(_) => "the upstream failed",
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The client half, around any service that is called.
    let upstream =
        ServiceBuilder::new().layer(CorrelationLayer::new()).service_fn(|request: Request<Body>| async move {
            println!("  the upstream sees      {:?}", request.headers().get("x-correlation-id"));
            println!("  as part of the trace   {:?}", request.headers().get("traceparent"));
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
    // The server half, around the routes whose handlers call it.
    let app = Router::new()
        .route("/", get(handler))
        .with_state(BoxCloneSyncService::new(upstream))
        .layer(CorrelationServerLayer::new());

    for id in ["order-17", "17\u{9}[INFO] paid"] {
        println!("a caller sends {id:?}");
        let request = Request::get("/").header("x-correlation-id", id).body(Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        println!("  and the answer carries {:?}", response.headers().get("x-correlation-id"));
    }
    Ok(())
}
