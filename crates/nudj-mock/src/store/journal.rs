//! A ring of the newest records.

use std::collections::VecDeque;

use serde_json::Value;

/// Keeps the newest, so many of them and so many bytes; the oldest goes. The newest stays, however large it is.
#[derive(Debug)]
pub(crate) struct Journal {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    /// With what each weighs.
    kept: VecDeque<(Value, usize)>,
}

impl Journal {
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, bytes: 0, kept: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, record: Value) {
        let weighs = weight(&record);
        self.bytes = self.bytes.saturating_add(weighs);
        self.kept.push_back((record, weighs));
        while self.kept.len() > self.most || (self.bytes > self.most_bytes && self.kept.len() > 1) {
            let Some((_, weighed)) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(weighed);
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.kept.iter().map(|(record, _)| record)
    }
}

/// About what a record takes in memory: its text, and what holds each of its values.
fn weight(record: &Value) -> usize {
    let inside = match record {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).fold(0, usize::saturating_add),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| size_of::<String>().saturating_add(name.len()).saturating_add(weight(value)))
            .fold(0, usize::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>().saturating_add(inside)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_journal_keeps_the_newest() {
        let mut journal = Journal::new(2, 1000);
        (0..5).for_each(|n| journal.push(n.into()));
        assert_eq!(journal.iter().collect::<Vec<_>>(), [&Value::from(3), &Value::from(4)]);
        let mut nothing = Journal::new(0, 1000);
        nothing.push(1.into());
        assert_eq!((nothing.iter().count(), nothing.bytes), (0, 0));
    }

    #[test]
    fn records_together_stay_within_their_bytes_and_the_newest_always_stays() {
        let record = |n: usize| json!({"n": n, "payload": ["x".repeat(100), "x".repeat(100)]});
        let one = weight(&record(0));
        assert!((200..500).contains(&one), "{one}");
        let mut journal = Journal::new(100, one * 3 + 1);
        (0..10).for_each(|n| journal.push(record(n)));
        assert_eq!(journal.iter().map(|kept| kept["n"].as_u64()).collect::<Vec<_>>(), [Some(7), Some(8), Some(9)]);
        assert_eq!(journal.bytes, one * 3);
        journal.push(json!("x".repeat(10_000)));
        assert_eq!(journal.iter().count(), 1);
        journal.push(record(0));
        assert_eq!((journal.iter().count(), journal.bytes), (1, one));
    }
}
