//! The client against `nudj-mock`: the seed's words, the API's oddities, hostile servers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

/// Runs each of these tests over both transports.
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        mod over_the_pool {
            $(#[tokio::test] async fn $name() { super::$name(nudj_client::config::Transport::Pool).await })+
        }
        mod over_the_legacy_client {
            $(#[tokio::test] async fn $name() { super::$name(nudj_client::config::Transport::Legacy).await })+
        }
    };
}

mod answers;
mod config;
mod credentials;
mod failover;
mod hostile;
mod keys;
#[cfg(all(feature = "keys-postgres", feature = "keys-redis", feature = "keys-sqlite"))]
mod keys_kill;
mod pages;
mod pool;
mod rotation;
mod secrets;
mod seed;
mod stack;
mod tls;
mod wire;

use std::time::Duration;

use nudj_client::{Client, Config, config::Transport};
use nudj_mock::MockNudj;

/// A configuration that calls all of the mock's instances and waits for milliseconds where the defaults wait for seconds.
fn quick(mock: &MockNudj) -> Config {
    let mut config = Config::with_endpoints(mock.urls());
    config.retry.base_delay = Duration::from_millis(1);
    config.retry.max_delay = Duration::from_millis(5);
    config.rate_limit.max_requests = 100_000;
    config
}

fn client_over(mock: &MockNudj, config: Config) -> Client {
    Client::builder().config(config).token(mock.token()).build().unwrap()
}

async fn start() -> (MockNudj, Client) {
    let mock = MockNudj::start().await.unwrap();
    let client = client_over(&mock, quick(&mock));
    (mock, client)
}

fn quick_over(mock: &MockNudj, transport: Transport) -> Config {
    let mut config = quick(mock);
    config.http.transport = transport;
    config
}

async fn start_over(transport: Transport) -> (MockNudj, Client) {
    let mock = MockNudj::start().await.unwrap();
    let client = client_over(&mock, quick_over(&mock, transport));
    (mock, client)
}
