//! Many records at once: several calls in flight under the client's own rate limit, a report for each record, and a checkpoint from
//! which a run that was killed goes on without a duplicate or a gap.
//!
//! ```
//! use futures_util::stream;
//! use nudj_client::{Client, Config, model::NewUser};
//! use nudj_sync::batch::{Batch, BatchConfig, Row, Users};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let nudj = nudj_mock::MockNudj::start().await?;
//! let client = Client::builder().endpoint(nudj.url()).token(nudj.token()).build()?;
//!
//! let rows = stream::iter((1..=250).map(|number| {
//!     let email = Some(format!("user{number}@example.com"));
//!     Ok(Row::new(number, NewUser { email, external_user_id: Some(number.to_string()), ..NewUser::default() }))
//! }));
//! let summary = Batch::new(Users::new(client), BatchConfig::default())?
//!     .run(rows, |report| Ok(if !report.outcome.is_success() { eprintln!("line {}: {}", report.line, report.outcome) }))
//!     .await?;
//! assert_eq!(summary.totals.created, 250);
//! # Ok(()) }
//! ```
//!
//! # What becomes of one record
//! ```text
//!            in doubt after a crash
//!                    │
//!                    ▼          not there
//!        found ◀── look it up ───────────┐
//!                    ▲                   ▼
//!                    │  no answer,     create ──▶ created
//!                    └─── 5xx ───────────┤
//!                                        ├──▶ conflict: look it up ──▶ found, or failed for good
//!                                        ├──▶ busy: wait, create again, up to `max_retries`
//!                                        └──▶ refused: failed for good
//! ```
//! A record without an `externalUserId` and an email address cannot be looked up, so it is never sent twice: its outcome says that
//! it is not known.
//!
//! There is no pause between chunks: the client's limiter spreads the calls, its retries and breaker stand below, and what still
//! fails for a while is tried again here. When so many records in a row fail for a while, or are forbidden (403), that it must be the
//! API or the token, or the token is refused, the run ends with that error and what was not settled waits for the next.
//!
//! # Checkpoint
//! [`Batch::checkpoint`] names a file that is replaced (written aside, synced, renamed) at each `chunk_size` settled records, while calls
//! go on. It says which records are settled and how far calls may have been started: up to two chunks ahead, so that no call waits
//! for a disk that keeps up. After a kill -9 what was open, and those two chunks, is in doubt: at most `chunk_size` times
//! (`chunks_in_flight` + 2) records are looked up before they are created. Reports of those come again.
//!
//! # On cancel
//! [`Stop::now`] ends a run cleanly, as an error does: calls in flight are finished and recorded, nothing new is started. The next run
//! looks up what had no answer or waited for a repeat, and nothing that was not sent. Dropping the run's future is as a kill: the
//! checkpoint holds.
//!
//! # Mistakes to avoid
//! A pause after each chunk (as the page below has it) either wastes quota or breaks the limit; a limit belongs to the client. A chunk
//! that failed must not be sent again as a whole: half of it may be there.
//!
//! Source: the batch pattern of <https://docs.nudj.cx/developer/integration-patterns>. Its `bulkCreate` is not in the public
//! reference, so [`Users::bulk`] is a choice, and an API that does not know it is called once per user.

mod checkpoint;
mod config;
mod ledger;
mod progress;
mod report;
mod run;
mod settle;
mod stop;
mod target;
mod users;

pub use checkpoint::CheckpointFile;
pub use config::BatchConfig;
pub use report::{Outcome, Report, Row, Summary, Totals};
pub use run::Batch;
pub use stop::Stop;
pub use target::{Lookup, Target};
pub use users::Users;
