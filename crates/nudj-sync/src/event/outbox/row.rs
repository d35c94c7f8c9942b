//! Values as the table holds them.

use std::time::Duration;

use serde_json::Value;
use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::Error;
use crate::event::Event;

pub(super) const WHAT: &str = "outbox";

/// A statement looks at no more rows in front than these, so that none takes long however many wait.
pub(super) const LOOKED_AT: i64 = 1000;

/// A claim that finds only rows behind others goes on so often at once.
pub(super) const LOOKS: usize = 4;

/// Rows that one statement inserts, of six parameters each: SQLite takes 32 766.
pub(super) const INSERTED_AT_ONCE: usize = 1000;

pub(super) fn store(source: sqlx::Error) -> Error {
    Error::store(WHAT, source)
}

/// The event in a row that has all its columns, its payload read by [`parsed`] or [`shown`].
pub(super) fn event<R: Row>(row: &R, payload: fn(&str) -> Result<Value, Error>) -> Result<Event, Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |column: &str| row.try_get::<String, _>(column).map_err(store);
    Ok(Event {
        id: text("event_id")?,
        topic: text("topic")?,
        key: text("event_key")?,
        payload: payload(&text("payload")?)?,
        occurred_at: row.try_get("occurred_at").map_err(store)?,
    })
}

pub(super) fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn attempts(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(super) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The other way of [`number`].
pub(super) fn key(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Whole milliseconds; saturates where a database can still add it to a time.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

pub(super) fn payload(event: &Event) -> String {
    event.payload.to_string()
}

pub(super) fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(WHAT, format!("a payload is not JSON: {error}")))
}

/// For those who look at dead letters: what cannot be read is shown as the text that it is.
pub(super) fn shown(text: &str) -> Result<Value, Error> {
    Ok(parsed(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}
