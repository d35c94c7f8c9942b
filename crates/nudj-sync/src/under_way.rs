//! Who is worked on: two calls for one record must not meet.

use std::collections::HashSet;

use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashSet<String>>);

impl UnderWay {
    /// `None` when another call has it.
    pub(crate) fn enter(&self, id: &str) -> Option<Place<'_>> {
        let new = self.0.lock().insert(id.to_owned());
        new.then(|| Place { of: self, id: id.to_owned() })
    }
}

/// Given back when the call ends or is dropped.
#[derive(Debug)]
pub(crate) struct Place<'s> {
    of: &'s UnderWay,
    id: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.0.lock().remove(&self.id);
    }
}
