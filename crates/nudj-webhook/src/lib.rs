//! Receives Nudj webhooks: signature check, replay guard, typed events, durable hand-over.

mod error;
mod wall_clock;

pub mod verify;

pub use error::{BoxError, Error};
pub use verify::{Claim, Refusal, Scheme, Verified, Verifier};
pub use wall_clock::{SystemClock, WallClock};
