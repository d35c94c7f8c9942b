//! An event to be sent, in one of the two documented shapes.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::{
    clock::{Millis, iso},
    store::ORGANISATION_ID,
};

/// The documentation describes webhooks twice, and differently.
#[derive(Debug, Clone, Copy)]
pub(super) enum WebhookFamily {
    /// The enterprise pages: dotted names, `{event, timestamp, data}`, exponential backoff, 30 s to answer.
    Dotted,
    /// The developer pages: kebab-case names, `{id, eventCategory, eventSubCategory, …}`, a fixed delay of 5 s, 10 s to answer.
    Kebab,
}

/// An event to be sent by [`Control::send_webhook`](crate::Control::send_webhook) or [`Control::deliver`](crate::Control::deliver).
#[derive(Debug, Clone)]
#[must_use = "an event does nothing until it is sent"]
pub struct WebhookEvent {
    pub(super) family: WebhookFamily,
    pub(super) name: String,
    pub(super) data: Value,
    pub(super) user: Option<String>,
    pub(super) delivery_id: Option<String>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) headers: HeaderMap,
    pub(super) max_retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) answer_within: Duration,
}

impl WebhookEvent {
    /// An event of the enterprise pages, such as `reward.earned`, with its `data`.
    pub fn dotted(name: impl Into<String>, data: Value) -> Self {
        Self::new(WebhookFamily::Dotted, name.into(), data, Duration::from_secs(1), Duration::from_secs(30))
    }

    /// An event of the developer pages, such as `challenge-completion`, with its `payload`. Its category is the name's first word.
    pub fn kebab(name: impl Into<String>, payload: Value) -> Self {
        Self::new(WebhookFamily::Kebab, name.into(), payload, Duration::from_secs(5), Duration::from_secs(10))
    }

    fn new(family: WebhookFamily, name: String, data: Value, retry_delay: Duration, answer_within: Duration) -> Self {
        Self {
            family,
            name,
            data,
            user: None,
            delivery_id: None,
            body: None,
            headers: HeaderMap::new(),
            max_retries: 3,
            retry_delay,
            answer_within,
        }
    }

    /// The `userId` of a kebab event's body.
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user = Some(id.into());
        self
    }

    /// The delivery's id: `X-Nudj-Delivery-Id`, and the `id` of a kebab event's body. It stays the same over retries. Made by the
    /// mock unless set; set it to send a duplicate.
    pub fn delivery_id(mut self, id: impl Into<String>) -> Self {
        self.delivery_id = Some(id.into());
        self
    }

    /// Sends exactly these bytes in place of the body that would be made. They are signed as they are.
    pub fn raw_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends this header too, replacing one that the mock sets: a static `authorization`, or a forged signature.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// How often a failed delivery is repeated: 3 unless set. Failed is no connection, no answer in time, or a 5xx.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The delay before a retry, in tokio time: 1 s, doubled each time, for a dotted event; always 5 s for a kebab one.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// How long a receiver may take to answer: 30 s for a dotted event, 10 s for a kebab one.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// The delay before the retry of this number, counted from 0.
    pub(super) fn delay(&self, retry: u32) -> Duration {
        match self.family {
            WebhookFamily::Dotted => self.retry_delay.saturating_mul(2_u32.saturating_pow(retry)),
            WebhookFamily::Kebab => self.retry_delay,
        }
    }

    pub(super) fn body(&self, delivery_id: &str, now: Millis) -> Vec<u8> {
        if let Some(body) = &self.body {
            return body.clone();
        }
        let body = match self.family {
            WebhookFamily::Dotted => json!({"event": self.name, "timestamp": iso(now), "data": self.data}),
            WebhookFamily::Kebab => json!({
                "id": delivery_id,
                "eventCategory": self.name.split('-').next(),
                "eventSubCategory": self.name,
                "organisationId": ORGANISATION_ID,
                "communityId": null,
                "userId": self.user,
                "eventSourceId": null,
                "payload": self.data,
                "createdAt": iso(now),
            }),
        };
        body.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_for_dotted_events_only_and_never_overflow() {
        let dotted = WebhookEvent::dotted("reward.earned", Value::Null);
        let kebab = WebhookEvent::kebab("reward-claim", Value::Null);
        let seconds = |event: &WebhookEvent| [0, 1, 2].map(|retry| event.delay(retry).as_secs());
        assert_eq!(seconds(&dotted), [1, 2, 4]);
        assert_eq!(seconds(&kebab), [5, 5, 5]);
        assert!(dotted.delay(u32::MAX) > Duration::from_secs(1 << 31));
    }
}
