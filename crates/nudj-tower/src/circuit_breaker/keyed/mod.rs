//! A circuit for each key: user, tenant, route. Bounded however many keys come.

mod layer;
mod shard;
mod store;

pub use self::{
    layer::{KeyedCircuitBreaker, KeyedCircuitBreakerLayer},
    store::KeyedBreakers,
};
