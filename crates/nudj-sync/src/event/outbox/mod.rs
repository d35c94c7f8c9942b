//! The transactional outbox: an event is a row, written in the transaction of the change that it tells of.
//!
//! One table, `nudj_sync_outbox`, made when the outbox is opened; several queues may share it. Claims go by a row's state, never by a
//! cursor over numbers or times: a row that is committed late is seen late, and not skipped.
//!
//! A claim takes the first row not done of each key, no transaction stays open while a handler works, and the number of claims of a
//! row (`claims`) proves whose the lease is. Times are the database's own clock, so that the clocks of several workers may differ.

#[macro_use]
mod front;
#[macro_use]
mod operations;
mod config;
#[cfg(feature = "outbox-postgres")]
mod postgres;
mod processed;
mod row;
#[cfg(feature = "outbox-sqlite")]
mod sqlite;
mod sweep;
#[cfg(feature = "outbox-postgres")]
mod tables;

pub use config::OutboxConfig;
#[cfg(feature = "outbox-postgres")]
pub use postgres::PostgresOutbox;
#[cfg(feature = "outbox-postgres")]
pub use processed::PostgresProcessed;
#[cfg(feature = "outbox-sqlite")]
pub use processed::SqliteProcessed;
#[cfg(feature = "outbox-sqlite")]
pub use sqlite::SqliteOutbox;
