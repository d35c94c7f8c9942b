//! The balancer over endpoints that do as they are told.

mod back;
#[cfg(feature = "circuit-breaker")]
mod breakers;
mod changes;
mod ejection;
mod origins;
mod own;
mod readiness;
mod turns;

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use nudj_tower::{
    Availability, Available, BoxError, CallContext, Refused, Rejection, TryCall,
    round_robin::{RoundRobin, RoundRobinConfig},
};
use parking_lot::Mutex;
use tower::{Service, ServiceExt};

type Answer = Result<Response<&'static str>, BoxError>;

/// An endpoint that answers with its name. Clones share what it was told.
#[derive(Clone)]
struct Fake {
    name: &'static str,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// What it says of itself.
    open: Option<Duration>,
    /// Refuses all the same, as when another caller took the probe first.
    lost_race: Option<Duration>,
    /// Its service cannot become ready.
    broken: bool,
    fails: bool,
    calls: u32,
    ready_polls: u32,
}

fn fake(name: &'static str) -> Fake {
    Fake { name, told: Arc::default() }
}

impl Fake {
    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock());
    }

    fn calls(&self) -> u32 {
        self.told.lock().calls
    }
}

impl<B> Service<Request<B>> for Fake {
    type Response = Response<&'static str>;
    type Error = BoxError;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut told = self.told.lock();
        told.ready_polls += 1;
        Poll::Ready(if told.broken { Err(format!("{} is broken", self.name).into()) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut told = self.told.lock();
        told.calls += 1;
        let status = if told.fails { 500 } else { 200 };
        ready(Ok(Response::builder().status(status).body(self.name).unwrap()))
    }
}

impl Available for Fake {
    fn availability(&self) -> Availability {
        match self.told.lock().open {
            Some(wait) => Availability::Unavailable { retry_after: Some(wait) },
            None => Availability::Available,
        }
    }
}

impl<B> TryCall<Request<B>> for Fake {
    fn try_call(&mut self, request: Request<B>) -> Result<Self::Future, Refused<Request<B>>> {
        let lost = self.told.lock().lost_race;
        match lost {
            Some(wait) => {
                let rejection = Rejection::CircuitOpen { endpoint: Some(self.name.into()), retry_after: Some(wait) };
                Err(Refused { request, rejection })
            }
            None => Ok(self.call(request)),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn over<const N: usize>(fakes: &[Fake; N]) -> RoundRobin<Fake> {
    RoundRobin::new(&RoundRobinConfig::default(), fakes.iter().map(|fake| (fake.name, 1, fake.clone()))).unwrap()
}

/// A request whose context is at hand.
fn request() -> (Request<()>, CallContext) {
    let mut request = Request::new(());
    let context = CallContext::get_or_insert(request.extensions_mut());
    (request, context)
}

async fn call<S>(service: &S) -> &'static str
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone,
{
    service.clone().oneshot(Request::new(())).await.unwrap().into_body()
}

async fn calls<S>(service: &S, count: usize) -> String
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone,
{
    let mut names = String::new();
    for _ in 0..count {
        names.push_str(call(service).await);
    }
    names
}

async fn rejection<S>(service: &S) -> Rejection
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone,
{
    let error = service.clone().oneshot(Request::new(())).await.unwrap_err();
    Rejection::find(&*error).cloned().unwrap()
}
