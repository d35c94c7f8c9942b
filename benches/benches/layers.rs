//! What does each layer cost over an immediate service? Nanoseconds per call, a bare service in the same group: the difference is
//! the layer's price. Built once, outside the loop; everything succeeds.
//!
//! Over a ready service no timer is ever registered, which flatters the deadline and the timeouts.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use http::{Request, Response};
use nudj_benches::{Body, Cases, count::repeat, each, spans_kept};
use nudj_tower::BoxError;
use tokio::runtime::Runtime;
use tower::Service;

struct Bench<'b> {
    group: BenchmarkGroup<'b, WallTime>,
    runtime: Runtime,
}

impl Cases for Bench<'_> {
    fn case<S>(&mut self, name: &'static str, template: &Request<Body>, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
        S::Error: Into<BoxError>,
    {
        let runtime = &self.runtime;
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let (template, mut service) = (template.clone(), service.clone());
                runtime.block_on(async move {
                    let start = tokio::time::Instant::now();
                    let answered = repeat(&mut service, &template, rounds).await;
                    assert!(answered.is_ok(), "{name}: {answered:?}");
                    start.elapsed()
                })
            });
        });
    }
}

fn layers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let guard = runtime.handle().clone();
    let _entered = guard.enter();
    let mut bench = Bench { group: criterion.benchmark_group("layers"), runtime };
    if let Err(problem) = each(&mut bench).and_then(|()| spans_kept(&mut bench)) {
        eprintln!("not measured: {problem}");
        std::process::exit(2);
    }
    bench.group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
