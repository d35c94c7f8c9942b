//! Reading columns of a row.

use serde_json::Value;

use super::{Change, MappingError};

/// A column as text; numbers too. `None` when it is missing or null.
pub(super) fn text(change: &Change, column: &str) -> Result<Option<String>, MappingError> {
    match change.column(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(MappingError::Poison(format!("column `{column}` is neither text nor a number"))),
    }
}

/// A column as the text that a field becomes. `None`, which leaves the field as it is, where it is missing; null empties it.
pub(super) fn to_set(change: &Change, column: &str) -> Result<Option<String>, MappingError> {
    match change.column(column) {
        Some(Value::Null) => Ok(Some(String::new())),
        _ => text(change, column),
    }
}

pub(super) fn required(change: &Change, column: &str) -> Result<String, MappingError> {
    if let Some(text) = text(change, column)?.filter(|text| !text.is_empty()) {
        return Ok(text);
    }
    let row = change.new.as_ref().or(change.old.as_ref());
    let is_there = row.is_some_and(|row| row.contains_key(column));
    Err(MappingError::Poison(if is_there {
        format!("column `{column}` is empty; give it a value, the next change of the row is mapped again")
    } else {
        let columns: Vec<&str> = row.into_iter().flat_map(|row| row.keys().map(String::as_str)).collect();
        format!("there is no column `{column}`, was it renamed? The row has {}", columns.join(", "))
    }))
}
