use std::collections::BTreeMap;

use http::{Request, Response};
use nudj_benches::{
    Body, Cases,
    count::{Figure, WARM_UP, repeat, runtime, visit},
};
use nudj_tower::BoxError;
use tokio::runtime::Runtime;
use tower::Service;

/// How many calls an allocation is counted over; a vector that doubles now and then must not round up to one.
const COUNTED: u64 = 1000;

/// Allocations per call of every case.
pub(crate) fn each() -> Result<BTreeMap<String, Figure>, BoxError> {
    let mut count = Allocations { figures: BTreeMap::new(), runtime: runtime()?, failed: None };
    let handle = count.runtime.handle().clone();
    visit(&handle, &mut count)?;
    match count.failed {
        Some(problem) => Err(problem),
        None => Ok(count.figures),
    }
}

struct Allocations {
    figures: BTreeMap<String, Figure>,
    runtime: Runtime,
    failed: Option<BoxError>,
}

impl Cases for Allocations {
    fn case<S>(&mut self, name: &'static str, template: &Request<Body>, mut service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
        S::Error: Into<BoxError>,
    {
        let mut result = self.runtime.block_on(repeat(&mut service, template, WARM_UP));
        let counted = allocation_counter::measure(|| {
            if result.is_ok() {
                result = self.runtime.block_on(repeat(&mut service, template, COUNTED));
            }
        });
        if let Err(problem) = result {
            self.failed = Some(format!("{name}: {problem}").into());
        }
        let allocations = (counted.count_total as f64 / COUNTED as f64 * 10.0).round() / 10.0;
        self.figures.insert(name.to_owned(), Figure { allocations, instructions: None });
    }
}
