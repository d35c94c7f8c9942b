use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use pgwire_replication::PgWireError;

use super::{
    address::Address,
    assemble::Gap,
    catalog::Catalog,
    error::LogicalError,
    place::Place,
    snapshot::Snapshot,
    stream::{Stream, make_slot, try_connect},
    table::{Tables, are_among},
};
use crate::{
    Error,
    cdc::{Batch, Change, ChangeSource, Lag, Position, Resumed},
    until::from_now,
};

/// Reads the changes of tables in PostgreSQL 14 or later by logical replication. The server needs `wal_level = logical`, the role
/// REPLICATION and, for the publication, the ownership of the tables; nothing is added to the tables, and writers wait for nothing but a
/// migration that waits for a snapshot, see below.
///
/// The slot is made together with a snapshot of the same moment, so that a row is in the snapshot or in the stream. A place is
/// acknowledged to the server when the pipeline has written it, which is when Nudj has all that is before it. Changes come in the
/// order of their commits. A transaction is read change by change after its commit and resumed inside, however large it is.
///
/// | event | what comes of it |
/// |---|---|
/// | a key is changed | a deletion and an insertion |
/// | a large column was not touched (TOAST), so the stream lacks it | it is asked for, as it is now |
/// | TRUNCATE | a deletion for each record that is known of the table |
/// | columns come, go, are renamed, those of the key too | rows have the columns of their time |
/// | another primary key is declared | a new snapshot of all tables |
/// | a table is configured anew, or comes into being (seen when the stream is opened) | a new snapshot of all tables |
/// | the slot was dropped, or invalidated (`max_slot_wal_keep_size`), or is ahead of the state | a new snapshot; what is gone is deleted at Nudj |
/// | a change larger than [`max_row_bytes`](Self::max_row_bytes) | a new snapshot |
///
/// The snapshot begins when all transactions that run at that moment have ended, and reads in one transaction for as long as Nudj takes
/// to get all rows; vacuum cannot clean up behind that, and ALTER TABLE of a captured table waits for it. Give migrations a `lock_timeout`, as
/// writers wait behind them. Where row-level security hides rows from the role, no snapshot is taken.
///
/// Timestamps are RFC 3339 in UTC, fractional numerics text; columns of a domain are what it is made of; arrays and what else JSON does not
/// know are as PostgreSQL writes them.
///
/// [`Lag::bytes`] is the log that the server keeps for the slot. On an idle server a little of it stays, which the server lets go of later.
///
/// With the feature `cdc-logical-tls` both connections are encrypted as `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of the address say,
/// or `PGSSLMODE` and its like; without it an address that requires TLS is refused. `require` takes whoever answers for the server; `verify-full`
/// makes sure of it, by `sslrootcert` or Mozilla's authorities, and `verify-ca` is taken for the same. Questions in SQL trust Mozilla's authorities beside
/// `sslrootcert`, and the stream that alone. Passwords come from the address or `PGPASSWORD`.
///
/// A server that was put back to an earlier day, slots and all, and has written on since, is not noticed: drop its slot after a restore.
pub struct LogicalSource {
    address: Address,
    catalog: Catalog,
    tables: Arc<Tables>,
    stage: Stage,
    /// The stream told what cannot be followed.
    is_lost: bool,
    poll_interval: Duration,
    silence: Duration,
    max_row_bytes: usize,
}

#[derive(Debug)]
enum Stage {
    Closed,
    Snapshot(Box<Snapshot>),
    /// The snapshot is over.
    Opening(Place),
    Streaming(Box<Stream>),
}

