//! JSON of rows, which a database may nest deeper than is read here, and whose numbers it may have larger. A column that cannot be read
//! stays text: it is the mapping's to say whether the row can do without it, and no row stops those behind it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Result, Value, value::RawValue};

use super::change::{Change, Operation, Position, RecordKey, Row};

type RawRow = BTreeMap<String, Box<RawValue>>;

#[cfg(feature = "cdc-postgres")]
pub(super) fn row(text: &str) -> Result<Row> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(text).map(columns))
}

/// The columns of a key. Of a number with a fraction the nearest that memory has is meant.
#[cfg(feature = "cdc-sqlite")]
pub(super) fn key(text: &str) -> Result<Vec<Value>> {
    let raw: Vec<Box<RawValue>> = serde_json::from_str(text)?;
    Ok(raw.iter().map(|raw| nearest(raw).map_or_else(|| value(raw), Value::from)).collect())
}

/// The columns of a key whose numbers may have any number of digits. One that memory would round stays text: it would be the name of others too.
#[cfg(feature = "cdc-postgres")]
pub(super) fn exact_key(text: &str) -> Result<Vec<Value>> {
    let raw: Vec<Box<RawValue>> = serde_json::from_str(text)?;
    let exact = |raw: &RawValue| {
        let Some(number) = nearest(raw) else { return value(raw) };
        let digits = plain(raw.get());
        // As the database writes it, without an exponent.
        let is_exact = number.as_f64().is_some_and(|nearest| plain(&nearest.to_string()) == digits);
        if is_exact { number.into() } else { Value::String(digits.to_owned()) }
    };
    Ok(raw.iter().map(|raw| exact(raw)).collect())
}

/// Of a number that is no integer of 64 bits. Not as serde reads it, which may be off by one in the last place.
fn nearest(raw: &RawValue) -> Option<Number> {
    let Ok(Value::Number(number)) = serde_json::from_str(raw.get()) else { return None };
    let number = if number.is_f64() { raw.get().parse().ok().and_then(Number::from_f64) } else { None };
    number.filter(Number::is_f64)
}

/// Without zeros at the end of a fraction: numbers that are equal are written so or so.
#[cfg(feature = "cdc-postgres")]
fn plain(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// Of a dead letter. It nests the row one level deeper than the source did.
pub(super) fn change(text: &str) -> Result<Change> {
    #[derive(Deserialize)]
    struct Raw {
        record: RecordKey,
        operation: Operation,
        old: Option<RawRow>,
        new: Option<RawRow>,
        position: Option<Position>,
    }

    serde_json::from_str(text).or_else(|_| {
        let Raw { record, operation, old, new, position } = serde_json::from_str(text)?;
        Ok(Change { record, operation, old: old.map(columns), new: new.map(columns), position })
    })
}

fn columns(raw: RawRow) -> Row {
    raw.into_iter().map(|(name, raw)| (name, value(&raw))).collect()
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn column_that_cannot_be_read_stays_text_beside_those_that_can() {
        let (deep, large) = (nested(100_000), format!("1{}", "0".repeat(400)));
        let text = format!(r#"{{"id": 7, "deep": {deep}, "large": {large}, "name": "Ada"}}"#);
        let row = serde_json::from_str::<RawRow>(&text).unwrap();
        let row = Value::Object(columns(row));
        assert_eq!(row, json!({"id": 7, "deep": deep, "large": large, "name": "Ada"}));
    }

    #[cfg(feature = "cdc-sqlite")]
    #[test]
    fn number_of_a_key_that_cannot_be_read_stays_text_and_others_are_the_nearest() {
        let large = format!("1{}", "0".repeat(400));
        let text = format!("[1, {large}, 0.30000000000000004441, 1.0]");
        assert_eq!(key(&text).unwrap(), [json!(1), json!(large), json!(0.1 + 0.2), json!(1.0)]);
    }

    /// Two rows would share a record, and the one be deleted for the other.
    #[cfg(feature = "cdc-postgres")]
    #[test]
    fn numbers_that_differ_are_keys_that_differ_and_equal_ones_are_one_key() {
        let one = |text: &str| crate::cdc::change::key_text(&exact_key(&format!("[{text}]")).unwrap());
        for (text, name) in [
            ("7", "7"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "18446744073709551616"),
            ("18446744073709551617", "18446744073709551617"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("1.5", "1.5"),
            ("1.50", "1.5"),
            ("1.0", "1.0"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("0.3000000000000000400", "0.30000000000000004"),
            ("0.30000000000000000401", "0.30000000000000000401"),
            ("0.3000000000000000040100", "0.30000000000000000401"),
            ("18446744073709551616.00", "18446744073709551616"),
        ] {
            assert_eq!(one(text), name, "{text}");
        }
        // These have been named so all along.
        for text in ["0.00001", "100000000000000000000000"] {
            let number: Value = serde_json::from_str(text).unwrap();
            assert_eq!(one(text), number.to_string(), "{text}");
        }
        assert_eq!(exact_key("[18446744073709551617, 2]").unwrap(), [json!("18446744073709551617"), json!(2)]);
    }

    #[test]
    fn letter_of_a_row_that_was_just_readable_is_readable() {
        let deep: Value = serde_json::from_str(&nested(127)).unwrap();
        let new = Row::from_iter([("deep".to_owned(), deep.clone()), ("name".to_owned(), json!("Ada"))]);
        let record = RecordKey { table: "users".into(), key: "1".into() };
        let position = Some(Position::new("9"));
        let written = Change { record, operation: Operation::Update, old: None, new: Some(new), position };
        let text = serde_json::to_string(&written).unwrap();
        assert!(serde_json::from_str::<Change>(&text).is_err(), "it is too deep for that");
        let read = change(&text).unwrap();
        assert_eq!(read.column("deep"), Some(&deep));
        assert_eq!(read.column("name"), Some(&json!("Ada")));
        assert_eq!((read.record, read.position), (written.record, written.position));
        assert!(change("{}").is_err());
    }
}
