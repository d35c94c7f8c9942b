//! One shared instance, 1, 2 and 4 threads: what does a call cost a thread, all well and with one failure in a hundred?
//!
//! Nanoseconds per call and thread, the best of many short rounds. Workers read the clock themselves: with as many workers as cores a thread that
//! only watches may get no core until they are done. Rows that write to a shared line vary by a factor of two and more between runs; rows that do
//! not repeat.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use failsafe::CircuitBreaker as _;
use governor::{Quota, RateLimiter};
use nudj_benches::free_quota;
use nudj_tower::{
    BoxError,
    circuit_breaker::{Breaker, CircuitBreakerConfig, Tick},
    classify::Outcome,
    rate_limit::RateLimitLayer,
};
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

static COARSE: AtomicU64 = AtomicU64::new(1_000_000_000);
const THREADS: [usize; 3] = [1, 2, 4];
const ROUNDS: usize = 15;
/// Enough that threads that start a little apart run side by side for nearly all of it.
const CALLS: u64 = 1_000_000;

fn tick() -> Tick {
    Tick(COARSE.load(Ordering::Relaxed))
}

/// The slowest thread of one round.
fn round(threads: usize, call: &(impl Fn(u64) + Sync)) -> Duration {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let worker = || {
            start.wait();
            let begun = Instant::now();
            (0..CALLS).for_each(call);
            begun.elapsed()
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).max().unwrap_or_default()
    })
}

fn row(name: &str, call: impl Fn(u64) + Sync) {
    print!("{name:44}");
    for threads in THREADS {
        let best = (0..ROUNDS).map(|_| round(threads, &call)).min().unwrap_or_default();
        print!(" {:9.1}", best.as_nanos() as f64 / CALLS as f64);
    }
    println!();
}

fn main() -> Result<(), BoxError> {
    println!("{:44} {:>9} {:>9} {:>9}", "ns per call and thread", "1", "2", "4");
    let plain = CircuitBreakerConfig::default();
    let ring = CircuitBreakerConfig { failure_rate: Some(0.5), ..plain.clone() };
    let window = CircuitBreakerConfig { window: Some(Duration::from_secs(10)), ..ring.clone() };
    for (what, every) in [("all well", u64::MAX), ("1 % failing", 100)] {
        let fails = |call: u64| (call + 1).is_multiple_of(every);
        for (name, config) in [("consecutive", &plain), ("count ring", &ring), ("time buckets", &window)] {
            let breaker = Breaker::new(config, 1)?;
            row(&format!("breaker, {name}, {what}"), |call| {
                let outcome = if fails(call) { Outcome::Failure } else { Outcome::Success };
                if let Ok(permit) = black_box(&breaker).admit(tick).permit {
                    breaker.settle(permit, black_box(outcome).into(), tick);
                }
            });
        }
        let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
        row(&format!("recloser, {what}"), |call| {
            let _ = black_box(black_box(&recloser).call(|| if fails(call) { Err(()) } else { Ok(()) }));
        });
        let backoff = failsafe::backoff::constant(Duration::from_secs(30));
        let policy =
            failsafe::failure_policy::success_rate_over_time_window(0.5, 100, Duration::from_secs(30), backoff);
        let failsafe = failsafe::Config::new().failure_policy(policy).build();
        row(&format!("failsafe, {what}"), |call| {
            let _ = black_box(black_box(&failsafe).call(|| if fails(call) { Err(()) } else { Ok(()) }));
        });
    }
    let limit = RateLimitLayer::new(&free_quota())?;
    let handle = limit.handle();
    row("our grant, the system's clock", |_| assert!(handle.try_acquire(), "quota that is never used up"));
    let service = limit.for_any().layer(service_fn(|number: u64| std::future::ready(Ok::<_, BoxError>(number))));
    row("rate limiter, service cloned and called", |call| {
        let mut service = service.clone();
        drop(black_box(Service::call(&mut service, call)));
    });
    if let Some(quota) = NonZeroU32::new(u32::MAX) {
        let governor = RateLimiter::direct(Quota::per_second(quota));
        row("governor, quanta clock", |_| assert!(governor.check().is_ok(), "quota that is never used up"));
    }
    Ok(())
}
