//! Reads a JSON object field by field; what does not fit is refused by the name of the field.

use serde_json::{Map, Value};

use super::Failure;
use crate::store::Records;

/// The documented `Status`.
pub(crate) const STATUSES: &[&str] = &["archived", "draft", "expired", "live", "scheduled"];

/// The documented `ProgressPeriod`.
pub(crate) const PERIODS: &[&str] = &["daily", "weekly", "monthly", "yearly", "open"];

/// A JSON object that came in. `null` counts as missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(&'a Map<String, Value>);

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    List,
    Object,
}

/// Names and kinds of the fields that a procedure takes; it ignores others, as the API's validation strips them.
pub(crate) type Fields = &'static [(&'static str, Kind)];

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "a number",
            Self::Flag => "a boolean",
            Self::List => "an array",
            Self::Object => "an object",
        }
    }
}

impl<'a> Input<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self, Failure> {
        value.as_object().map(Self).ok_or_else(|| Failure::invalid("Input validation failed: expected an object"))
    }

    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn string(self, name: &str) -> Result<Option<&'a str>, Failure> {
        Ok(self.of_kind(name, Kind::Text)?.and_then(Value::as_str))
    }

    pub(crate) fn required(self, name: &str) -> Result<&'a str, Failure> {
        let text = self.string(name)?;
        text.filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
    }

    pub(crate) fn flag(self, name: &str) -> Result<bool, Failure> {
        Ok(self.of_kind(name, Kind::Flag)?.and_then(Value::as_bool).unwrap_or(false))
    }

    /// A number within bounds.
    pub(crate) fn number(self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Failure> {
        let Some(number) = self.of_kind(name, Kind::Number)?.and_then(Value::as_f64) else { return Ok(None) };
        if (least..=most).contains(&number) {
            return Ok(Some(number));
        }
        Err(wrong(name, &format!("must be from {least} to {most}")))
    }

    pub(crate) fn required_number(self, name: &str, least: f64, most: f64) -> Result<f64, Failure> {
        self.number(name, least, most)?.ok_or_else(|| missing(name))
    }

    /// A whole number within bounds.
    pub(crate) fn required_integer(self, name: &str, least: f64, most: f64) -> Result<f64, Failure> {
        let number = self.required_number(name, least, most)?;
        if number.fract() == 0.0 { Ok(number) } else { Err(wrong(name, "must be an integer")) }
    }

    /// Refuses a string that is there and not among these.
    pub(crate) fn one_of(self, name: &str, allowed: &[&str]) -> Result<(), Failure> {
        match self.string(name)? {
            Some(given) if !allowed.contains(&given) => {
                Err(wrong(name, &format!("must be one of {}", allowed.join(", "))))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn list(self, name: &str) -> Result<Option<&'a Vec<Value>>, Failure> {
        Ok(self.of_kind(name, Kind::List)?.and_then(Value::as_array))
    }

    /// An array with at least one entry.
    pub(crate) fn required_list(self, name: &str) -> Result<&'a Vec<Value>, Failure> {
        let list = self.list(name)?.ok_or_else(|| missing(name))?;
        Some(list).filter(|list| !list.is_empty()).ok_or_else(|| wrong(name, "must not be empty"))
    }

    /// An array of strings with at least one entry.
    pub(crate) fn required_texts(self, name: &str) -> Result<Vec<&'a str>, Failure> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| wrong(name, "must hold strings"));
        self.required_list(name)?.iter().map(text).collect()
    }

    pub(crate) fn required_object(self, name: &str) -> Result<Input<'a>, Failure> {
        let object = self.of_kind(name, Kind::Object)?.ok_or_else(|| missing(name))?;
        Input::of(object)
    }

    /// Those of `fields` that are there, each of its kind. `null` is kept, and means that the field is cleared.
    pub(crate) fn accept(self, fields: Fields) -> Result<Map<String, Value>, Failure> {
        let mut accepted = Map::new();
        for (name, kind) in fields {
            self.of_kind(name, *kind)?;
            if let Some(value) = self.0.get(*name) {
                accepted.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(accepted)
    }

    /// As [`accept`](Self::accept), for a change of a record: what every record of its kind has cannot be cleared.
    pub(crate) fn accept_change(self, fields: Fields, of: Records) -> Result<Map<String, Value>, Failure> {
        let accepted = self.accept(fields)?;
        match accepted.iter().find(|(name, value)| value.is_null() && of.requires(name)) {
            Some((name, _)) => Err(wrong(name, "cannot be null")),
            None => Ok(accepted),
        }
    }

    pub(crate) fn fields(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.0.iter()
    }

    fn of_kind(self, name: &str, kind: Kind) -> Result<Option<&'a Value>, Failure> {
        match self.get(name) {
            Some(value) if !kind.fits(value) => Err(wrong(name, &format!("must be {}", kind.name()))),
            value => Ok(value),
        }
    }
}

/// Sets fields of a record; `null` takes a field out.
pub(crate) fn merge(record: &mut Value, change: Map<String, Value>) {
    let Some(record) = record.as_object_mut() else { return };
    for (name, value) in change {
        match value {
            Value::Null => record.remove(&name),
            value => record.insert(name, value),
        };
    }
}

pub(crate) fn wrong(name: &str, what: &str) -> Failure {
    Failure::invalid(format!("Input validation failed: {name} {what}"))
}

pub(crate) fn missing(name: &str) -> Failure {
    wrong(name, "is required")
}
