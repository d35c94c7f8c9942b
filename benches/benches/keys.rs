//! One limiter and one breaker per key: what do a call and a key cost from 1 key to a million?
//!
//! `cargo bench -p nudj-benches --bench keys [-- CSV]`. Calls go to keys in an order without a pattern, so that from some number of keys on the
//! processor's caches no longer hold them: that part of the growth belongs to the machine and shows in governor's keyed limiter as well.

use std::{
    fs,
    future::{Future, Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use governor::{Quota, RateLimiter};
use nudj_benches::free_quota;
use nudj_tower::{
    BoxError,
    circuit_breaker::{CircuitBreakerConfig, KeyedBreakers, KeyedCircuitBreakerLayer},
    observe::Observers,
    rate_limit::{RateLimitConfig, RateLimitLayer},
};
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

const KEYS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const CALLS: u64 = 200_000;

fn echo() -> impl Service<u64, Response = u64, Error = BoxError, Future = Ready<Result<u64, BoxError>>> + Clone {
    service_fn(|number: u64| ready(Ok(black_box(number))))
}

struct Figure {
    bytes_per_key: f64,
    ns: f64,
}

/// Steps of an odd number visit every key of a power of two; close enough to no pattern for the others.
fn scattered(call: u64, keys: u64) -> u64 {
    (call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % keys
}

fn figure(keys: u64, mut call: impl FnMut(u64) -> bool) -> Figure {
    let mut good = true;
    let filled = measure(|| (0..keys).for_each(|key| good &= call(key)));
    let best = (0..5)
        .map(|round| {
            let start = Instant::now();
            for number in 0..CALLS {
                good &= call(scattered(number + round * CALLS, keys));
            }
            start.elapsed()
        })
        .min();
    assert!(good, "the price of a refusal is another question");
    let ns = best.unwrap_or_default().as_nanos() as f64 / CALLS as f64;
    Figure { bytes_per_key: filled.bytes_current as f64 / keys as f64, ns }
}

fn through<S: Service<u64, Response = u64> + Clone>(service: &S, key: u64) -> bool {
    let mut service = service.clone();
    let mut context = Context::from_waker(Waker::noop());
    matches!(service.poll_ready(&mut context), Poll::Ready(Ok(())))
        && matches!(pin!(service.call(key)).poll(&mut context), Poll::Ready(Ok(_)))
}

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let mut csv = String::from("what,keys,ns,bytes_per_key\n");
    println!("{:30} {:>9} {:>9} {:>12}", "", "keys", "ns/call", "bytes/key");
    for keys in KEYS {
        let room = usize::try_from(keys)?;
        // Each key its own quota: beyond `max_keys` they would share one.
        let quota = RateLimitConfig { max_keys: room, ..free_quota() };
        let limited = RateLimitLayer::keyed(&quota, |key: &u64| *key)?.for_any().layer(echo());
        let circuits = KeyedBreakers::new(&CircuitBreakerConfig::default(), room, "keys", Observers::default())?;
        let guarded = KeyedCircuitBreakerLayer::new(circuits, |key: &u64| *key).for_any().layer(echo());
        let governor = NonZeroU32::new(u32::MAX).map(|quota| RateLimiter::keyed(Quota::per_second(quota)));
        let rows = [
            ("rate limiter", figure(keys, |key| through(&limited, key))),
            ("circuit breaker", figure(keys, |key| through(&guarded, key))),
            ("governor, keyed", figure(keys, |key| governor.as_ref().is_some_and(|g| g.check_key(&key).is_ok()))),
        ];
        for (what, Figure { bytes_per_key, ns }) in rows {
            println!("{what:30} {keys:>9} {ns:>9.1} {bytes_per_key:>12.0}");
            csv.push_str(&format!("{what:?},{keys},{ns:.1},{bytes_per_key:.0}\n"));
        }
    }
    if let Some(path) = std::env::args().skip(1).find(|argument| argument.ends_with(".csv")) {
        fs::write(path, csv)?;
    }
    Ok(())
}
