//! Faults on order: what a test asks for, and what it means for one request.

mod fault;
mod pattern;
mod quota;
mod rules;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use rules::FaultId;

pub(crate) use fault::{Payload, RetryAfter};
pub(crate) use pattern::Pattern;
pub(crate) use rules::{Arrival, Ending, Rules, Verdict};
