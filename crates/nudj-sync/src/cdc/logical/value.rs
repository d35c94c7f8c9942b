//! Columns as PostgreSQL writes them, as JSON.

use serde_json::Value;

/// The text of a column whose type has this id. What has no counterpart in JSON stays text.
pub(super) fn value(kind: u32, text: &[u8]) -> Value {
    let text = String::from_utf8_lossy(text);
    let read = match kind {
        BOOL => match &*text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        INT2 | INT4 | INT8 | OID => text.parse::<i64>().ok().map(Value::from),
        FLOAT4 | FLOAT8 => text.parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number),
        // An amount of money must not change on its way, as it would by a float.
        NUMERIC => text.parse::<i64>().ok().filter(|number| number.to_string() == *text).map(Value::from),
        JSON | JSONB => serde_json::from_str(&text).ok(),
        TIMESTAMP => time(&text, ""),
        TIMESTAMPTZ => time(&text, ":00"),
        _ => None,
    };
    read.unwrap_or_else(|| Value::String(text.into_owned()))
}

/// `2026-11-28 17:22:00+00` as RFC 3339. The session's zone is UTC.
fn time(text: &str, zone: &str) -> Option<Value> {
    let (date, time) = text.split_once(' ').filter(|(_, time)| !time.contains(' '))?;
    Some(Value::String(format!("{date}T{time}{zone}")))
}

/// The id of a type of PostgreSQL's own by its name; of those alone whose values are more than text.
pub(super) fn kind(name: &str) -> Option<u32> {
    Some(match name {
        "bool" => BOOL,
        "int8" => INT8,
        "int2" => INT2,
        "int4" => INT4,
        "oid" => OID,
        "json" => JSON,
        "float4" => FLOAT4,
        "float8" => FLOAT8,
        "timestamp" => TIMESTAMP,
        "timestamptz" => TIMESTAMPTZ,
        "numeric" => NUMERIC,
        "jsonb" => JSONB,
        _ => return None,
    })
}

const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const JSONB: u32 = 3802;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_keep_their_types() {
        for (kind, text, wanted) in [
            (BOOL, "t", json!(true)),
            (BOOL, "f", json!(false)),
            (INT8, "-9223372036854775808", json!(i64::MIN)),
            (FLOAT8, "0.5", json!(0.5)),
            (FLOAT8, "NaN", json!("NaN")),
            (NUMERIC, "7", json!(7)),
            (NUMERIC, "12.50", json!("12.50")),
            (JSONB, r#"{"a": [1]}"#, json!({"a": [1]})),
            (TIMESTAMP, "2026-11-28 17:22:00.5", json!("2026-11-28T17:22:00.5")),
            (TIMESTAMPTZ, "2026-11-28 17:22:00+00", json!("2026-11-28T17:22:00+00:00")),
            (TIMESTAMPTZ, "infinity", json!("infinity")),
            (25, "12", json!("12")),
        ] {
            assert_eq!(value(kind, text.as_bytes()), wanted, "{kind} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_value(kind in 0_u32..4000, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = value(kind, &bytes);
        }
    }
}
