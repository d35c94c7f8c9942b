//! Keys that strangers choose cost a fixed amount of memory, however many there are.

use std::{convert::Infallible, num::NonZeroUsize, time::Duration};

use http::{Request, Response};
use nudj_tower::{
    circuit_breaker::{CircuitBreakerConfig, KeyedBreakers, KeyedCircuitBreakerLayer},
    idempotency::{KeyStore, MemoryKeys},
    observe::Observers,
    rate_limit::{RateLimitConfig, RateLimitLayer},
};
use tower::{Layer, ServiceExt, service_fn};

const KEPT: usize = 2000;
const WARM: u64 = 20_000;
const MORE: u64 = 150_000;
/// What `MORE` keys may add: a tenth of what they would take if they were kept, and what the tests beside this one take.
const MAY_GROW: u64 = 10 * 1024 * 1024;

/// What the process holds in memory, where the system says so.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[tokio::test(start_paused = true)]
async fn new_keys_without_end_take_no_more_memory_than_the_first() {
    let limits = RateLimitConfig { max_keys: KEPT, max_requests: 1000, ..RateLimitConfig::default() };
    let limits = RateLimitLayer::keyed(&limits, |request: &Request<u64>| *request.body()).unwrap();
    let circuits = KeyedBreakers::new(&CircuitBreakerConfig::default(), KEPT, "tenant", Observers::default()).unwrap();
    let guarded = KeyedCircuitBreakerLayer::new(circuits.clone(), |request: &Request<u64>| *request.body());
    let below =
        service_fn(|_: Request<u64>| async { Ok::<_, Infallible>(Response::builder().status(500).body(()).unwrap()) });
    let service = (&limits, &guarded).layer(below);
    let keys = MemoryKeys::new(NonZeroUsize::new(KEPT).unwrap());

    let mut warm = 0;
    for key in 0..WARM + MORE {
        if key == WARM {
            warm = resident();
        }
        service.clone().oneshot(Request::new(key)).await.unwrap();
        keys.get_or_insert(format!("POST /rewards/{key}/claim"), format!("key-{key}")).await.unwrap();
        if key % 1000 == 0 {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert!(limits.handle().keys() <= KEPT && circuits.len() <= KEPT && keys.len() <= KEPT);
        }
    }
    let grown = resident().saturating_sub(warm);
    assert!(grown < MAY_GROW, "{MORE} more keys took {grown} bytes");
}
