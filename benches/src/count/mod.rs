//! Allocations by a counting allocator, instructions by callgrind: what a gate can hold on to.

mod floor;
mod recorded;
mod runner;
mod wire;

pub use self::{
    recorded::{Figure, Recorded},
    runner::{WARM_UP, repeat, run, runtime, visit},
    wire::{Server, serve},
};
