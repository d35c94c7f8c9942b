use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Extra;

/// Where Nudj sends which events.
///
/// The reference's pages contradict each other about this record. All fields of both families are here; what is `None` is not
/// sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookConfig {
    /// Nudj's id, once it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The address that events are posted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The names of the events, `reward.earned` or `reward-claim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// What deliveries are signed with (enterprise pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<WebhookSecret>,
    /// Whether it is on (enterprise pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Whether it is on (developer pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_enabled: Option<bool>,
    /// `POST` (developer pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<String>,
    /// How often a delivery is repeated, 3 unless set (developer pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Headers sent with each delivery, such as an `Authorization` of yours (developer pages).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, WebhookSecret>>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A value of a webhook configuration that is nobody else's to see: it prints as `[REDACTED]`.
#[derive(Clone)]
pub struct WebhookSecret(SecretString);

impl WebhookSecret {
    /// Hides `secret`.
    pub fn new(secret: impl Into<SecretString>) -> Self {
        Self(secret.into())
    }

    /// The secret, to hand to a verifier.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl PartialEq for WebhookSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Serialize for WebhookSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for WebhookSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

/// What became of one delivery; the two families of pages name different fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookLog {
    /// Nudj's id of the record.
    pub id: Option<String>,
    /// The delivery, the same on every repeat.
    pub delivery_id: Option<String>,
    /// The configuration it was sent by.
    pub webhook_config_id: Option<String>,
    /// The event, where pages name it so.
    pub event: Option<String>,
    /// The event, where pages name it so.
    pub event_sub_category: Option<String>,
    /// Where it was sent.
    pub url: Option<String>,
    /// `pending`, `delivered`, `retrying` or `failed`.
    pub status: Option<String>,
    /// Whether it was taken.
    pub success: Option<bool>,
    /// How often it was sent.
    pub attempts: Option<f64>,
    /// What the receiver answered.
    pub response_status: Option<f64>,
    /// Why it failed.
    pub error: Option<Value>,
    /// When, ISO 8601.
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}
