//! [`NatsBus`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{AckKind, Context, Message};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::NatsConfig;
use super::claim::Out;
use super::incoming::Incoming;
use super::room::Room;
use super::streams::streams;
use super::wire::{failed, subject};
use crate::event::{AfterDeadLetter, Claimed, DeadLetter, Event, EventBus, Lag, Published, Settlement};
use crate::{Error, SystemClock, until, wall_clock};

/// A bus over NATS JetStream; consumers on any number of machines may share it. Clones are one bus.
///
/// An event's id is remembered for [`NatsConfig::duplicate_window`] after its publication, not longer. Follow-ups and the settlement are
/// two steps here: after a crash between them the event is handled again, and its follow-ups, having the same ids, are published once.
/// An event takes, as JSON, at most 1 KiB less than the server's `max_payload`, so that it can become a dead letter.
/// A [`Settlement::Release`] counts as an attempt, and so does a message that came to a process which did not get to handle it; that one
/// comes again after [`NatsConfig::ack_wait`].
#[derive(Clone, Debug)]
pub struct NatsBus {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: NatsConfig,
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) work: Stream,
    pub(super) dead: Stream,
    pub(super) consumers: Vec<PullConsumer>,
    /// What this process has in hand, by its number in the stream.
    pub(super) out: Mutex<HashMap<u64, Out>>,
    pub(super) next_lease: AtomicU64,
    pub(super) incoming: Mutex<Incoming<Message>>,
    /// A message has come.
    pub(super) arrival: Notify,
    pub(super) room: Mutex<Room>,
}

impl NatsBus {
    /// Uses a connection of yours, and makes the streams and consumers where there are none.
    ///
    /// # Errors
    /// [`Error::Config`], also when the streams were made with another number of partitions or of replicas; [`Error::Store`] when the
    /// server cannot be reached or refuses.
    pub async fn new(client: Client, config: NatsConfig) -> Result<Self, Error> {
        config.validate()?;
        let context = async_nats::jetstream::new(client.clone());
        let (work, dead) = streams(&context, &config).await?;
        let consumers = (0..config.partitions).map(|partition| {
            work.create_consumer(pull::Config {
                durable_name: Some(format!("p{partition}")),
                filter_subject: subject(&config.name, partition),
                ack_policy: AckPolicy::Explicit,
                ack_wait: config.ack_wait,
                // One at a time: a partition's order is the order of its settlements.
                max_ack_pending: 1,
                num_replicas: config.replicas.into(),
                ..pull::Config::default()
            })
        });
        let consumers = try_join_all(consumers).await.map_err(failed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                client,
                context,
                work,
                dead,
                consumers,
                out: Mutex::default(),
                next_lease: AtomicU64::new(1),
                incoming: Mutex::default(),
                arrival: Notify::new(),
                room: Mutex::default(),
            }),
        })
    }

    /// Connects to a server, `nats://host:4222`, and goes on as [`new`](Self::new). A connection that is lost is made again.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn connect(url: &str, config: NatsConfig) -> Result<Self, Error> {
        let client = async_nats::connect(url).await.map_err(failed)?;
        Self::new(client, config).await
    }
}

#[async_trait]
impl EventBus for NatsBus {
    /// `nats:` and the stream's name: an outbox that forwards to it may have the same.
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(format!("nats:{}", self.shared.config.name))
    }

    fn check_lease(&self, lease: Duration) -> Result<(), Error> {
        if lease >= self.shared.config.ack_wait {
            return Err(Error::config("ack_wait", "must be longer than the consumer's lease"));
        }
        Ok(())
    }

    async fn publish(&self, event: &Event) -> Result<Published, Error> {
        event.check()?;
        let body = self.shared.body(event)?;
        if self.shared.take_room().await? {
            self.shared.send_event(event, body).await
        } else {
            self.shared.repeat(event).await
        }
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        self.check_lease(lease)?;
        self.shared.claim(limit, lease).await
    }

    async fn settle(&self, claimed: &Claimed, settlement: &Settlement) -> Result<bool, Error> {
        let Some(out) = self.shared.ours(claimed) else { return Ok(false) };
        match settlement {
            Settlement::Done(follow_ups) => {
                follow_ups.iter().try_for_each(Event::check)?;
                // All of them first, so that one that cannot be sent leaves none behind.
                let bodies = follow_ups.iter().map(|event| self.shared.body(event)).collect::<Result<Vec<_>, _>>()?;
                for (event, body) in follow_ups.iter().zip(bodies) {
                    self.shared.send_event(event, body).await?;
                }
                if let Some(entry) = out.replay_of {
                    self.shared.entry_done(&claimed.event.key, entry).await?;
                }
                out.message.double_ack().await.map_err(failed)?;
            }
            Settlement::Retry { after, .. } => {
                // The server counts nanoseconds, and takes more than it can count for none.
                let after = Some((*after).min(until::FAR)).filter(|after| !after.is_zero());
                out.message.double_ack_with(AckKind::Nak(after)).await.map_err(failed)?;
            }
            Settlement::Release => out.message.double_ack_with(AckKind::Nak(None)).await.map_err(failed)?,
            Settlement::Dead { reason } => {
                // The entry of a replayed copy is still there.
                if out.replay_of.is_none() {
                    self.shared.bury(&claimed.event, claimed.place, claimed.attempt, Some(reason.clone())).await?;
                }
                out.message.double_ack().await.map_err(failed)?;
            }
        }
        self.shared.out.lock().remove(&claimed.place);
        Ok(true)
    }

    async fn changed(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.shared.arrival.notified()).await;
    }

    async fn lag(&self) -> Result<Lag, Error> {
        let work = self.shared.work.get_info().await.map_err(failed)?.state;
        let dead = self.shared.dead.get_info().await.map_err(failed)?.state;
        // Under `Hold` only the first entry of a key is dead; the others wait behind it.
        let parked = match self.shared.config.after_dead_letter {
            AfterDeadLetter::Hold => dead.messages.saturating_sub(dead.subjects_count),
            AfterDeadLetter::Pass => 0,
        };
        let oldest = (work.messages > 0).then_some(work.first_timestamp);
        let oldest = oldest.into_iter().chain((parked > 0).then_some(dead.first_timestamp)).min();
        let age = |at: time::OffsetDateTime| {
            let since = i128::from(wall_clock::millis(&SystemClock)) - at.unix_timestamp_nanos() / 1_000_000;
            Duration::from_millis(u64::try_from(since).unwrap_or(0))
        };
        Ok(Lag { waiting: work.messages + parked, oldest_age: oldest.map(age), dead_letters: dead.messages - parked })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.shared.letters(limit).await
    }

    async fn replay(&self, id: &str) -> Result<bool, Error> {
        self.shared.replay(id).await
    }

    async fn discard(&self, id: &str) -> Result<bool, Error> {
        self.shared.discard(id).await
    }

    /// The server forgets by itself.
    async fn sweep(&self) -> Result<(), Error> {
        Ok(())
    }
}
