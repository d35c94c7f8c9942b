use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::{recent::clipped, view::millis};

/// Synchronizations shown at most; those beyond are not.
const MAX_NAMES: usize = 32;
/// The pace is taken over so many samples, at least a second apart.
const SAMPLES: usize = 15;

/// All synchronizations by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Progresses(Arc<Mutex<BTreeMap<String, Progress>>>);

#[derive(Debug)]
struct Progress {
    done: u64,
    total: Option<u64>,
    lag: Option<Duration>,
    waiting: Option<u64>,
    dead_letters: Option<u64>,
    updated: Instant,
    samples: VecDeque<(Instant, u64)>,
}

/// Tells the dashboard how far one synchronization has come. A clone tells about the same one.
#[derive(Clone, Debug)]
pub struct SyncProgress {
    name: String,
    all: Progresses,
}

impl SyncProgress {
    /// `done` items of `total` (`None`: there is no end, as with a stream of changes), and how far behind the source that is.
    /// Beyond 32 names the newest are not shown.
    pub fn set(&self, done: u64, total: Option<u64>, lag: Option<Duration>) {
        self.with(|progress, now| progress.update(done, total, lag, now));
    }

    /// How many items wait (`None`: not known), and how many were given up and are kept.
    pub fn set_backlog(&self, waiting: Option<u64>, dead_letters: u64) {
        self.with(|progress, _| (progress.waiting, progress.dead_letters) = (waiting, Some(dead_letters)));
    }

    fn with(&self, change: impl FnOnce(&mut Progress, Instant)) {
        let now = Instant::now();
        let mut all = self.all.0.lock();
        if all.len() < MAX_NAMES || all.contains_key(&self.name) {
            change(all.entry(self.name.clone()).or_insert_with(|| Progress::begun(now)), now);
        }
    }

    /// Takes it off the page.
    pub fn remove(&self) {
        self.all.0.lock().remove(&self.name);
    }
}

impl Progress {
    fn begun(now: Instant) -> Self {
        let samples = VecDeque::with_capacity(SAMPLES);
        Self { done: 0, total: None, lag: None, waiting: None, dead_letters: None, updated: now, samples }
    }

    fn update(&mut self, done: u64, total: Option<u64>, lag: Option<Duration>, now: Instant) {
        if done < self.done {
            self.samples.clear(); // It began anew.
        }
        (self.done, self.total, self.lag, self.updated) = (done, total, lag, now);
        let due =
            self.samples.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= Duration::from_secs(1));
        if due {
            while self.samples.len() >= SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back((now, done));
        }
    }

    /// Items per second, lately.
    #[expect(clippy::cast_precision_loss, reason = "a pace for people")]
    fn pace(&self, now: Instant) -> f64 {
        let Some((since, from)) = self.samples.front() else { return 0.0 };
        let seconds = now.saturating_duration_since(*since).as_secs_f64();
        if seconds < 0.2 { 0.0 } else { self.done.saturating_sub(*from) as f64 / seconds }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn left(&self, pace: f64) -> Option<u64> {
        let left = self.total?.saturating_sub(self.done);
        if left == 0 {
            return Some(0);
        }
        let left = Duration::try_from_secs_f64(left as f64 / pace).ok()?;
        Some(millis(left))
    }
}

/// One synchronization as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SyncView {
    name: String,
    done: u64,
    total: Option<u64>,
    lag_ms: Option<u64>,
    waiting: Option<u64>,
    dead_letters: Option<u64>,
    per_second: f64,
    left_ms: Option<u64>,
    updated_ms: u64,
}

impl Progresses {
    pub(super) fn of(&self, name: &str) -> SyncProgress {
        SyncProgress { name: clipped(name), all: self.clone() }
    }

    pub(super) fn views(&self, now: Instant) -> Vec<SyncView> {
        let view = |(name, progress): (&String, &Progress)| {
            let per_second = progress.pace(now);
            SyncView {
                name: name.clone(),
                done: progress.done,
                total: progress.total,
                lag_ms: progress.lag.map(millis),
                waiting: progress.waiting,
                dead_letters: progress.dead_letters,
                per_second,
                left_ms: progress.left(per_second),
                updated_ms: millis(now.saturating_duration_since(progress.updated)),
            }
        };
        self.0.lock().iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pace_and_remaining_time_follow_the_last_samples() {
        let all = Progresses::default();
        let users = all.of("users");
        for second in 0..=20 {
            users.set(second * 10, Some(400), Some(Duration::from_secs(2)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let view = all.views(Instant::now()).remove(0);
        assert_eq!((view.done, view.total, view.lag_ms), (200, Some(400), Some(2000)));
        assert!((8.0..=10.0).contains(&view.per_second), "{view:?}");
        assert!((20_000..=25_000).contains(&view.left_ms.unwrap()), "{view:?}");
        assert_eq!((view.waiting, view.dead_letters), (None, None), "not told is not zero");
        users.set_backlog(Some(200), 3);
        let view = all.views(Instant::now()).remove(0);
        assert_eq!((view.done, view.waiting, view.dead_letters), (200, Some(200), Some(3)));
        users.remove();
        assert!(all.views(Instant::now()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_standstill_has_no_remaining_time() {
        let all = Progresses::default();
        all.of("users").set(1, Some(2), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(all.views(Instant::now())[0].left_ms, None);
    }

    #[test]
    fn names_are_bounded() {
        let all = Progresses::default();
        (0..100).for_each(|number| all.of(&format!("sync {number}")).set(0, None, None));
        assert_eq!(all.views(Instant::now()).len(), MAX_NAMES);
    }
}
