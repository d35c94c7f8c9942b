//! Cuts off a sick service: after too many failures calls are refused at once, until a probe shows that it has recovered.

mod breaker;
mod config;
mod handle;
mod layer;
mod owner;
mod rules;
mod service;
mod slices;
mod state;
mod window;

pub use self::{
    breaker::Breaker,
    config::CircuitBreakerConfig,
    handle::{BreakerHandle, Transition},
    layer::CircuitBreakerLayer,
    service::{CircuitBreaker, CircuitBreakerFuture},
    state::{Admission, Cause, Change, Counts, End, Permit, State, Tick, View},
};
