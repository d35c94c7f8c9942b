//! What is left when a caller leaves in the middle of a delete or a write.

use super::Guarded;
use crate::level::pending::Target;

/// Names to be deleted, each noted before it is: what is not done when this is dropped is then noted as well.
pub(crate) struct Deletion<'a> {
    pub(super) guarded: &'a Guarded,
    /// Not noted yet.
    pub(super) left: std::slice::Iter<'a, Target>,
    /// The last one noted is not known to be done.
    pub(super) is_under_way: bool,
}

impl Deletion<'_> {
    /// One after the other, each within the level's timeout, until one does not get through: that and the rest are done
    /// as soon as the level answers again.
    pub(crate) async fn run(mut self) {
        // These first: behind what others left undone they would wait for the end of a long outage's catching up.
        for target in self.left.by_ref() {
            let number = self.guarded.note(target.clone());
            self.is_under_way = true;
            if self.guarded.delete_noted(number, target).await.is_err() {
                return;
            }
            self.is_under_way = false;
        }
        self.guarded.repair().await;
    }
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        let is_left = self.is_under_way || self.left.len() > 0;
        for target in self.left.by_ref() {
            self.guarded.note(target.clone());
        }
        if is_left {
            self.guarded.fall_behind();
        }
    }
}

/// Notes a delete for a write that was dropped, failed or timed out.
pub(super) struct Unknown<'a> {
    pub(super) guarded: &'a Guarded,
    pub(super) key: &'a str,
    pub(super) armed: bool,
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.guarded.note(Target::Key(self.key.into()));
            self.guarded.fall_behind();
        }
    }
}
