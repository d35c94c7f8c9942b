//! Changes on both sides, merged: your records and Nudj's users become the same and stay so.
//!
//! ```
//! use nudj_client::Client;
//! use nudj_sync::bidirectional::{Bidirectional, MemorySide, MemoryState, NudjUsers, Policy, Side, Synced, fields};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let nudj = nudj_mock::MockNudj::start().await?;
//! let client = Client::builder().endpoint(nudj.url()).token(nudj.token()).build()?;
//!
//! let local = MemorySide::default();
//! let ada = fields([("email", "ada@example.com"), ("username", "ada"), ("displayName", "Ada")]);
//! local.write("42", &ada, None).await?;
//! let sync = Bidirectional::new(local, NudjUsers::new(client), MemoryState::default(), Policy::FieldMerge);
//!
//! assert_eq!(sync.sync("42").await?, Synced { wrote_remote: true, ..Synced::default() });
//! assert_eq!(nudj.users()[0]["displayName"], "Ada");
//! assert_eq!(sync.sync("42").await?, Synced::default(), "what was written does not come back as a change");
//! # Ok(()) }
//! ```
//!
//! # What is compared
//! Each side with what it had after the last sync, kept in a [`State`]; so a write of ours is no change, whatever it did to
//! `updatedAt`, and no echo.
//!
//! | since the last sync | then |
//! |---|---|
//! | neither changed | nothing |
//! | one changed | its changed fields go to the other |
//! | both, to the same | nothing |
//! | one added what neither had | it goes to the other, whatever else was changed |
//! | both, to something else | the [`Policy`] decides, and the [`Conflict`] is recorded |
//! | one was deleted | the other is deleted too, an edit notwithstanding (recorded); the key stays a tombstone |
//!
//! # Who wrote last
//! By `updatedAt`. Times ahead of the clock count as now, so that a clock that is fast wins nothing for long. Times within
//! [`BidirectionalConfig::clock_skew`] of each other, or missing, are a tie, which the higher SHA-256 of the value wins: the same on
//! every machine, and again after a crash.
//!
//! A side that seems to have lost much at once takes nothing along: `sync_known` deletes no more than a share of what it looks at
//! ([`BidirectionalConfig::max_gone_share`]).
//!
//! # On cancel
//! Each sync reads both sides anew. One that was dropped or killed between its writes is finished by the next; what was written by then
//! is noted, so that it is not taken for somebody's edit.
//!
//! # Mistakes to avoid
//! Nudj has no documented conditional update: an edit made there between our read and our write, some milliseconds, is overwritten. A
//! local side can do better, by refusing a write over anything but the version that was read ([`Side::write`]). A deleted user who is to
//! come back under the same key must first be [forgotten](State::forget).
//!
//! Source: the bidirectional pattern of <https://docs.nudj.cx/developer/integration-patterns>. Updating a user is that page's
//! alone, and not in the public reference.

mod config;
mod memory;
mod nudj;
mod plan;
mod policy;
mod round;
mod side;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;
mod sync;

pub use config::BidirectionalConfig;
pub use memory::{MemorySide, MemoryState};
pub use nudj::NudjUsers;
pub use policy::{Conflict, Decide, Policy, Winner};
pub use side::{Fields, Side, Version, fields};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteState;
pub use state::{CONFLICTS_KEPT, Link, State};
pub use sync::{Bidirectional, Synced};
