//! Removing what is no longer true, here and in the other processes.

use std::collections::HashSet;

use super::cache::MultiLevelCache;
use crate::{invalidation::Invalidation, key, level::pending::Target};

impl MultiLevelCache {
    /// Removes one key from all levels of all processes.
    pub async fn delete(&self, key: &str) {
        self.invalidate(&Invalidation::key(key)).await;
    }

    /// Removes everything that has this tag, from all levels of all processes.
    pub async fn delete_tag(&self, tag: &str) {
        self.invalidate(&Invalidation::tag(tag)).await;
    }

    /// Removes keys and tags from all levels of all processes. When it returns, this process reads nothing old any
    /// more; the shared levels do not hold it, or will not be asked for it until they have deleted it; and the other
    /// processes have been told.
    ///
    /// Takes as long as the shared levels take for all the names, one after the other; of a level that fails or does not
    /// answer in time, the rest of the names is left for later. Until they are deleted there, other processes may read
    /// them from that level again; then they are told once more.
    ///
    /// Dropping it half way leaves nothing undone in the shared levels (the next operation goes on), but the other
    /// processes may then hear of it late or, when this process does nothing more, not at all.
    pub async fn invalidate(&self, invalidation: &Invalidation) {
        if invalidation.is_empty() {
            return;
        }
        self.0.counters.invalidations.add(invalidation.len());
        let targets = self.targets(invalidation);
        self.remove_from_memory(&targets);
        // From the bottom up, or a reader could carry the old value up past a level that is already clean.
        let deletions: Vec<_> = self.0.shared.iter().rev().map(|level| level.deletion(&targets)).collect();
        for deletion in deletions {
            deletion.run().await;
        }
        // And once more, for who read a shared level meanwhile.
        self.remove_from_memory(&targets);
        // These have just been deleted; what else was caught up with must be told as well.
        let mut all = invalidation.clone();
        let own: HashSet<_> = targets.iter().collect();
        for target in self.repaired().await {
            if !own.contains(&target) {
                self.remove_from_memory(std::slice::from_ref(&target));
                add(&mut all, target);
            }
        }
        self.publish(&all).await;
    }

    /// Removes from this process's memory what another process invalidated. To be called by whatever receives from
    /// the invalidation channel.
    pub fn invalidated_elsewhere(&self, invalidation: &Invalidation) {
        self.0.counters.remote_invalidations.add(invalidation.len());
        self.remove_from_memory(&self.targets(invalidation));
        self.removed_for_others();
    }

    /// Tells the other processes of deletes that got through late: until then they could read the old value again.
    pub(crate) async fn tell_repaired(&self) {
        let mut late = Invalidation::default();
        for target in self.repaired().await {
            add(&mut late, target);
        }
        if !late.is_empty() {
            self.remove_from_memory(&self.targets(&late));
            self.publish(&late).await;
        }
    }

    /// Deletes that got through late, removed once more from the levels above theirs: another process may have carried the old value up meanwhile.
    async fn repaired(&self) -> Vec<Target> {
        let mut all = Vec::new();
        for (at, level) in self.0.shared.iter().enumerate().rev() {
            let late = level.take_repaired();
            for above in self.0.shared[..at].iter().rev() {
                above.deletion(&late).run().await;
            }
            all.extend(late);
        }
        all
    }

    async fn publish(&self, invalidation: &Invalidation) {
        let Some(channel) = &self.0.channel else { return };
        if let Err(error) = channel.publish_from(&self.0.id, invalidation).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "other processes were not told of an invalidation yet");
        }
    }

    fn remove_from_memory(&self, targets: &[Target]) {
        for target in targets {
            match target {
                Target::Key(key) => self.0.memory.remove(key),
                Target::Tag(tag) => self.0.memory.remove_tag(tag),
            }
        }
    }

    /// Keys and tags as the levels know them: a tag is also a key, and `name:id` also its family.
    fn targets(&self, invalidation: &Invalidation) -> Vec<Target> {
        let mut targets = Vec::with_capacity(invalidation.keys.len() + invalidation.tags.len() * 5);
        let mut seen = HashSet::new();
        let mut add = |target: Target| {
            if seen.insert(target.clone()) {
                targets.push(target);
            }
        };
        for key in &invalidation.keys {
            add(Target::Key(key::normal(key).into()));
        }
        for tag in &invalidation.tags {
            add(Target::Tag(key::normal(tag).into()));
            add(Target::Key(key::normal(tag).into()));
            let Some((name, id)) = tag.split_once(':') else { continue };
            for part in self.0.config.families.get(name).into_iter().flatten() {
                add(Target::Key(key::normal(&format!("{name}:{part}:{id}")).into()));
            }
        }
        targets
    }
}

fn add(invalidation: &mut Invalidation, target: Target) {
    match target {
        Target::Key(key) => invalidation.keys.push((*key).into()),
        Target::Tag(tag) => invalidation.tags.push((*tag).into()),
    }
}
