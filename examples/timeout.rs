//! An attempt that takes too long is cut, and so is a body that only drips.
//!
//! `cargo run --example timeout`

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::BodyExt;
use nudj::tower::{
    BoxError,
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let timeout = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: Duration::from_millis(300) })?;

    let hung = ServiceBuilder::new()
        .layer(timeout)
        .service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, BoxError>>());
    if let Err(error) = hung.oneshot(Request::new(())).await {
        println!("no head: {error}");
    }

    // `with_body` keeps the time over the body as well.
    let dripping = ServiceBuilder::new().layer(timeout.with_body()).service_fn(|_: Request<()>| async {
        let drops = stream::unfold(0, |number| async move {
            tokio::time::sleep(Duration::from_millis(80)).await;
            Some((Ok::<_, BoxError>(Bytes::from_static(b"drop")), number + 1))
        });
        Ok::<_, BoxError>(Response::new(Body::from_stream(drops)))
    });
    let mut body = Box::pin(dripping.oneshot(Request::new(())).await?.into_body());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => println!("a frame of {} bytes", frame.data_ref().map_or(0, Bytes::len)),
            Err(error) => {
                println!("no end: {error}");
                break;
            }
        }
    }
    Ok(())
}
