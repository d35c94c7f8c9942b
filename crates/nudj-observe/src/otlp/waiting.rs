//! Spans that have ended and wait to be sent.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    encode::{Facts, Ids, Out},
    shapes::{Shape, Shapes},
};

/// So many spans are worth an export before its time.
const BATCH: usize = 512;

/// A queue of written spans.
#[derive(Debug)]
pub(super) struct Waiting {
    spans: Mutex<Queue>,
    /// So much is left free before the spans of a batch, for what stands there in its export.
    room: usize,
    /// Told when there are enough for an export.
    pub(super) enough: Notify,
    lost: AtomicU64,
}

/// The spans that wait.
#[derive(Debug)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    one: Vec<u8>,
    count: usize,
    /// No more than so many are taken; none once nobody will send them.
    limit: usize,
    /// So many are worth an export.
    enough: usize,
    dropped: u64,
    /// Spans of traces that begin here, such as found no room among them.
    own: u64,
    clock: Clock,
    shapes: Box<Shapes>,
}

/// What is taken for an export.
#[derive(Debug)]
pub(super) struct Batch {
    /// The spans, behind the room.
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
    /// Spans that found no room since the last one.
    pub(super) dropped: u64,
    /// Spans of traces that begin here, such as found no room among them.
    pub(super) own: u64,
}

/// Tells the time of day of a moment, so that a span reads one clock and not two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Instant,
    unix_nanos: u64,
}

impl Waiting {
    pub(super) fn new(limit: usize, room: usize) -> Self {
        let (bytes, one) = (vec![0; room], Vec::new());
        let (enough, clock, shapes) = (BATCH.min(limit.div_ceil(2)), Clock::set(), Box::default());
        let spans = Queue { bytes, one, count: 0, limit, enough, dropped: 0, own: 0, clock, shapes };
        Self { spans: Mutex::new(spans), room, enough: Notify::new(), lost: AtomicU64::new(0) }
    }

    /// Adds the span that `facts` gives by the clock, unless there is no room.
    pub(super) fn push<'a>(
        &self,
        facts: impl FnOnce(&Clock) -> Facts<'a>,
        attributes: impl FnOnce(&mut Out<'_>),
        begins_here: bool,
    ) {
        self.add(|spans| {
            spans.write(1, begins_here, |Queue { bytes, one, clock, .. }| {
                one.clear();
                Out(one).span(&facts(clock), attributes);
                Out(bytes).bytes(2, one);
            });
        });
    }

    /// Adds the spans that `write` gives, such as there is room for.
    pub(super) fn add(&self, write: impl FnOnce(&mut Queue)) {
        let mut spans = self.spans.lock();
        let (before, dropped) = (spans.count, spans.dropped);
        write(&mut spans);
        if spans.dropped != dropped {
            self.lost(spans.dropped.saturating_sub(dropped));
        }
        let is_enough = before < spans.enough && spans.count >= spans.enough;
        drop(spans);
        if is_enough {
            self.enough.notify_one();
        }
    }

    /// All there are, in exchange for room: `empty`, whose memory is used again.
    pub(super) fn take(&self, mut empty: Vec<u8>) -> Batch {
        empty.resize(self.room, 0);
        let mut spans = self.spans.lock();
        // Set anew now and then: the time of day may have been corrected.
        spans.clock = Clock::set();
        Batch {
            bytes: std::mem::replace(&mut spans.bytes, empty),
            count: std::mem::take(&mut spans.count),
            dropped: std::mem::take(&mut spans.dropped),
            own: std::mem::take(&mut spans.own),
        }
    }

    /// So many more will never be seen.
    pub(super) fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }

    /// How many have been lost so far.
    pub(super) fn lost_so_far(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// No more are taken: nobody will send them.
    pub(super) fn close(&self) {
        self.spans.lock().limit = 0;
    }
}

