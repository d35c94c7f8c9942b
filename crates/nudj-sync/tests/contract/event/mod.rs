//! The event bus.

mod conformance;
mod consumer;
mod harness;
mod memory;
