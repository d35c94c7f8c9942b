//! Reads a JSON object field by field; what does not fit is refused by the name of the field.

use serde_json::{Map, Value};

use super::Failure;

/// A JSON object that came in. `null` counts as missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(&'a Map<String, Value>);

impl<'a> Input<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self, Failure> {
        value.as_object().map(Self).ok_or_else(|| Failure::invalid("Input validation failed: expected an object"))
    }

    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn string(self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn required(self, name: &str) -> Result<&'a str, Failure> {
        self.string(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(name))
    }

    pub(crate) fn fields(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.0.iter()
    }

    fn typed<T>(self, name: &str, kind: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, Failure> {
        let read = |value| read(value).ok_or_else(|| wrong(name, &format!("must be {kind}")));
        self.get(name).map(read).transpose()
    }
}

pub(crate) fn wrong(name: &str, what: &str) -> Failure {
    Failure::invalid(format!("Input validation failed: {name} {what}"))
}

pub(crate) fn missing(name: &str) -> Failure {
    wrong(name, "is required")
}
