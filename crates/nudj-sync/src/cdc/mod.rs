//! Changes of a database's tables, mapped to calls.
//!
//! A [`ChangeSource`] reports each INSERT, UPDATE and DELETE, a [`Mapping`] per table makes it at Nudj through a
//! [`Remote`](crate::Remote), and a [`CdcState`] remembers how far that went.
//!
#![cfg_attr(
    feature = "cdc-sqlite",
    doc = r#"```no_run
use std::time::Duration;
use nudj_sync::cdc::{ChallengeMapping, Pipeline, SqliteSource, SqliteState, UserMapping};

# async fn example(client: nudj_client::Client) -> Result<(), nudj_sync::Error> {
let source = SqliteSource::open("app.db", ["users", "challenges"]).await?;
let state = SqliteState::open("nudj-cdc.db", "app").await?;
let pipeline = Pipeline::builder(source, state, client)
    .map("users", UserMapping::new().display_name("name"))
    .map("challenges", ChallengeMapping::new().in_community("65f0"))
    .start()?;
pipeline.wait_for(|status| status.caught_up).await;
pipeline.stop(Duration::from_secs(10)).await;
# Ok(()) }
```"#
)]
//!
//! # Sources
//!
//! | source | asks of the database | sees DELETEs by |
//! |---|---|---|
//! | `SqliteSource` | triggers | the trigger's note |
//! | `PostgresSource` | triggers; no replication rights | the trigger's note, with the row as it was |
//! | `LogicalSource` | `wal_level = logical`, a role with REPLICATION, a slot; nothing in your tables | the log, with the key; TRUNCATE too |
//!
//! The first start takes a snapshot and goes on from there without gap or double; later starts go on at the stored position.
//! Where that is not possible any more (the change table or the slot was dropped, the database restored) a new snapshot is taken, and what is
//! not in it is deleted at Nudj, unless that is more of a table than [`CdcConfig::max_gone_share`], or there is no such table: then
//! the stream stands still, and [`Status::last_stream_error`] says so, until the right database is back or the share is raised.
//!
//! # What is promised
//!
//! ```text
//! source -> window: one call at a time per record, in order; many records at once -> Nudj -> state: ids, dead letters, position
//! ```
//!
//! - A position is written only when every change before it got through or is a dead letter, in one transaction with these.
//! - Before a record is worked on for the first time, that is noted. A creation whose answer was lost, or behind which the process
//!   died, is in doubt, and is looked up before anything is created again. What the API does with a request that is still on its
//!   way at that moment nobody can know; that the effect is there once rests on the look-up seeing it.
//! - Changes behind the last position are made again after a crash; a record may be taken back to an older state until they are
//!   all made. That is at-least-once, with an effect as if once.
//! - Nudj being down, slow or over quota is waited out, with backoff, for as long as it lasts. A row that Nudj refuses (4xx), that
//!   cannot be mapped (a required column was renamed), or that alone ends in 403, 404 or 500, becomes a dead letter and the stream goes on.
//! - A record has at most one dead letter. Its later changes are made, since each shows the whole row, and one that gets through
//!   removes it. [`CdcState::replay`] asks the running pipeline to try it again.
//!
//! # On cancel
//!
//! [`Pipeline::stop`] ends in order. Dropping the pipeline is like killing the process: the next one makes up for it.
//!
//! # Mistakes to avoid
//!
//! - Two pipelines on one stream: they overtake each other. Run one, and another when it is gone.
//! - Two sources of triggers, `SqliteSource` or `PostgresSource`, in one file or schema: there is one table of changes, of which each deletes what the
//!   other has not read. Give one source all the tables.
//! - A replication slot that nobody reads from: it keeps the server's log until the disk is full. Set `max_slot_wal_keep_size`, watch
//!   [`Lag::bytes`], and call `LogicalSource::remove` when the stream is not wanted any more.
//! - `REPLACE` in SQLite without `PRAGMA recursive_triggers = ON`: rows that it removes because of a UNIQUE column are removed
//!   unseen. The page of `SqliteSource` says more.
//! - State and tables in one database, and that put back to an earlier day: what was sent since is forgotten with it, and stays at
//!   Nudj. Put back alone, the tables are noticed, even when they have written on; but not by `LogicalSource` once its slot was put back
//!   with them and the log has grown past where it was: drop the slot after a restore.
//! - A state that is lost, or a [`MemoryState`] with challenges: a snapshot that knows of none creates each once more. Keep the state as safe as
//!   the tables.
//! - A window smaller than the number of records that may be stuck at once: the stream waits for them.

mod apply;
mod change;
mod config;
mod ended;
mod feed;
mod ledger;
mod lenient;
#[cfg(feature = "cdc-logical")]
mod logical;
mod mapping;
mod pipeline;
#[cfg(feature = "cdc-postgres")]
mod postgres;
mod source;
#[cfg(feature = "cdc-sqlite")]
mod sqlite;
mod state;
mod verdict;
mod window;
mod worker;

#[cfg(feature = "cdc-logical")]
pub use self::logical::{LogicalError, LogicalSource};
pub use self::{
    change::{Change, Operation, Position, RecordKey, Row},
    config::CdcConfig,
    mapping::{Applied, Attempt, ChallengeMapping, Mapping, MappingError, UserMapping},
    pipeline::{Pipeline, PipelineBuilder, Status},
    source::{Batch, ChangeSource, Lag, Resumed},
    state::{Beginning, CdcState, DeadLetter, Known, MemoryState, Progress, Shown, Standing},
};
#[cfg(feature = "cdc-postgres")]
pub use self::{postgres::PostgresSource, state::PostgresState};
#[cfg(feature = "cdc-sqlite")]
pub use self::{sqlite::SqliteSource, state::SqliteState};
