//! JSON of rows, which a database may nest deeper than is read here, and whose numbers it may have larger. A column that cannot be read
//! stays text: it is the mapping's to say whether the row can do without it, and no row stops those behind it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Result, Value, value::RawValue};

use super::change::{Change, Operation, Position, RecordKey, Row};

type RawRow = BTreeMap<String, Box<RawValue>>;

#[cfg(feature = "cdc-postgres")]
pub(super) fn row(text: &str) -> Result<Row> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(text).map(columns))
}

/// The columns of a key.
pub(super) fn key(text: &str) -> Result<Vec<Value>> {
    let raw: Vec<Box<RawValue>> = serde_json::from_str(text)?;
    Ok(raw.iter().map(|raw| value(raw)).collect())
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
        assert_eq!(key(&format!("[1, {large}]")).unwrap(), [json!(1), json!(large)]);
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
