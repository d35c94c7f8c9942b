//! One request, from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body::Body;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use super::body;
use crate::counters::Counters;
use crate::dispatch::Phase;
use crate::event::Event;
use crate::inbox::{Arrival, Inbox, Recorded};
use crate::verify::{Refusal, Verifier, check_age, hex};
use crate::wall_clock::{WallClock, unix_millis, unix_seconds};
use crate::{Error, WebhookConfig};

/// An id taken from the body may be this long; a longer one stands for itself by its digest.
const MAX_BODY_ID: usize = 256;

/// Names are short; the whole one stays in the body.
const MAX_SHOWN_NAME: usize = 128;

/// What all clones of a receiver and its services share.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) config: WebhookConfig,
    pub(super) verifier: Arc<Verifier>,
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) counters: Arc<Counters>,
    pub(super) places: Semaphore,
    pub(super) wake: Arc<Notify>,
    pub(super) phase: watch::Sender<Phase>,
}

impl Intake {
    pub(super) async fn receive<B: Body>(&self, head: &Parts, body: B) -> Answer {
        let answer = match self.try_receive(head, body).await {
            Ok(answer) | Err(answer) => answer,
        };
        answer.counter(&self.counters).one();
        answer
    }

    async fn try_receive<B: Body>(&self, head: &Parts, body: B) -> Result<Answer, Answer> {
        if head.method != Method::POST {
            return Err(Answer::WrongMethod);
        }
        let _place = self.places.try_acquire().map_err(|_| Answer::Unavailable)?;
        // Looked at with the place taken: who stops the intake waits for all places.
        if *self.phase.borrow() != Phase::Running {
            return Err(Answer::Unavailable);
        }
        if declared_length(&head.headers).is_some_and(|length| length > self.config.max_body_bytes as u64) {
            return Err(Answer::TooLarge);
        }
        let claim = self.verifier.check_head(&head.headers, self.clock.now()).map_err(refused)?;
        let deadline = Instant::now() + self.config.read_timeout;
        let body = body::read(body, self.config.max_body_bytes, deadline).await?;
        let now = self.clock.now();
        let verified = self.verifier.check_body(claim, &body, now).map_err(refused)?;

        let event = Event::parse(body.clone()).map_err(|error| {
            tracing::warn!(error = %error, "a rightly signed webhook is not an event");
            Answer::NotAnEvent
        })?;
        self.check_event_age(&event, unix_seconds(now)).map_err(refused)?;
        let arrival = Arrival {
            id: verified.delivery_id.unwrap_or_else(|| id_from_body(&event)),
            body_key: self.body_key(&body),
            event: shown(event.name()),
            body,
            received_at: unix_millis(now),
        };
        // The body may have taken long. Whoever drains has waited for it, and does no longer.
        if matches!(*self.phase.borrow(), Phase::Draining(_)) {
            return Err(Answer::Unavailable);
        }
        self.record(arrival).await
    }

    async fn record(&self, arrival: Arrival) -> Result<Answer, Answer> {
        let (id, event) = (arrival.id.clone(), arrival.event.clone());
        // One that was recorded after all is a repeat when the sender comes again, and handled once.
        let recorded = timeout(self.config.record_timeout, self.inbox.record(arrival)).await;
        match recorded.unwrap_or_else(|elapsed| Err(Error::no_answer(elapsed))) {
            Ok(Recorded::New) => {
                self.wake.notify_one();
                tracing::debug!(delivery_id = %id, event = ?event, "webhook accepted");
                Ok(Answer::Accepted)
            }
            Ok(Recorded::Duplicate) => {
                tracing::debug!(delivery_id = %id, event = ?event, "webhook seen before");
                Ok(Answer::Duplicate)
            }
            Ok(Recorded::Busy) => {
                tracing::warn!(delivery_id = %id, event = ?event, "no room for a webhook; the sender must come again");
                Err(Answer::Unavailable)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(delivery_id = %id, event = ?event, error = %error, cause, "a webhook could not be recorded");
                Err(Answer::Unavailable)
            }
        }
    }

    fn check_event_age(&self, event: &Event, now: i64) -> Result<(), Refusal> {
        let Some(limit) = self.config.max_event_age else { return Ok(()) };
        let at = event.occurred_at_unix().ok_or(Refusal::MalformedTimestamp)?;
        check_age(at, now, limit)
    }

    fn body_key(&self, body: &[u8]) -> Option<String> {
        let wanted = self.config.replay.bind_body && !self.config.scheme.signs_id_and_time();
        wanted.then(|| hex(&Sha256::digest(body)))
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[expect(clippy::needless_pass_by_value, reason = "given to `map_err`")]
fn refused(refusal: Refusal) -> Answer {
    tracing::warn!(reason = %refusal, "webhook refused");
    Answer::Unauthorized
}

/// The event's name as it is listed: bounded, and without the character that PostgreSQL has not.
fn shown(name: &str) -> String {
    name.chars()
        .take(MAX_SHOWN_NAME)
        .map(|letter| if letter == '\0' { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// The body's own id where the headers had none, else a digest of the body: the same bytes are the same delivery.
fn id_from_body(event: &Event) -> String {
    let usable =
        |id: &&str| !id.is_empty() && id.len() <= MAX_BODY_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    let digest = |raw: &Bytes| format!("sha256:{}", hex(&Sha256::digest(raw)));
    event.id().filter(usable).map_or_else(|| digest(event.raw()), str::to_owned)
}
