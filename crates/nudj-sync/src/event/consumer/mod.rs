//! [`Consumer`]: from the bus to the handlers, retries, dead letters, drain.

mod builder;
mod counters;
mod follow_ups;
mod handle;
mod looper;
mod worker;

pub use builder::ConsumerBuilder;
pub use counters::Snapshot;
pub use handle::{Consumer, DrainReport};
