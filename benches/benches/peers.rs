//! The same question put to us and to others: what does one guarded call cost when all is well, and with one failure in a hundred?
//!
//! Nanoseconds per call, each built once outside the loop, one thread. The cores are asked without a future around them; the services are
//! called with a number, so that no request is cloned or dropped inside the loop.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use failsafe::CircuitBreaker as _;
use governor::{Quota, RateLimiter, clock::Clock as _};
use nudj_benches::free_quota;
use nudj_tower::{
    BoxError,
    circuit_breaker::{Breaker, CircuitBreakerConfig, CircuitBreakerLayer, Tick},
    classify::Outcome,
    rate_limit::RateLimitLayer,
    retry::{BudgetConfig, RetryBudget, RetryConfig, RetryLayer},
};
use tower::{Layer, Service, ServiceBuilder, retry::Policy, service_fn};

/// A clock that costs nothing, so that the cores are compared and not the clocks.
static COARSE: AtomicU64 = AtomicU64::new(1_000_000_000);

fn tick() -> Tick {
    Tick(COARSE.load(Ordering::Relaxed))
}

fn configs() -> [(&'static str, CircuitBreakerConfig); 3] {
    let plain = CircuitBreakerConfig::default();
    let ring = CircuitBreakerConfig { failure_rate: Some(0.5), ..plain.clone() };
    let window = CircuitBreakerConfig { window: Some(Duration::from_secs(10)), ..ring.clone() };
    [("consecutive", plain), ("count ring", ring), ("time buckets", window)]
}

fn breaker_cores(criterion: &mut Criterion) {
    for (group, every) in [("breaker core, all well", u64::MAX), ("breaker core, 1 % failing", 100)] {
        let mut group = criterion.benchmark_group(group);
        for (name, config) in configs() {
            let Ok(breaker) = Breaker::new(&config, 1) else { continue };
            let mut calls = 0u64;
            group.bench_function(format!("ours, {name}"), |bencher| {
                bencher.iter(|| {
                    calls += 1;
                    let outcome = if calls.is_multiple_of(every) { Outcome::Failure } else { Outcome::Success };
                    if let Ok(permit) = black_box(&breaker).admit(tick).permit {
                        breaker.settle(permit, black_box(outcome).into(), tick);
                    }
                });
            });
        }
        let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
        let mut calls = 0u64;
        group.bench_function("recloser", |bencher| {
            bencher.iter(|| {
                calls += 1;
                let result = if calls.is_multiple_of(every) { Err(()) } else { Ok(()) };
                let _ = black_box(black_box(&recloser).call(|| black_box(result)));
            });
        });
        let backoff = failsafe::backoff::constant(Duration::from_secs(30));
        let policy =
            failsafe::failure_policy::success_rate_over_time_window(0.5, 100, Duration::from_secs(30), backoff);
        let failsafe = failsafe::Config::new().failure_policy(policy).build();
        let mut calls = 0u64;
        group.bench_function("failsafe", |bencher| {
            bencher.iter(|| {
                calls += 1;
                let result = if calls.is_multiple_of(every) { Err(()) } else { Ok(()) };
                let _ = black_box(black_box(&failsafe).call(|| black_box(result)));
            });
        });
        group.finish();
    }
}

/// Answers with what it was asked.
fn echo() -> impl Service<u64, Response = u64, Error = BoxError, Future = Ready<Result<u64, BoxError>>> + Clone {
    service_fn(|number: u64| ready(Ok(black_box(number))))
}

fn call<S: Service<u64, Response = u64>>(service: &mut S) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    if !matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))) {
        return false;
    }
    matches!(pin!(service.call(black_box(7))).poll(&mut context), Poll::Ready(Ok(_)))
}

fn row<S: Service<u64, Response = u64>>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut service: S) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| assert!(call(black_box(&mut service)), "the price of a failure is another question"));
    });
}

