//! Who watches: a bounded number of places, and what happens to those who stop reading.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A viewer that has taken no frame for this long gives its place to the next who comes when all are taken.
const STUCK_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Viewers {
    most: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: Vec<(u64, Instant)>,
}

impl Viewers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, places: Mutex::default() }
    }

    /// A place, if there is one or somebody is stuck in one.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut places = self.places.lock();
        if places.taken.len() >= self.most {
            let (index, (_, seen)) = places.taken.iter().enumerate().min_by_key(|(_, (_, seen))| *seen)?;
            if now.saturating_duration_since(*seen) < STUCK_AFTER {
                return None;
            }
            places.taken.swap_remove(index);
        }
        let id = places.next;
        places.next = places.next.wrapping_add(1);
        places.taken.push((id, now));
        Some(id)
    }

    /// The viewer takes a frame. False when its place was given away.
    pub(super) fn seen(&self, id: u64, now: Instant) -> bool {
        let mut places = self.places.lock();
        let place = places.taken.iter_mut().find(|(other, _)| *other == id);
        place.map(|place| place.1 = now).is_some()
    }

    pub(super) fn leave(&self, id: u64) {
        self.places.lock().taken.retain(|(other, _)| *other != id);
    }

    pub(super) fn count(&self) -> usize {
        self.places.lock().taken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_viewer_gives_its_place_away_and_a_reading_one_does_not() {
        let viewers = Viewers::new(2);
        let (one, two) = (viewers.admit(Instant::now()).unwrap(), viewers.admit(Instant::now()).unwrap());
        assert_eq!(viewers.admit(Instant::now()), None);
        tokio::time::advance(STUCK_AFTER).await;
        assert!(viewers.seen(two, Instant::now()));
        let three = viewers.admit(Instant::now()).unwrap();
        assert!(!viewers.seen(one, Instant::now()));
        assert!(viewers.seen(two, Instant::now()) && viewers.seen(three, Instant::now()));
        assert_eq!(viewers.admit(Instant::now()), None);
        viewers.leave(three);
        assert_eq!(viewers.count(), 1);
        assert!(viewers.admit(Instant::now()).is_some());
    }
}
