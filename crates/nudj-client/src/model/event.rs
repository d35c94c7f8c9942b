use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Extra;

/// A custom event to be logged for a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewCustomEvent {
    /// Its name.
    pub event_name: String,
    /// What it carries, an object.
    pub payload: Value,
    /// Nudj's or your own id of the user.
    pub user_id: String,
    /// The community.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// Whether to create the user if there is none; the API's default is `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create_user: Option<bool>,
}

/// A custom event as it was logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomEvent {
    /// Its name.
    pub name: Option<String>,
    /// Nudj's id of the user.
    pub user_id: Option<String>,
    /// Your own id of the user.
    pub external_user_id: Option<String>,
    /// What it carries.
    pub payload: Option<Value>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A link that logs an event when it is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewEventLink {
    /// The event's name.
    pub event_name: String,
    /// What it carries, an object.
    pub payload: Value,
    /// The community.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// Seconds the link lives; the API's default is 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<u64>,
    /// Whether it works once only; the API's default is `true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_single_use: Option<bool>,
}

/// The link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLink {
    /// Its address.
    pub url: String,
}
