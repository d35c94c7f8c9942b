//! What the benchmarks and the gate measure: the same cases under the same names, whether nanoseconds, allocations or instructions are
//! counted.

mod cases;
pub mod count;
mod fused;
mod immediate;
mod layered;
mod watched;

pub use self::{
    cases::{Cases, each, free_quota, spans_kept},
    fused::Fused,
    immediate::{Body, Immediate, request},
    layered::ten_layers,
    watched::Watch,
};
