//! The mock, and the real client that calls it.

use std::time::Duration;

use nudj_client::{Client, Config};
use nudj_mock::MockNudj;

/// A client with a quota that no test meets, and backoffs of a millisecond.
pub(crate) fn client(mock: &MockNudj) -> Client {
    client_with(mock, |_| ())
}

/// The same, configured further.
pub(crate) fn client_with(mock: &MockNudj, configure: impl FnOnce(&mut Config)) -> Client {
    let mut config = Config { endpoints: vec![mock.url()], ..Config::default() };
    config.rate_limit.max_requests = 1_000_000;
    config.retry.base_delay = Duration::from_millis(1);
    config.circuit_breaker.failure_threshold = 0;
    configure(&mut config);
    Client::builder().config(config).token(mock.token()).build().unwrap()
}
