//! A row of SQLite as JSON.

use serde_json::Value;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

use super::local;
use crate::{Error, cdc::Row};

/// The key in a note. SQLite keeps any bytes as text; those that are none are told by their numbers, so that no two keys become one.
pub(super) fn key_text(note: &SqliteRow) -> Result<String, Error> {
    if let Ok(text) = note.try_get_unchecked("record_key") {
        return Ok(text);
    }
    let bytes = note.try_get_unchecked::<Vec<u8>, _>("record_key").map_err(local)?;
    let chunks = bytes.utf8_chunks().map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| format!("\u{fffd}{byte:02x}"));
        [chunk.valid().to_owned()].into_iter().chain(invalid).collect::<String>()
    });
    Ok(chunks.collect())
}

/// By what each value is, not by what its column was declared as. Bytes become text in hex.
pub(super) fn to_json(row: &SqliteRow) -> Result<Row, Error> {
    let columns = row.columns().iter();
    columns.map(|column| Ok((column.name().to_owned(), value(row, column.ordinal())?))).collect()
}

fn value(row: &SqliteRow, at: usize) -> Result<Value, Error> {
    let raw = row.try_get_raw(at).map_err(local)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info();
    Ok(match kind.name() {
        "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(at).map_err(local)?.into(),
        "REAL" => row.try_get_unchecked::<f64, _>(at).map_err(local)?.into(),
        "BLOB" => {
            let bytes = row.try_get_unchecked::<Vec<u8>, _>(at).map_err(local)?;
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        // SQLite keeps any bytes as text; a row with such is passed on, not stopped at.
        _ => match row.try_get_unchecked::<String, _>(at) {
            Ok(text) => text.into(),
            Err(_) => {
                let bytes = row.try_get_unchecked::<Vec<u8>, _>(at).map_err(local)?;
                String::from_utf8_lossy(&bytes).into_owned().into()
            }
        },
    })
}
