//! The entries among the dead letters one after the other, without their bodies.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::wire::{EVENT_ID, failed};
use crate::Error;

/// Entries per request.
const BATCH: usize = 500;

/// How long a request stays with the server, which sends what there is at once, and waits for what it counted and was taken away since.
const REQUEST: Duration = Duration::from_millis(250);

/// No answer within this is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the server keeps the place of who does not come back: longer than a batch of requests takes over a slow link.
const KEPT: Duration = Duration::from_secs(300);

/// So many requests one after the other that bring nothing of what is there are too many.
const MOST_FRUITLESS: u32 = 3;

/// What is known of an entry without its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) number: u64,
    /// Its key's.
    pub(super) subject: String,
    /// Its event's id, as [`event_id`](super::wire::event_id) has it; an entry of an earlier version has none.
    pub(super) id: Option<String>,
}

/// Reads the heads from the first entry on, many in one request.
pub(super) struct Heads<'a> {
    dead: &'a Stream,
    consumer: PullConsumer,
    came: VecDeque<Head>,
    /// How many the server says are behind the last one that came.
    left: u64,
    /// The number of the last one that came, on the stream, and which one it was for the consumer.
    last: (u64, u64),
}

impl<'a> Heads<'a> {
    pub(super) async fn new(dead: &'a Stream) -> Result<Self, Error> {
        let consumer = dead.create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            // It goes by itself when nobody comes to its end, and stays while each of a batch is asked for.
            inactive_threshold: KEPT,
            ..pull::Config::default()
        });
        let consumer = consumer.await.map_err(failed)?;
        let left = consumer.cached_info().num_pending;
        Ok(Self { dead, consumer, came: VecDeque::new(), left, last: (0, 0) })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Head>, Error> {
        let mut fruitless = 0;
        while self.came.is_empty() && self.left > 0 {
            self.read().await?;
            if self.came.is_empty() {
                if !self.is_any_left().await? {
                    break;
                }
                fruitless += 1;
                if fruitless == MOST_FRUITLESS {
                    return Err(failed("the server does not send the dead letters that it has"));
                }
            }
        }
        Ok(self.came.pop_front())
    }

    /// All of one request at once, since it ends by itself, however far one has come with it.
    async fn read(&mut self) -> Result<(), Error> {
        let mut batch = self.consumer.fetch().max_messages(BATCH).expires(REQUEST).messages().await.map_err(failed)?;
        let in_time = |_| failed("it did not answer in time");
        while self.left > 0
            && let Some(message) = timeout(PATIENCE, batch.next()).await.map_err(in_time)?
        {
            let message = message.map_err(failed)?;
            let info = message.info().map_err(failed)?;
            if info.consumer_sequence != self.last.1 + 1 {
                return Err(failed("a message was lost on its way; ask again"));
            }
            (self.left, self.last) = (info.pending, (info.stream_sequence, info.consumer_sequence));
            let id = message.headers.as_ref().and_then(|headers| headers.get(EVENT_ID));
            self.came.push_back(Head {
                number: info.stream_sequence,
                subject: message.subject.to_string(),
                id: id.map(|id| id.as_str().to_owned()),
            });
        }
        Ok(())
    }

    /// What was counted may be gone since.
    async fn is_any_left(&self) -> Result<bool, Error> {
        let every = self.dead.cached_info().config.subjects.first().map_or(">", String::as_str);
        match self.dead.get_first_raw_message_by_subject(every, self.last.0.saturating_add(1)).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Leaves nothing of it at the server.
    pub(super) async fn end(self) {
        // Where this fails it goes by itself.
        let _ = self.dead.delete_consumer(&self.consumer.cached_info().name).await;
    }
}
