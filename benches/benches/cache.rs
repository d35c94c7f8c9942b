//! What does a cache hit cost, and what does the cache save?
//!
//! `hit`: a hit in memory through the whole layer, against what cannot be avoided: a moka lookup and a clone of the
//! response. Target: under three times that. Then, counted rather than timed: hit ratio and origin calls under a Zipf
//! load of 10^5 keys, and how far the process grows when the cache is full.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may panic")]

use std::{
    convert::Infallible,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use nudj_cache::{Cache, CacheConfig, CacheLayer, HttpCacheConfig, MemoryConfig, MultiLevelCache};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

type Body = Full<Bytes>;

/// Six headers, as an API sends them.
fn response(body: &Bytes) -> Response<Body> {
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("cache-control", "private, max-age=100000")
        .header("date", "Mon, 23 Nov 2026 17:00:00 GMT")
        .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
        .header("x-request-id", "0190a3b2-5a3c-7000-8000-0123456789ab")
        .body(Full::new(body.clone()))
        .unwrap()
}

fn get(uri: &str) -> Request<Body> {
    let request = Request::get(uri).header("accept", "application/json").header("user-agent", "bench/1.0");
    request.body(Full::default()).unwrap()
}

type Origin = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn origin(body: usize) -> (Origin, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let body = Bytes::from(vec![b'x'; body]);
    let service = service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        // A copy of its own each time, as an answer off the wire is.
        std::future::ready(Ok(response(&Bytes::copy_from_slice(&body))))
    });
    (BoxCloneSyncService::new(service), calls)
}

fn cache(max_bytes: u64) -> MultiLevelCache {
    let memory = MemoryConfig { max_bytes, ttl: Duration::from_secs(100_000) };
    MultiLevelCache::builder(CacheConfig { memory, ..CacheConfig::default() }).seed(1).build().unwrap()
}

fn layered(max_bytes: u64, origin: Origin) -> (Cache<Origin>, MultiLevelCache) {
    let cache = cache(max_bytes);
    let layer = CacheLayer::new(cache.clone(), HttpCacheConfig::default()).unwrap().partition("acme");
    (layer.layer(origin), cache)
}

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut group = criterion.benchmark_group("hit");
    group.throughput(Throughput::Elements(1));
    let uri = "/api/v2/admin/users/0190a3b2-5a3c-7000-8000-0123456789ab";
    let stored = response(&Bytes::from(vec![b'x'; 1024]));

    let moka: moka::sync::Cache<Box<str>, Arc<Response<Body>>> =
        moka::sync::Cache::builder().max_capacity(64 << 20).build();
    let key = format!("http|4:acme||//{uri}");
    moka.insert(key.as_str().into(), Arc::new(stored));
    // Twice: the difference between the two is the noise.
    for round in ["a", "b"] {
        group.bench_function(BenchmarkId::new("moka get and response clone", round), |bench| {
            bench.iter(|| {
                let found = moka.get(black_box(key.as_str())).unwrap();
                black_box(Response::clone(&found))
            });
        });
    }

    let (origin, calls) = origin(1024);
    let (mut service, _cache) = layered(64 << 20, origin);
    runtime.block_on(service.ready().now_or_never().unwrap().unwrap().call(get(uri))).unwrap();
    group.bench_function("layer", |bench| {
        bench.iter_batched(
            || get(uri),
            |request| service.call(request).now_or_never().unwrap().unwrap(),
            criterion::BatchSize::SmallInput,
        );
    });
    assert_eq!(calls.load(Ordering::Relaxed), 1, "all but the first were hits");
    group.finish();
}

/// Numbers from 0 to `count`, number n with weight 1/(n+1).
struct Zipf {
    sums: Vec<f64>,
    rng: fastrand::Rng,
}

impl Zipf {
    fn new(count: u32) -> Self {
        let weights = (1..=count).map(|n| 1.0 / f64::from(n));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect(), rng: fastrand::Rng::with_seed(1) }
    }

    fn draw(&mut self) -> usize {
        let at = self.rng.f64() * self.sums.last().unwrap();
        self.sums.partition_point(|sum| *sum < at)
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// Memory of this process, where the system tells.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn zipf() {
    const KEYS: u32 = 100_000;
    const CALLS: u32 = 500_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    println!("\nZipf, {KEYS} keys, {CALLS} calls, bodies of 1 KiB");
    println!(
        "{:>8} {:>10} {:>10} {:>9} {:>10} {:>12} {:>12}",
        "limit", "hit ratio", "origin", "entries", "weight", "memory grew", "of limit"
    );
    for limit in [8u64 << 20, 32 << 20, 128 << 20, 512 << 20] {
        let before = resident();
        let (origin, calls) = origin(1024);
        let (service, cache) = layered(limit, origin);
        let mut zipf = Zipf::new(KEYS);
        for _ in 0..CALLS {
            let request = get(&format!("/api/v2/admin/users/{}", zipf.draw()));
            runtime.block_on(service.clone().oneshot(request)).unwrap();
        }
        cache.memory().settle();
        let stats = cache.stats();
        let level = &stats.levels[0];
        let weight = level.bytes.unwrap();
        assert!(weight <= limit, "{weight} over {limit}");
        let origin = calls.load(Ordering::Relaxed);
        let grew = resident().saturating_sub(before);
        println!(
            "{:>4} MiB {:>10.3} {:>10} {:>9} {:>6} MiB {:>8} MiB {:>11} %",
            mebibytes(limit),
            1.0 - origin as f64 / f64::from(CALLS),
            origin,
            level.entries.unwrap(),
            mebibytes(weight),
            mebibytes(grew),
            grew * 100 / limit,
        );
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    hit(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` passes `--test`: that must be quick.
    if std::env::args().all(|argument| argument != "--test") {
        zipf();
    }
}