fn breaker_services(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker service");
    row(&mut group, "bare", echo());
    for (name, config) in configs() {
        if let Ok(layer) = CircuitBreakerLayer::new(&config) {
            row(&mut group, &format!("ours, {name}"), layer.for_any().layer(echo()));
        }
    }
    let resilience = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .build();
    if let Ok(layer) = resilience {
        row(&mut group, "tower-resilience", layer.layer(echo()));
    }
    let recloser = recloser::AsyncRecloser::from(recloser::Recloser::custom().error_rate(0.5).closed_len(100).build());
    row(&mut group, "recloser", service_fn(move |number: u64| recloser.call(ready(Ok::<_, Infallible>(number)))));
    group.finish();
}

fn limiters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limiter grant");
    let Some(quota) = NonZeroU32::new(u32::MAX) else { return };
    let direct = RateLimiter::direct_with_clock(Quota::per_second(quota), governor::clock::QuantaClock::default());
    group.bench_function("governor, quanta clock", |bencher| {
        bencher.iter(|| assert!(black_box(&direct).check().is_ok(), "quota that is never used up"));
    });
    let monotonic = RateLimiter::direct_with_clock(Quota::per_second(quota), governor::clock::MonotonicClock);
    group.bench_function("governor, the system's clock", |bencher| {
        bencher.iter(|| assert!(black_box(&monotonic).check().is_ok(), "quota that is never used up"));
    });
    let clock = governor::clock::MonotonicClock;
    group.bench_function("the system's clock alone", |bencher| bencher.iter(|| black_box(clock.now())));
    if let Ok(handle) = RateLimitLayer::new(&free_quota()).map(|layer| layer.handle()) {
        group.bench_function("ours, the system's clock", |bencher| {
            bencher.iter(|| assert!(black_box(&handle).try_acquire(), "quota that is never used up"));
        });
    }
    row(&mut group, "bare service", echo());
    if let Ok(layer) = RateLimitLayer::new(&free_quota()) {
        row(&mut group, "ours, the whole service", layer.for_any().layer(echo()));
    }
    group.finish();
}

/// tower asks for a policy; this one never repeats, which is all that a good answer needs.
#[derive(Clone)]
struct Never;

impl<R: Clone, T, E> Policy<R, T, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut R, _: &mut Result<T, E>) -> Option<Ready<()>> {
        None
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

fn stacks(criterion: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("stack");
    row(&mut group, "bare", echo());
    let tower = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1000)
        .retry(Never)
        .timeout(Duration::from_secs(10))
        .service(echo());
    row(&mut group, "tower: load shed, limit, retry, timeout", tower);
    let layers = (
        RetryLayer::for_any(RetryConfig::default()),
        RateLimitLayer::new(&free_quota()),
        CircuitBreakerLayer::new(&CircuitBreakerConfig::default()),
    );
    if let (Ok(retry), Ok(limit), Ok(breaker)) = layers {
        let ours = ServiceBuilder::new().layer(retry).layer(limit.for_any()).layer(breaker.for_any()).service(echo());
        row(&mut group, "ours: retry, rate limit, circuit breaker", ours);
    }
    let parts = (
        RetryBudget::new(BudgetConfig::default()),
        RateLimitLayer::new(&free_quota()).map(|layer| layer.handle()),
        Breaker::new(&CircuitBreakerConfig::default(), 1),
    );
    if let (Ok(budget), Ok(quota), Ok(breaker)) = parts {
        // No service, no future, nothing owned by a call.
        group.bench_function("the three's algorithms alone", |bencher| {
            bencher.iter(|| {
                black_box(&budget).count_call();
                assert!(black_box(&quota).try_acquire(), "quota that is never used up");
                if let Ok(permit) = black_box(&breaker).admit(tick).permit {
                    breaker.settle(permit, black_box(Outcome::Success).into(), tick);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, breaker_cores, breaker_services, limiters, stacks);
criterion_main!(benches);