impl Queue {
    /// Tells the time of day.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Adds the spans of a shape, unless there is no room for all of them. `begins_here` is said of their trace.
    pub(super) fn push<const N: usize>(
        &mut self,
        ids: [Ids; N],
        shape: Shape<'_>,
        correlation_id: Option<&[u8]>,
        begins_here: bool,
    ) {
        self.write(N, begins_here, |Self { bytes, shapes, .. }| {
            shapes.form(shape).append(bytes, &ids, correlation_id);
        });
    }

    fn write(&mut self, count: usize, begins_here: bool, write: impl FnOnce(&mut Self)) {
        if begins_here {
            self.own = self.own.saturating_add(count as u64);
        }
        if self.limit.saturating_sub(self.count) < count {
            self.dropped = self.dropped.saturating_add(count as u64);
        } else {
            write(self);
            self.count += count;
        }
    }
}

impl Clock {
    fn set() -> Self {
        Self { at: Instant::now(), unix_nanos: unix_nanos(wall_clock()) }
    }

    /// Nanoseconds since 1970.
    pub(super) fn unix_nanos(&self, at: Instant) -> u64 {
        // Past what fits, or before 1970, there is nothing to tell.
        match at.checked_duration_since(self.at) {
            Some(later) => self.unix_nanos.saturating_add(nanos(later)),
            None => self.unix_nanos.saturating_sub(nanos(self.at.saturating_duration_since(at))),
        }
    }
}

/// 584 years of them fit.
pub(super) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    nanos(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "exports say by the wall clock when something was; nothing is decided by it"
)]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{encode::Kind, shapes::Of};

    fn facts<'a>(clock: &Clock) -> Facts<'a> {
        let start = clock.unix_nanos(Instant::now());
        let (parent, name, error) = (None, "GET", None);
        Facts { trace_id: 1, id: 1, parent, is_remote: false, kind: Kind::Client, name, start, end: start, error }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let waiting = Waiting::new(2, 0);
        (0..5).for_each(|_| waiting.push(facts, |_| (), true));
        let batch = waiting.take(Vec::new());
        assert_eq!((batch.count, batch.dropped), (2, 3));
        waiting.push(facts, |_| (), true);
        assert_eq!((waiting.take(batch.bytes).count, waiting.take(Vec::new()).dropped), (1, 0));
        waiting.close();
        waiting.push(facts, |_| (), true);
        assert_eq!(waiting.take(Vec::new()).count, 0, "nobody would send it");
        assert_eq!(waiting.lost_so_far(), 4);
    }

    #[tokio::test]
    async fn half_a_queue_is_worth_an_export() {
        let waiting = Waiting::new(4, 0);
        waiting.push(facts, |_| (), true);
        assert!(tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await.is_err());
        waiting.push(facts, |_| (), true);
        let told = tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await;
        assert!(told.is_ok(), "the second of four is half of them");
    }

    #[tokio::test]
    async fn two_at_once_need_room_for_two_and_are_told_of_as_each_is() {
        let shape = Shape {
            of: Of::Both,
            method: None,
            template: None,
            endpoint: None,
            status: None,
            error: None,
            has_parent: false,
            id_length: None,
        };
        let ids = Ids { trace_id: 1, id: 1, parent: None, start: 1, end: 1 };
        let waiting = Waiting::new(5, 0);
        waiting.add(|queue| queue.push([ids, ids], shape, None, true));
        assert!(tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await.is_err());
        waiting.add(|queue| queue.push([ids, ids], shape, None, false));
        let told = tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await;
        assert!(told.is_ok(), "three of five are enough, and they came to four");
        waiting.add(|queue| queue.push([ids, ids], shape, None, true));
        waiting.push(facts, |_| (), false);
        let batch = waiting.take(Vec::new());
        assert_eq!((batch.count, batch.dropped, batch.own), (5, 2, 4), "the fifth was for one alone");
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_tells_moments_before_and_after_it_was_set() {
        let (before, clock) = (Instant::now(), Clock::set());
        tokio::time::advance(Duration::from_secs(1)).await;
        let (after, later) = (clock.unix_nanos(Instant::now()), Clock::set());
        assert_eq!(after - clock.unix_nanos(before), 1_000_000_000);
        assert_eq!(later.unix_nanos - later.unix_nanos(before), 1_000_000_000);
    }
}
