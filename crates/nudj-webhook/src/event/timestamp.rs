//! The time an event happened, from the ways it is written.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A number at or above this is milliseconds: as seconds it would lie after the year 5000.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// Seconds since 1970 from RFC 3339 text, or a whole number of seconds or milliseconds. `None` for all else.
pub(super) fn unix_seconds(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp),
        Value::Number(number) => {
            let number = number.as_i64()?;
            Some(if number.unsigned_abs() >= MILLISECONDS_FROM { number.div_euclid(1000) } else { number })
        }
        _ => None,
    }
}
