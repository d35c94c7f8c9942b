//! Cuts off a sick service: after too many failures calls are refused at once, until a probe shows that it has recovered.

mod breaker;
mod config;
mod handle;
mod layer;
mod rules;
mod service;
mod slices;
mod window;

pub use self::{
    breaker::{Admission, Breaker, Cause, Change, Counts, End, Permit, State, Tick, View},
    config::CircuitBreakerConfig,
    handle::{BreakerHandle, Transition},
    layer::CircuitBreakerLayer,
    service::{CircuitBreaker, CircuitBreakerFuture},
};
