//! Which traces are exported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// As many bits of a trace id must be random, by W3C Trace Context level 2.
const RANDOM: u32 = 56;

/// Decides by a trace's id, so that all who ask of one trace are told the same.
#[derive(Debug)]
pub(super) struct Sampling {
    /// A trace that begins here is kept when the lower 56 bits of its id are below.
    below: AtomicU64,
}

/// Adapts the share to how many spans there are.
#[derive(Debug)]
pub(super) struct Pace {
    sampling: Arc<Sampling>,
    /// The largest share, of 2^56.
    most: u64,
    /// How many spans a second there may be.
    limit: u64,
    /// How many there were since the share was settled.
    written: u64,
    since: Instant,
}

impl Sampling {
    /// Keeps `share` of the traces that begin here: 0 none, 1 all.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^56")]
    pub(super) fn of(share: f64) -> Self {
        Self { below: AtomicU64::new((share.clamp(0.0, 1.0) * (1u64 << RANDOM) as f64) as u64) }
    }

    /// Whether a trace is kept. One that began elsewhere is when its sender says so.
    pub(super) fn keeps(&self, trace_id: u128, flags: u8, begins_here: bool) -> bool {
        let random = trace_id as u64 & ((1 << RANDOM) - 1);
        flags & 1 == 1 && (!begins_here || random < self.below.load(Relaxed))
    }

    /// The share that is kept now.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub(super) fn share(&self) -> f64 {
        self.below.load(Relaxed) as f64 / (1u64 << RANDOM) as f64
    }
}

impl Pace {
    /// Lessens the share of `sampling` while it is more than `limit` spans a second.
    pub(super) fn new(sampling: Arc<Sampling>, limit: u64) -> Self {
        let most = sampling.below.load(Relaxed);
        Self { sampling, most, limit, written: 0, since: Instant::now() }
    }

    /// Notes that there were so many spans more. The share is settled anew after a second, or as soon as what may be in one has been.
    pub(super) fn note(&mut self, spans: u64) {
        self.written = self.written.saturating_add(spans);
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        if took < Duration::from_secs(1) && self.written <= self.limit {
            return;
        }
        let below = self.sampling.below.load(Relaxed);
        let next = share(below, self.written, took, self.limit).min(self.most);
        (self.written, self.since) = (0, now);
        if next != below {
            self.sampling.below.store(next, Relaxed);
            tracing::debug!(share = self.sampling.share(), "another share of the traces is exported");
        }
    }
}

/// The share with which there would have been `limit` spans a second, where with `below` there were `written` in the time that it `took`.
/// It grows no more than twofold at a time, or a second if it took longer: nobody knows what would have come. It is never 0, from which
/// nothing grows.
fn share(below: u64, written: u64, took: Duration, limit: u64) -> u64 {
    let nanos = took.as_nanos().max(1);
    let allowed = u128::from(limit).saturating_mul(nanos);
    let wanted = u128::from(written.max(1)).saturating_mul(1_000_000_000);
    let fitting = u128::from(below.max(1)).saturating_mul(allowed) / wanted;
    let doublings = u32::try_from(took.as_secs()).unwrap_or(u32::MAX).clamp(1, 64);
    let most = u128::from(below.max(1)) << doublings;
    u64::try_from(fitting.clamp(1, most)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_of_what_begins_here_is_kept_and_of_what_came_in_what_its_sender_says() {
        let (mut rng, quarter) = (fastrand::Rng::with_seed(1), Sampling::of(0.25));
        let kept = (0..100_000).filter(|_| quarter.keeps(rng.u128(..), 1, true)).count();
        assert!((24_000..26_000).contains(&kept), "{kept}");
        for (share, flags, begins_here, is_kept) in [
            (1.0, 1, true, true),
            (0.0, 1, true, false),
            (0.0, 1, false, true),
            (0.0, 3, false, true),
            (1.0, 0, false, false),
            (1.0, 2, false, false),
            (1.0, 0, true, false),
        ] {
            let kept = Sampling::of(share).keeps(u128::MAX, flags, begins_here);
            assert_eq!(kept, is_kept, "share {share}, flags {flags}, begins here: {begins_here}");
        }
    }

    fn paced(share: f64, limit: u64) -> (Arc<Sampling>, Pace) {
        let sampling = Arc::new(Sampling::of(share));
        (Arc::clone(&sampling), Pace::new(sampling, limit))
    }

    /// Spans exported in each of `seconds`, of calls that come evenly, told of in batches.
    async fn exported(pace: &mut Pace, calls: u64, seconds: usize) -> Vec<u64> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut each = Vec::new();
        for _ in 0..seconds {
            let (mut all, mut batch) = (0, 0);
            for call in 0..calls {
                if call % (calls / 100) == 0 {
                    tokio::time::advance(Duration::from_millis(10)).await;
                }
                if pace.sampling.keeps(rng.u128(..), 1, true) {
                    (all, batch) = (all + 2, batch + 2);
                }
                if batch >= 512 {
                    pace.note(std::mem::take(&mut batch));
                }
            }
            pace.note(batch);
            each.push(all);
        }
        each
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_kept_while_they_are_few_a_share_of_many_and_all_again_afterwards() {
        let (sampling, mut pace) = paced(1.0, 2_000);
        assert_eq!(exported(&mut pace, 900, 3).await, [1_800; 3]);
        let many = exported(&mut pace, 50_000, 10).await;
        assert!(many[0] < 6_000, "it falls within the first second: {many:?}");
        assert!(many[1..].iter().all(|spans| (1_300..3_500).contains(spans)), "{many:?}");
        assert!(sampling.share() < 0.04);
        let few = exported(&mut pace, 100, 12).await;
        assert_eq!(few[8..], [200; 4], "{few:?}");
        assert_eq!(sampling.share(), 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_was_asked_for_and_a_burst_within_the_bound_changes_nothing() {
        let (sampling, mut pace) = paced(0.5, 1_000_000);
        exported(&mut pace, 2_000, 3).await;
        assert_eq!(sampling.share(), 0.5);
        let (none, mut pace) = paced(0.0, 10);
        exported(&mut pace, 100, 3).await;
        assert_eq!(none.share(), 0.0);
        let (sampling, mut pace) = paced(1.0, 2_000);
        tokio::time::advance(Duration::from_millis(1)).await;
        [512, 512, 512, 464].into_iter().for_each(|spans| pace.note(spans));
        assert_eq!(sampling.share(), 1.0, "all at once, and no more than in a second");
        pace.note(512);
        assert!(sampling.share() < 1.0);
    }

    proptest! {
        #[test]
        fn the_share_falls_when_there_were_too_many_and_grows_else_but_not_by_leaps(
            below in 1..=1u64 << RANDOM, written in 0..1_000_000u64, millis in 1..100_000u64, limit in 1..1_000_000u64,
        ) {
            let next = share(below, written, Duration::from_millis(millis), limit);
            let is_too_many = written.saturating_mul(1_000) > limit.saturating_mul(millis);
            prop_assert!(next >= 1);
            if is_too_many {
                prop_assert!(next <= below);
            } else {
                prop_assert!(next >= below);
                let doublings = u32::try_from((millis / 1_000).clamp(1, 64)).unwrap();
                prop_assert!(u128::from(next) <= u128::from(below) << doublings);
            }
        }
    }
}
