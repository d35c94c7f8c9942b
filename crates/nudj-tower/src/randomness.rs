//! Where ids come from.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// No state lives in the services, so clones never draw the same id.
#[derive(Clone, Debug, Default)]
pub(crate) enum Randomness {
    /// The thread's generator.
    #[default]
    Thread,
    /// For tests: the n-th draw, over all clones, always brings the same ids.
    Seeded(Arc<AtomicU64>),
}

impl Randomness {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    #[inline]
    pub(crate) fn rng(&self) -> fastrand::Rng {
        match self {
            Self::Thread => fastrand::Rng::new(),
            Self::Seeded(next) => fastrand::Rng::with_seed(next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)),
        }
    }
}
