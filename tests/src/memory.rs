//! Keys that strangers choose cost a fixed amount of memory, however many there are.

use std::{convert::Infallible, num::NonZeroUsize, ops::Range, time::Duration};

use http::{Request, Response};
use nudj_tower::{
    circuit_breaker::{CircuitBreakerConfig, KeyedBreakers, KeyedCircuitBreakerLayer},
    idempotency::{KeyStore, MemoryKeys},
    observe::Observers,
    rate_limit::{RateLimitConfig, RateLimitLayer},
};
use tower::{Layer, ServiceExt, service_fn};

/// More than a megabyte of them, however many happen to have been let go.
const KEPT: usize = 2400;
const WARM: u64 = 20_000;
const MORE: u64 = 150_000;
/// What `MORE` keys may add: about a hundredth of what they would take if they were kept.
const MAY_GROW: i64 = 1024 * 1024;

#[test]
fn new_keys_without_end_take_no_more_memory_than_the_first() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let limits = RateLimitConfig { max_keys: KEPT, max_requests: 1000, ..RateLimitConfig::default() };
    let limits = RateLimitLayer::keyed(&limits, |request: &Request<u64>| *request.body()).unwrap();
    let circuits = KeyedBreakers::new(&CircuitBreakerConfig::default(), KEPT, "tenant", Observers::default()).unwrap();
    let guarded = KeyedCircuitBreakerLayer::new(circuits.clone(), |request: &Request<u64>| *request.body());
    let below =
        service_fn(|_: Request<u64>| async { Ok::<_, Infallible>(Response::builder().status(500).body(()).unwrap()) });
    let service = (&limits, &guarded).layer(below);
    let keys = MemoryKeys::new(NonZeroUsize::new(KEPT).unwrap());

    let call = async |key: u64| {
        service.clone().oneshot(Request::new(key)).await.unwrap();
        keys.get_or_insert(format!("POST /rewards/{key}/claim"), format!("key-{key}")).await.unwrap();
        if key.is_multiple_of(1000) {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert!(limits.handle().keys() <= KEPT && circuits.len() <= KEPT && keys.len() <= KEPT);
        }
    };
    let calls = async |range: Range<u64>| {
        for key in range {
            call(key).await;
        }
    };
    // Of this thread alone, whatever runs beside it.
    let first = allocation_counter::measure(|| runtime.block_on(calls(0..WARM))).bytes_current;
    let grown = allocation_counter::measure(|| runtime.block_on(calls(WARM..WARM + MORE))).bytes_current;
    assert!(first > MAY_GROW, "what is kept is counted: {first} bytes");
    assert!(grown < MAY_GROW, "{MORE} more keys took {grown} bytes");
}
