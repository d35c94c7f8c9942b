//! What every layer keeps, whatever it does: one row per layer, the same questions to each.

mod over_hyper;
mod picky;

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use nudj_tower::BoxError;

/// A body that is neither `Clone` nor `Sync`, and comes in parts.
type Streaming = UnsyncBoxBody<Bytes, BoxError>;

fn streaming() -> Streaming {
    let parts = ["hel", "lo"].map(|part| Ok(http_body::Frame::data(Bytes::from_static(part.as_bytes()))));
    http_body_util::StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync()
}

/// Asks one layer everything: `$whole` over bodies that are `Clone`, `$streaming` over those that are not.
macro_rules! row {
    (feature = $feature:literal, $name:ident, { $whole:expr }) => {
        row!(feature = $feature, $name, { $whole }, streaming { $whole });
    };
    (feature = $feature:literal, $name:ident, { $whole:expr }, streaming { $streaming:expr }) => {
        #[cfg(feature = $feature)]
        mod $name {
            use tower::Layer as _;

            use super::*;

            #[tokio::test]
            async fn works_over_hypers_client_with_whole_and_streaming_bodies() {
                let server = over_hyper::Server::start().await;
                let whole = http_body_util::Full::new(Bytes::from_static(b"hello"));
                over_hyper::echoes($whole.layer(over_hyper::client()), server.put(whole)).await;
                over_hyper::echoes($streaming.layer(over_hyper::client()), server.put(streaming())).await;
            }

            #[tokio::test]
            async fn an_error_of_hypers_client_and_a_boxed_one_pass_unchanged() {
                let whole = || over_hyper::nobody_listens(http_body_util::Full::<Bytes>::default());
                over_hyper::fails($whole.layer(over_hyper::client()), whole()).await;
                over_hyper::fails($streaming.layer(over_hyper::client()), over_hyper::nobody_listens(streaming()))
                    .await;
                let boxed = tower::ServiceBuilder::new().map_err(BoxError::from).service(over_hyper::client());
                over_hyper::fails($whole.layer(boxed), whole()).await;
            }

            #[tokio::test(start_paused = true)]
            async fn the_readied_instance_is_called_and_only_when_woken_and_no_value_needs_clone() {
                picky::is_polled_as_often_as_needed(|below| $streaming.layer(below)).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_call_dropped_at_any_poll_drops_what_is_below() {
                picky::leaves_nothing_behind(|below| $streaming.layer(below)).await;
            }

            #[tokio::test]
            async fn services_and_futures_may_go_to_other_threads() {
                picky::may_go_to_other_threads($streaming.layer(picky::Picky::default()));
            }
        }
    };
}

row!(feature = "attempt", attempt, { nudj_tower::attempt::AttemptLayer::new() });

row!(feature = "circuit-breaker", circuit_breaker, {
    nudj_tower::circuit_breaker::CircuitBreakerLayer::new(&Default::default()).unwrap()
});

row!(feature = "correlation", correlation, { nudj_tower::correlation::CorrelationLayer::new() });

row!(feature = "correlation", correlation_server, { nudj_tower::correlation::CorrelationServerLayer::new() });

#[cfg(feature = "credentials")]
fn credentials() -> nudj_tower::credentials::CredentialsLayer {
    use nudj_tower::credentials::{Credentials, CredentialsLayer, Scheme, StaticCredential};
    CredentialsLayer::new(Credentials::new(StaticCredential::new("token"), Scheme::Bearer, Default::default()).unwrap())
}

row!(feature = "credentials", credentials_, { credentials() }, streaming { credentials().without_replay() });

row!(feature = "deadline", deadline, { nudj_tower::deadline::DeadlineLayer::new(Default::default()).unwrap() });

row!(feature = "idempotency", idempotency, { nudj_tower::idempotency::IdempotencyLayer::on() });

row!(feature = "metrics", metrics, { nudj_tower::metrics::MetricsLayer::new(Default::default()) });

row!(feature = "rate-limit", rate_limit, { nudj_tower::rate_limit::RateLimitLayer::new(&Default::default()).unwrap() });

#[cfg(feature = "retry")]
fn retry() -> nudj_tower::retry::RetryLayer {
    let config = nudj_tower::retry::RetryConfig {
        max_retries: 1,
        base_delay: std::time::Duration::from_millis(1),
        ..Default::default()
    };
    nudj_tower::retry::RetryLayer::new(config).unwrap()
}

row!(feature = "retry", retry_, { retry() }, streaming { retry().replaying(1024) });

row!(feature = "round-robin", round_robin, {
    nudj_tower::round_robin::RoundRobinLayer::new(
        &Default::default(),
        [nudj_tower::round_robin::Endpoint::new("a")],
        |_| nudj_tower::round_robin::PlainLayer,
    )
    .unwrap()
});

row!(feature = "timeout", timeout, { nudj_tower::timeout::AttemptTimeoutLayer::new(Default::default()).unwrap() });

row!(feature = "timeout", timeout_of_the_body, {
    nudj_tower::timeout::AttemptTimeoutLayer::new(Default::default()).unwrap().with_body()
});