impl LogicalSource {
    /// For the tables with these names, `schema.table` where they are not on the search path. A name is taken as it is, without quotes: `User`
    /// is the table that was made as `"User"`. `url` is
    /// `postgres://user:password@host/database`. The slot is made when the pipeline starts, and stays until
    /// [`remove`](Self::remove): **a slot that nobody reads from keeps the server's log**.
    ///
    /// # Errors
    /// [`Error::Config`] for a slot's name that PostgreSQL does not take, [`Error::Local`] with a [`LogicalError`] when the database
    /// cannot be reached, lacks `wal_level = logical`, or the role may not replicate.
    pub async fn connect(
        url: &str,
        slot: impl Into<String>,
        tables: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, Error> {
        let slot = slot.into();
        is_name(&slot).then_some(()).ok_or(Error::config("cdc.slot", NAME))?;
        let address = Address::read(url)?;
        let names = tables.into_iter().map(Into::into).collect();
        let catalog = Catalog::new(address.sql(), names, slot.clone(), slot);
        let source = Self {
            address,
            catalog,
            tables: Arc::default(),
            stage: Stage::Closed,
            is_lost: false,
            poll_interval: Duration::from_millis(200),
            silence: Duration::from_secs(120),
            max_row_bytes: 64 * 1024 * 1024,
        };
        source.catalog.check().await?;
        try_connect(source.replication()).await.map_err(|error| source.explain(error))?;
        Ok(source)
    }

    /// A publication with another name than the slot's. One that is there already must publish all operations of whole rows; the
    /// tables it lacks are added.
    ///
    /// # Errors
    /// [`Error::Config`]: lower case letters, digits and `_`, as for slots.
    pub fn publication(mut self, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        is_name(&name).then_some(()).ok_or(Error::config("cdc.publication", NAME))?;
        self.catalog.publish_as(name);
        Ok(self)
    }

    /// How long to wait for changes before saying that there are none. Default 200 ms; what comes is handed out at once.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// A server that says nothing for so long, though its log has grown, is taken for gone. Default 2 min; longer than
    /// `wal_sender_timeout`.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The largest change that is read into memory, of 64 that may wait there. Default 64 MiB. For a larger one a new snapshot is taken.
    #[must_use]
    pub fn max_row_bytes(mut self, bytes: usize) -> Self {
        self.max_row_bytes = bytes;
        self
    }

    /// Drops the slot, so that the server keeps no log for it any more; the publication stays. A pipeline that is started later
    /// takes a new snapshot.
    ///
    /// # Errors
    /// [`Error::Local`], with [`LogicalError::SlotInUse`] while a pipeline reads from it.
    pub async fn remove(self) -> Result<(), Error> {
        if self.catalog.slot().await?.is_some() {
            self.catalog.drop_slot().await?;
        }
        Ok(())
    }

    fn replication(&self) -> pgwire_replication::ReplicationConfig {
        let (slot, publication) = self.catalog.names();
        self.address.replication(slot, publication).with_max_message_size(self.max_row_bytes)
    }

    /// What the server's refusal means.
    fn explain(&self, error: PgWireError) -> LogicalError {
        let PgWireError::Server(text) = &error else { return LogicalError::Connection(error.into()) };
        let (role, slot) = (self.address.role().to_owned(), self.catalog.names().0.to_owned());
        if text.contains("SQLSTATE 42501") {
            LogicalError::NoReplicationRight { role, source: error.into() }
        } else if text.contains("SQLSTATE 55006") {
            LogicalError::SlotInUse { slot, source: error.into() }
        } else if text.contains("SQLSTATE 53400") {
            LogicalError::NoFreeSlot { source: error.into() }
        } else {
            LogicalError::Connection(error.into())
        }
    }

    async fn open(&mut self, at: Place, acknowledged: u64) -> Result<(), LogicalError> {
        let tables = Arc::clone(&self.tables);
        let opened = Stream::open(self.replication(), tables, at, acknowledged, self.silence).await;
        self.stage = Stage::Streaming(Box::new(opened.map_err(|error| self.explain(error))?));
        Ok(())
    }

    /// Whether the stream goes on behind `at`, kept with these prints. That it does not is said again until a snapshot is taken: who asks may die, or
    /// fail to write it down.
    async fn reopen(&mut self, at: Place, prints: Option<&str>) -> Result<Resumed, LogicalError> {
        self.stage = Stage::Closed;
        self.catalog.check().await?;
        self.tables = Arc::new(self.catalog.tables().await?);
        // The rows that a new table has already are in no stream.
        if self.is_lost || !self.catalog.is_published(&self.tables).await? {
            return Ok(Resumed::Lost);
        }
        // What records were called by another key, nobody knows.
        if prints.is_some_and(|prints| !are_among(&self.tables, prints)) {
            tracing::warn!(
                slot = self.catalog.names().0,
                "a table is new, or has another primary key; a snapshot follows"
            );
            return Ok(Resumed::Lost);
        }
        let Some(slot) = self.catalog.slot().await? else { return Ok(Resumed::Lost) };
        let end = self.catalog.end().await?;
        // A slot that has gone farther was told so for another state; a database put back to an earlier day has not come so far.
        let confirmed = slot.confirmed.filter(|confirmed| *confirmed <= at.after && !slot.is_invalid);
        let Some(confirmed) = confirmed.filter(|_| end >= at.after) else {
            tracing::warn!(
                slot = self.catalog.names().0,
                invalid = slot.is_invalid,
                "the slot lacks changes; a snapshot follows"
            );
            return Ok(Resumed::Lost);
        };
        self.open(at, confirmed).await?;
        Ok(Resumed::Yes)
    }

    async fn take_snapshot(&mut self) -> Result<(), LogicalError> {
        self.stage = Stage::Closed;
        self.catalog.check().await?;
        self.tables = Arc::new(self.catalog.tables().await?);
        self.catalog.shows_all(&self.tables).await?;
        self.catalog.publish(&self.tables).await?;
        if self.catalog.slot().await?.is_some() {
            self.catalog.drop_slot().await?;
        }
        let made = make_slot(self.replication(), self.catalog.names().0).await.map_err(|error| self.explain(error))?;
        let snapshot = Snapshot::begin(&self.address.sql(), &made.exported, &self.tables, made.start).await?;
        // From here on the transaction itself keeps what it sees.
        drop(made.client);
        // What was altered before the snapshot had its lock may look empty to it, or have other columns than we know of.
        if self.catalog.tables().await? != *self.tables {
            return Err(LogicalError::Sql(
                "a table was altered while a snapshot of it began; it is begun again".into(),
            ));
        }
        // Before the first row is looked at.
        self.catalog.settled(&snapshot.sees).await?;
        self.stage = Stage::Snapshot(Box::new(snapshot));
        self.is_lost = false;
        Ok(())
    }

    async fn read(&mut self, limit: usize) -> Result<Batch, LogicalError> {
        if let Stage::Opening(at) = self.stage {
            self.open(at, at.after).await?;
        }
        match &mut self.stage {
            Stage::Snapshot(snapshot) => {
                let (mut batch, end) = (snapshot.next(limit).await?, snapshot.end);
                if batch.snapshot_complete {
                    batch.missing = self.catalog.missing(&self.tables);
                    self.stage = Stage::Opening(end);
                }
                Ok(batch)
            }
            Stage::Streaming(stream) => {
                // Asked before the look, as others may go on writing; while there is much to read, not at all.
                let begun_at = if stream.is_idle { Some(self.catalog.end().await?) } else { None };
                let filled = stream.fill(limit, from_now(self.poll_interval)).await;
                self.is_lost |= matches!(filled, Err(LogicalError::Broken { .. }));
                filled?;
                let (mut batch, gaps) = stream.assembler.give(limit);
                stream.is_idle = batch == Batch::default();
                if stream.is_idle {
                    let end = if let Some(end) = begun_at { end } else { self.catalog.end().await? };
                    batch.held_back = !stream.has_passed(end)?;
                }
                for gap in gaps {
                    complete(&self.catalog, &self.tables, &mut batch, gap).await?;
                }
                Ok(batch)
            }
            Stage::Closed | Stage::Opening(_) => Err(LogicalError::Connection("the stream is not open".into())),
        }
    }
}

/// Puts in what the stream left out, as it is now. What changed it meanwhile comes later in the stream.
async fn complete(catalog: &Catalog, tables: &Tables, batch: &mut Batch, gap: Gap) -> Result<(), LogicalError> {
    let Some(Change { record, new: Some(new), .. }) = batch.changes.get_mut(gap.at) else { return Ok(()) };
    let Some(table) = tables.values().find(|table| table.name == record.table) else { return Ok(()) };
    if let Some(mut now) = catalog.row(table, new).await? {
        for column in gap.columns {
            if let Some(value) = now.remove(&column) {
                new.insert(column, value);
            }
        }
    }
    Ok(())
}

#[async_trait]
impl ChangeSource for LogicalSource {
    async fn resume(&mut self, after: &Position) -> Result<Resumed, Error> {
        let Some(at) = Place::read(after) else { return Ok(Resumed::Lost) };
        Ok(self.reopen(at, Place::prints(after)).await?)
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        Ok(self.take_snapshot().await?)
    }

    async fn next(&mut self, limit: usize) -> Result<Batch, Error> {
        let read = self.read(limit).await;
        if read.is_err() {
            self.stage = Stage::Closed;
        }
        Ok(read?)
    }

    async fn acknowledge(&mut self, upto: &Position) -> Result<(), Error> {
        if let (Some(at), Stage::Streaming(stream)) = (Place::read(upto), &mut self.stage) {
            stream.acknowledge(at.after);
        }
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        let (bytes, now) = self.catalog.kept().await?;
        let seconds = if let Stage::Streaming(stream) = &self.stage { Some(stream.age(now)) } else { None };
        Ok(Lag { changes: None, bytes, seconds })
    }
}

impl fmt::Debug for LogicalSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, publication) = self.catalog.names();
        f.debug_struct("LogicalSource")
            .field("address", &self.address)
            .field("slot", &slot)
            .field("publication", &publication)
            .field("tables", &self.tables.len())
            .finish_non_exhaustive()
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

const NAME: &str = "must be 1 to 63 lower case letters, digits and `_`";
