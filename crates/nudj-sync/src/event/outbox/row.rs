//! Values as the table holds them.

use crate::Error;
use crate::event::Event;

pub(super) fn store(source: sqlx::Error) -> Error {
    Error::store("outbox", source)
}

pub(super) fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn attempts(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What a settlement is bound as.
pub(super) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn payload(event: &Event) -> String {
    event.payload.to_string()
}

pub(super) fn parse_payload(text: &str) -> Result<serde_json::Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::corrupt("outbox", format!("a payload is not JSON: {error}")))
}
