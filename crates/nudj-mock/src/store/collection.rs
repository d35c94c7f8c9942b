//! A bounded collection of JSON records, in the order of creation.

use std::collections::HashMap;

use serde_json::Value;

use crate::api::Failure;

/// Records are objects with a string `id`; they are never taken out, so an index stays good.
#[derive(Debug)]
pub(crate) struct Collection {
    /// As it appears in messages: "Challenge not found".
    name: &'static str,
    most: usize,
    records: Vec<Value>,
    by_id: HashMap<String, usize>,
}

impl Collection {
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, records: Vec::new(), by_id: HashMap::new() }
    }

    /// Adds a record, or replaces the one with its id.
    pub(crate) fn put(&mut self, record: Value) -> Result<Value, Failure> {
        let id = record["id"].as_str().ok_or_else(|| Failure::internal("a record without an id"))?;
        match self.by_id.get(id).copied() {
            Some(index) => {
                if let Some(slot) = self.records.get_mut(index) {
                    *slot = record.clone();
                }
            }
            None if self.records.len() >= self.most => return Err(Failure::full(self.name)),
            None => {
                self.by_id.insert(id.to_owned(), self.records.len());
                self.records.push(record.clone());
            }
        }
        Ok(record)
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Value, Failure> {
        let found = self.by_id.get(id).and_then(|index| self.records.get(*index));
        found.ok_or_else(|| Failure::not_found(self.name))
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Result<&mut Value, Failure> {
        let found = self.by_id.get(id).and_then(|index| self.records.get_mut(*index));
        found.ok_or_else(|| Failure::not_found(self.name))
    }

    /// What a missing record is answered.
    pub(crate) fn missing(&self) -> Failure {
        Failure::not_found(self.name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.records.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.records.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_replaced_by_id_and_the_limit_holds() {
        let mut records = Collection::new("Reward", 2);
        records.put(json!({"id": "a", "n": 1})).unwrap();
        records.put(json!({"id": "b"})).unwrap();
        records.put(json!({"id": "a", "n": 2})).unwrap();
        assert_eq!((records.len(), records.get("a").unwrap()["n"].as_i64()), (2, Some(2)));
        assert_eq!(records.put(json!({"id": "c"})).unwrap_err().status.as_u16(), 500);
        assert_eq!(records.get("c").unwrap_err().message, "Reward not found");
        assert!(records.put(json!({"no": "id"})).is_err());
    }
}
