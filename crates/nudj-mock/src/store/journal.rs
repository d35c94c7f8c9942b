//! A ring of the newest records.

use std::collections::VecDeque;

use serde_json::Value;

/// Keeps the newest; the oldest goes.
#[derive(Debug)]
pub(crate) struct Journal {
    most: usize,
    kept: VecDeque<Value>,
}

impl Journal {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, record: Value) {
        if self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        if self.most > 0 {
            self.kept.push_back(record);
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_keeps_the_newest() {
        let mut journal = Journal::new(2);
        (0..5).for_each(|n| journal.push(n.into()));
        assert_eq!(journal.iter().collect::<Vec<_>>(), [&Value::from(3), &Value::from(4)]);
        let mut nothing = Journal::new(0);
        nothing.push(1.into());
        assert_eq!(nothing.iter().count(), 0);
    }
}
