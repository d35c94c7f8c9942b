use std::time::Duration;

use crate::{BoxError, Error};

/// Why a [`LogicalSource`](super::LogicalSource) cannot read. It is the source of the [`Error::Local`] that the pipeline reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogicalError {
    /// The server does not write what logical replication needs.
    #[error(
        "wal_level is {found}, logical replication needs `wal_level = logical` (and a restart of PostgreSQL); PostgresSource \
         reads the same tables without it"
    )]
    WalLevel {
        /// What it is.
        found: String,
    },
    /// The role may not replicate.
    #[error(
        "role {role} may not replicate: run `ALTER ROLE … REPLICATION` (on managed servers, grant their replication role); \
         PostgresSource reads the same tables without that right"
    )]
    NoReplicationRight {
        /// Which role.
        role: String,
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// Every slot of the server is taken.
    #[error("all replication slots are taken: raise max_replication_slots or drop one that is not used")]
    NoFreeSlot {
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// Another connection reads from the slot, or the server has not noticed yet that it is gone.
    #[error("slot {slot} is in use by another connection; one pipeline has one slot")]
    SlotInUse {
        /// Which.
        slot: String,
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// There is a slot of this name that is not ours to read from.
    #[error("slot {slot} is no slot of pgoutput in this database; give another name")]
    ForeignSlot {
        /// Which.
        slot: String,
    },
    /// The rows of a table cannot be told apart in the stream.
    #[error("table {table} cannot be captured: {problem}")]
    Table {
        /// Which.
        table: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// The address cannot be used.
    #[error("the database's address cannot be used: {problem}")]
    Address {
        /// What is wrong. The address is not shown.
        problem: &'static str,
    },
    /// What the stream told cannot be followed; a new snapshot is taken.
    #[error("the stream cannot be followed, a snapshot makes up for it")]
    Broken {
        /// What it was.
        #[source]
        source: BoxError,
    },
    /// Nothing came for this long though there is something.
    #[error("no word from the server for {0:?}")]
    Silent(Duration),
    /// The connection could not be made or broke off.
    #[error("the replication connection broke off")]
    Connection(#[source] BoxError),
    /// The server did not do what was asked.
    #[error("asking the database failed")]
    Sql(#[source] BoxError),
}

impl From<LogicalError> for Error {
    fn from(error: LogicalError) -> Self {
        Self::Local(error.into())
    }
}

impl From<sqlx::Error> for LogicalError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error.into())
    }
}
