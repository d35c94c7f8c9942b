//! Tokens that expire are renewed in the background; one that was revoked is renewed once and the call sent again.
//!
//! `cargo run --example credentials`

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::{Request, Response, header::AUTHORIZATION};
use nudj::tower::{
    BoxError,
    credentials::{Credential, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut issued = 0;
    // A file, a vault, a token endpoint: whatever gives the next token.
    let provider = FromFn::new("tokens", move || {
        issued += 1;
        println!("token {issued} is fetched");
        ready(Ok(Credential::new(format!("token-{issued}")).valid_for(Duration::from_secs(3600))))
    });
    let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default())?;

    let revoked = Arc::new(AtomicU32::new(0));
    let refused = Arc::clone(&revoked);
    let service = ServiceBuilder::new().layer(CredentialsLayer::new(credentials.clone())).service_fn(
        move |request: Request<()>| {
            let good = request.headers().get(AUTHORIZATION).is_some_and(|value| value != "Bearer token-1");
            refused.fetch_add(u32::from(!good), Ordering::Relaxed);
            ready(Ok::<_, BoxError>(Response::new(())).map(|mut answer| {
                *answer.status_mut() = if good { http::StatusCode::OK } else { http::StatusCode::UNAUTHORIZED };
                answer
            }))
        },
    );
    let answers = join_all((0..100).map(|_| service.clone().oneshot(Request::new(())))).await;
    let good = answers.iter().flatten().filter(|answer| answer.status().is_success()).count();
    println!("{good} of 100 calls succeeded; {} requests met the revoked token", revoked.load(Ordering::Relaxed));
    println!("{credentials:?}");
    Ok(())
}
