//! [`MemoryBus`]: a bounded bus inside the process.

mod bus;
mod config;
mod queue;

pub use bus::MemoryBus;
pub use config::MemoryConfig;
