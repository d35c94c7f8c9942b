use std::hint::black_box;

use http::{Request, Response};
use nudj_tower::BoxError;
use tokio::runtime::{Builder, Handle, Runtime};
use tower::{Service, ServiceExt};

use super::wire;
use crate::{Body, Cases, each, spans_kept};

/// Enough calls for once-only allocations and growth to be over.
pub const WARM_UP: u64 = 200;

/// Runs one case `calls` times after a warm-up that is the same however many calls follow.
///
/// # Errors
/// When there is no such case or it fails.
pub fn run(case: &str, calls: u64) -> Result<(), BoxError> {
    let mut run = Run { case, calls, found: false, runtime: runtime()?, failed: None };
    let handle = run.runtime.handle().clone();
    visit(&handle, &mut run)?;
    match run.failed {
        Some(problem) => Err(problem),
        None if run.found => Ok(()),
        None => Err(format!("there is no case {case:?}").into()),
    }
}

/// Shows `cases` all of them, those on the wire against a server in a process of its own.
///
/// # Errors
/// When a case cannot be built.
pub fn visit(runtime: &Handle, cases: &mut impl Cases) -> Result<(), BoxError> {
    let _entered = runtime.enter();
    let server = wire::Server::start()?;
    each(cases)?;
    wire::each(cases, server.address())?;
    spans_kept(cases)
}

/// The runtime cases run on: one thread.
///
/// # Errors
/// When the system gives none.
pub fn runtime() -> Result<Runtime, BoxError> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Calls `service` that often.
///
/// # Errors
/// When an answer is not a success: the price of a failure is another question.
pub async fn repeat<S>(service: &mut S, template: &Request<Body>, calls: u64) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
{
    for _ in 0..calls {
        let response = service.ready().await.map_err(Into::into)?.call(template.clone()).await.map_err(Into::into)?;
        if !black_box(response).status().is_success() {
            return Err("the price of a failure is another question".into());
        }
    }
    Ok(())
}

/// What callgrind counts, by this function's name: what a case takes to be built and warmed up does not matter, some of it depends on
/// how fast the machine is (the Prometheus exporter looks how fast its clock runs).
#[inline(never)]
fn counted<S>(runtime: &Runtime, service: &mut S, template: &Request<Body>, calls: u64) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
{
    runtime.block_on(repeat(service, template, calls))
}

struct Run<'a> {
    case: &'a str,
    calls: u64,
    found: bool,
    runtime: Runtime,
    failed: Option<BoxError>,
}

impl Cases for Run<'_> {
    fn case<S>(&mut self, name: &'static str, template: &Request<Body>, mut service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
        S::Error: Into<BoxError>,
    {
        if name == self.case {
            self.found = true;
            let warm = self.runtime.block_on(repeat(&mut service, template, WARM_UP));
            self.failed = warm.and_then(|()| counted(&self.runtime, &mut service, template, self.calls)).err();
        }
    }

    fn wants(&self, name: &str) -> bool {
        name == self.case
    }
}
