//! Which dead letters may be older than what became of their record since. Plain values only.

use std::collections::HashMap;

use super::change::RecordKey;

/// Records of which a change came to its end. A look that began before that was written down may bring a letter that is out of date
/// by it, also when the change has left the window meanwhile.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// With the number of the write that tells of it.
    records: HashMap<RecordKey, u64>,
    /// Writes that were begun.
    begun: u64,
    /// The last that was done. One that failed is done by the next.
    written: u64,
}

impl Ended {
    pub(super) fn add(&mut self, record: RecordKey) {
        self.records.insert(record, self.begun.saturating_add(1));
    }

    pub(super) fn begin_write(&mut self) {
        self.begun = self.begun.saturating_add(1);
    }

    /// The one that was begun last is done.
    pub(super) fn written(&mut self) {
        self.written = self.begun;
    }

    /// What is written by now, a look that begins now sees.
    pub(super) fn begin_look(&mut self) {
        self.records.retain(|_, write| *write > self.written);
    }

    /// Since the look under way began, or too late for it to be seen.
    pub(super) fn holds(&self, record: &RecordKey) -> bool {
        self.records.contains_key(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RecordKey {
        RecordKey { table: "users".into(), key: "1".into() }
    }

    #[test]
    fn record_is_held_until_a_look_begins_behind_the_write_that_tells_of_it() {
        let mut ended = Ended::default();
        ended.begin_look();
        // Ends while an earlier write is under way, which does not tell of it.
        ended.begin_write();
        ended.add(record());
        ended.written();
        ended.begin_look();
        assert!(ended.holds(&record()));
        ended.begin_write();
        ended.written();
        assert!(ended.holds(&record()), "the look under way may have begun before");
        ended.begin_look();
        assert!(!ended.holds(&record()));
    }

    #[test]
    fn write_that_failed_is_done_by_the_next() {
        let mut ended = Ended::default();
        ended.add(record());
        ended.begin_write();
        ended.begin_look();
        assert!(ended.holds(&record()));
        ended.begin_write();
        ended.written();
        ended.begin_look();
        assert!(!ended.holds(&record()));
    }
}
