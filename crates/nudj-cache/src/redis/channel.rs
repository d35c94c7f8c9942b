mod send;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::{Client, Msg, aio::ConnectionManager};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::send::{Pending, Progress};
use super::{RedisConfig, connection::client};
use crate::{
    error::CacheError,
    invalidation::{Invalidation, InvalidationChannel},
    level::LevelError,
    multi::{MultiLevelCache, WeakCache},
};

/// Longest time a publish may take its caller.
const PUBLISH: Duration = Duration::from_millis(50);
/// This often the connection is asked whether it is still there, and what did not get through is tried again.
const TICK: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect: from the first, doubled, to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Brings invalidations to the other processes by Redis pub/sub.
///
/// Given to the cache's builder it sends; [`subscribe`](Self::subscribe) receives. Pub/sub delivers at most once, so a
/// process that lost the connection empties its memory level when it has it again, and sends what it could not send.
#[derive(Clone)]
pub struct RedisChannel(Arc<Inner>);

struct Inner {
    first: Client,
    others: Vec<Client>,
    /// Counts up; picks the node in use.
    node: AtomicUsize,
    channel: String,
    connect_timeout: Duration,
    /// Held by the one task that sends.
    sender: Arc<tokio::sync::Mutex<Option<ConnectionManager>>>,
    pending: Mutex<Pending>,
    progress: watch::Sender<Progress>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    /// The cache that sent it, for which it is not: empty when none did.
    from: String,
    #[serde(flatten)]
    gone: Invalidation,
}

impl RedisChannel {
    /// A channel through one server, or through any of the nodes of a cluster. Nothing is connected yet.
    ///
    /// # Errors
    /// [`CacheError::Config`] when an address cannot be read, there is none, or a field is out of range.
    pub fn new(urls: &[&str], config: &RedisConfig) -> Result<Self, CacheError> {
        config.validate()?;
        let Some((first, others)) = urls.split_first() else {
            return Err(CacheError::config("redis.url", "at least one address is needed"));
        };
        let first = client(first)?;
        let others = others.iter().map(|url| client(url)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Inner {
            first,
            others,
            node: AtomicUsize::new(0),
            channel: config.channel.clone(),
            connect_timeout: config.connect_timeout,
            sender: Arc::default(),
            pending: Mutex::default(),
            progress: watch::Sender::default(),
        })))
    }

    /// Receives for `cache` until the returned subscription, or the cache, is dropped. Must be called within a tokio
    /// runtime; connects, and connects again, in the background.
    #[must_use = "dropping it ends the subscription"]
    pub fn subscribe(&self, cache: &MultiLevelCache) -> Subscription {
        Subscription(tokio::spawn(receive(Arc::clone(&self.0), cache.downgrade())))
    }

    /// Invalidations waiting to be sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.pending.lock().messages.len()
    }
}

/// A running reception of invalidations. Ends when it is dropped, and the channel then counts as lost.
#[derive(Debug)]
pub struct Subscription(JoinHandle<()>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl InvalidationChannel for RedisChannel {
    async fn publish(&self, invalidation: &Invalidation) -> Result<(), LevelError> {
        self.publish_from("", invalidation).await
    }

    async fn publish_from(&self, sender: &str, invalidation: &Invalidation) -> Result<(), LevelError> {
        let mut progress = self.0.progress.subscribe();
        let failures = progress.borrow().failures;
        let last = self.0.queue(sender, invalidation)?;
        self.0.send();
        let known = progress.wait_for(|progress| progress.sent >= last || progress.failures != failures);
        let known = timeout(PUBLISH, known).await.map_err(LevelError::backend)?.map_err(LevelError::backend)?;
        if known.sent >= last { Ok(()) } else { Err(LevelError::backend("the channel is lost")) }
    }
}

impl Inner {
    fn client(&self) -> Client {
        let node = self.node.load(Ordering::Relaxed) % self.others.len().saturating_add(1);
        node.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first).clone()
    }

    fn next_node(&self) {
        self.node.fetch_add(1, Ordering::Relaxed);
    }

    /// Tries again what did not get through. In the background: receiving must not wait for it.
    fn send_again(self: &Arc<Self>) {
        if !self.pending.lock().messages.is_empty() {
            self.send();
        }
    }

    async fn subscription(&self) -> redis::RedisResult<(redis::aio::PubSubSink, redis::aio::PubSubStream)> {
        let mut connection = self.client().get_async_pubsub().await?;
        connection.subscribe(&self.channel).await?;
        Ok(connection.split())
    }

    fn take(message: &Msg, cache: &MultiLevelCache) {
        match serde_json::from_slice::<Message>(message.get_payload_bytes()) {
            Ok(message) if message.from == cache.id() => {}
            Ok(message) => cache.invalidated_elsewhere(&message.gone),
            // Something was invalidated, and nobody knows what.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "unreadable invalidation: memory is emptied");
                cache.drop_memory();
                cache.removed_for_others();
            }
        }
    }
}

/// Says that the channel is lost when the reception ends, whether it was dropped or panicked.
struct Receiving(WeakCache);

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(cache) = self.0.upgrade() {
            cache.channel_lost();
        }
    }
}

async fn receive(inner: Arc<Inner>, cache: WeakCache) {
    let _lost_at_the_end = Receiving(cache.clone());
    let mut pause = PAUSE.0;
    loop {
        if let Ok(Ok((mut sink, mut stream))) = timeout(inner.connect_timeout, inner.subscription()).await {
            pause = PAUSE.0;
            let Some(ready) = cache.upgrade() else { return };
            // Subscribed first, emptied then: what is invalidated from here on arrives. It counts as up now, so nothing
            // may keep it from receiving: the first tick, which comes at once, catches up in the background.
            ready.channel_returned();
            drop(ready);
            tracing::info!("invalidation channel up");
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    message = stream.next() => {
                        let (Some(message), Some(cache)) = (message, cache.upgrade()) else { break };
                        Inner::take(&message, &cache);
                    }
                    _ = tick.tick() => {
                        inner.send_again();
                        let Some(cache) = cache.upgrade() else { return };
                        // Another subscription of this cache that ended has said so, and did not know of this one.
                        if cache.channel_news().borrow().up == Some(false) {
                            cache.channel_returned();
                        }
                        drop(tokio::spawn(async move { cache.catch_up().await }));
                        // A peer that is frozen or gone without a word closes nothing.
                        if !matches!(timeout(PING, sink.ping::<redis::Value>()).await, Ok(Ok(_))) {
                            break;
                        }
                    }
                }
            }
        }
        inner.next_node();
        let Some(lost) = cache.upgrade() else { return };
        lost.channel_lost();
        drop(lost);
        tracing::warn!("invalidation channel lost");
        // Half of it at random, so that many processes do not come back in the same moment.
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = pause.saturating_mul(2).min(PAUSE.1);
    }
}

impl fmt::Debug for RedisChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisChannel").field("channel", &self.0.channel).finish_non_exhaustive()
    }
}
