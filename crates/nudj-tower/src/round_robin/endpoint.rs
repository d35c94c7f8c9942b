use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::Origin;
use crate::{Availability, Available, ConfigError, Refused, TryCall};

/// One place to send to: its name, its weight, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    name: Arc<str>,
    weight: u32,
    origin: Option<Origin>,
}

/// Weights are shares; a larger ratio than this is a mistake.
const MAX_WEIGHT: u32 = 10_000;

impl Endpoint {
    /// An endpoint of weight 1 that is known by its name only.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), weight: 1, origin: None }
    }

    /// An endpoint of weight 1 at `origin`, named after it.
    #[must_use]
    pub fn at(origin: Origin) -> Self {
        Self { name: Arc::clone(origin.name()), weight: 1, origin: Some(origin) }
    }

    /// Takes `weight` calls for each one that an endpoint of weight 1 takes; 1 to 10 000.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// What it is called in logs, metrics, errors, and when the list changes.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(super) fn share(&self) -> u32 {
        self.weight
    }

    /// Whether it is the same place: what was learned of one holds for the other.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.name == other.name && self.origin == other.origin
    }
}

/// Checks a whole list: weights in range, each name once.
pub(super) fn validate(endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let field = || format!("endpoints[{index}]");
        if !(1..=MAX_WEIGHT).contains(&endpoint.weight) {
            let problem = format!("weight must be 1 to {MAX_WEIGHT}, and is {}", endpoint.weight);
            return Err(ConfigError::new(field(), problem));
        }
        if endpoints[..index].iter().any(|earlier| earlier.name == endpoint.name) {
            return Err(ConfigError::new(field(), format!("{} is in the list already", endpoint.name)));
        }
    }
    Ok(())
}

/// A service that refuses nothing: an endpoint without a breaker.
#[derive(Clone, Copy, Debug)]
pub struct Plain<S>(pub S);

impl<S: Service<Req>, Req> Service<Req> for Plain<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

impl<S: Service<Req> + Send + Sync + 'static, Req> TryCall<Req> for Plain<S> {
    fn try_call(&mut self, request: Req) -> Result<Self::Future, Refused<Req>> {
        Ok(self.0.call(request))
    }
}

impl<S: Send + Sync + 'static> Available for Plain<S> {
    fn availability(&self) -> Availability {
        Availability::Available
    }
}

/// Makes endpoints of services that refuse nothing: the outermost layer of an endpoint's stack without a breaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainLayer;

impl<S> tower_layer::Layer<S> for PlainLayer {
    type Service = Plain<S>;

    fn layer(&self, inner: S) -> Plain<S> {
        Plain(inner)
    }
}
