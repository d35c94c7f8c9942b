//! The connection that the server sends changes on.

use std::{sync::Arc, time::Duration};

use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use tokio::time::Instant;

use super::{
    ages::Ages,
    assemble::Assembler,
    decode::Message,
    error::LogicalError,
    place::{Place, lsn},
    table::Tables,
};

pub(super) struct Stream {
    client: ReplicationClient,
    pub(super) assembler: Assembler,
    /// How far the server has come.
    seen: u64,
    /// The last look found nothing.
    pub(super) is_idle: bool,
    heard: Instant,
    silence: Duration,
    ages: Ages,
    /// The transaction that was begun and has told nothing yet: its commit and when that was.
    begun: Option<(u64, i64)>,
}

/// A slot that was just made.
pub(super) struct Made {
    pub(super) start: Place,
    /// Names the snapshot, while the connection that made it is there.
    pub(super) exported: String,
    pub(super) client: ReplicationClient,
}

impl Stream {
    /// Begins behind `at`. The server hears that all before `acknowledged` is done, and no more than that until it is told so: what was handed
    /// out before the stream broke off may still be on its way.
    pub(super) async fn open(
        config: ReplicationConfig,
        tables: Arc<Tables>,
        at: Place,
        acknowledged: u64,
        silence: Duration,
    ) -> Result<Self, PgWireError> {
        let config = config.with_start_lsn(Lsn(at.after)).with_ack_lsn(Lsn(acknowledged));
        let config = config.with_buffer_size(BUFFER).with_status_interval(Duration::from_secs(1));
        let client = within(OPEN_PATIENCE, async {
            let mut client = ReplicationClient::connect(config).await?;
            client.wait_started().await?;
            Ok(client)
        })
        .await?;
        let assembler = Assembler::new(tables, at);
        Ok(Self {
            client,
            assembler,
            seen: at.after,
            is_idle: false,
            heard: Instant::now(),
            silence,
            ages: Ages::default(),
            begun: None,
        })
    }

    /// Reads until there is enough or, while there is something, no more at once; at most until `until`.
    pub(super) async fn fill(&mut self, limit: usize, until: Instant) -> Result<(), LogicalError> {
        while !self.assembler.is_ready(limit) {
            let until = if self.assembler.is_ready(1) { until.min(Instant::now() + LINGER) } else { until };
            let Ok(event) = tokio::time::timeout_at(until, self.client.recv()).await else { break };
            let event = event.map_err(|error| match error {
                // The row cannot be had here; a snapshot asks for it in another way.
                PgWireError::MessageTooLarge { .. } => LogicalError::Broken { source: error.into() },
                other => LogicalError::Connection(other.into()),
            })?;
            let event = event.ok_or_else(|| LogicalError::Connection("the server ended the stream".into()))?;
            self.heard = Instant::now();
            self.take(event)?;
        }
        Ok(())
    }

    fn take(&mut self, event: ReplicationEvent) -> Result<(), LogicalError> {
        let broken = |source| LogicalError::Broken { source };
        match event {
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                self.seen = self.seen.max(wal_end.as_u64());
                self.assembler.passed(wal_end.as_u64());
                Ok(())
            }
            ReplicationEvent::Begin { final_lsn, commit_time_micros, .. } => {
                self.begun = Some((final_lsn.as_u64(), commit_time_micros));
                self.assembler.take(Message::Begin { commit: final_lsn.as_u64() })
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                self.seen = self.seen.max(end_lsn.as_u64());
                self.assembler.take(Message::Commit { end: end_lsn.as_u64() })
            }
            ReplicationEvent::XLogData { data, .. } => {
                // Only now: where nothing of ours is in it, nothing will be acknowledged.
                if let Some((commit, at)) = self.begun.take() {
                    self.ages.committed(commit, at);
                }
                Message::read(&data).map_err(Into::into).and_then(|message| self.assembler.take(message))
            }
            _ => Ok(()),
        }
        .map_err(|error| broken(error.into()))
    }

    /// Whether all is read that was committed when the log ended at `end`.
    pub(super) fn has_passed(&mut self, end: u64) -> Result<bool, LogicalError> {
        if self.seen >= end {
            return Ok(true);
        }
        if self.heard.elapsed() > self.silence {
            return Err(LogicalError::Silent(self.silence));
        }
        Ok(false)
    }

    /// Seconds since the oldest commit that is not acknowledged.
    pub(super) fn age(&self, now: i64) -> f64 {
        self.ages.oldest(now)
    }

    pub(super) fn acknowledge(&mut self, upto: u64) {
        self.ages.acknowledged(upto);
        self.client.update_applied_lsn(Lsn(upto));
    }
}

impl Drop for Stream {
    /// At once: the server gives the slot free when the connection is gone.
    fn drop(&mut self) {
        self.client.abort();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Makes the slot on a connection that stays open, for as long as its snapshot is to be had.
pub(super) async fn make_slot(config: ReplicationConfig, slot: &str) -> Result<Made, PgWireError> {
    let mut client = within(OPEN_PATIENCE, async {
        let mut client = ReplicationClient::connect_gated(config).await?;
        client.identify_system().await?;
        Ok(client)
    })
    .await?;
    // It waits for every transaction that runs now.
    let make = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput EXPORT_SNAPSHOT");
    let rows = within(MAKE_PATIENCE, client.simple_query(&make)).await?;
    let text = |column: usize| {
        let cell = rows.first().and_then(|row| row.get(column)).and_then(Option::as_ref);
        cell.map(|cell| String::from_utf8_lossy(cell).into_owned())
    };
    let made = text(1).as_deref().and_then(lsn).zip(text(2));
    let (start, exported) = made.ok_or_else(|| PgWireError::Protocol("the slot's snapshot is missing".into()))?;
    Ok(Made { start: Place::between(start), exported, client })
}

/// Whether the role may replicate.
pub(super) async fn try_connect(config: ReplicationConfig) -> Result<(), PgWireError> {
    within(OPEN_PATIENCE, async { ReplicationClient::connect_gated(config).await?.identify_system().await })
        .await
        .map(drop)
}

async fn within<T>(patience: Duration, asked: impl Future<Output = Result<T, PgWireError>>) -> Result<T, PgWireError> {
    tokio::time::timeout(patience, asked)
        .await
        .unwrap_or_else(|_| Err(PgWireError::Task(format!("no answer in {patience:?}"))))
}

/// Messages that wait in memory; then the server waits.
const BUFFER: usize = 64;
const LINGER: Duration = Duration::from_millis(1);
const OPEN_PATIENCE: Duration = Duration::from_secs(15);
const MAKE_PATIENCE: Duration = Duration::from_secs(15 * 60);
