//! Spans that have ended and wait to be sent.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    encode::{Facts, Ids, Out, span_of_shape},
    shapes::{Shape, Shapes},
};

/// So many spans are worth an export before its time.
const BATCH: usize = 512;

/// A queue of written spans.
#[derive(Debug)]
pub(super) struct Waiting {
    spans: Mutex<Spans>,
    limit: usize,
    /// So much is left free before the spans of a batch, for what stands there in its export.
    room: usize,
    /// Told when there are enough for an export.
    pub(super) enough: Notify,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Spans {
    bytes: Vec<u8>,
    one: Vec<u8>,
    count: usize,
    dropped: u64,
    is_open: bool,
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
        let spans =
            Spans { bytes, one, count: 0, dropped: 0, is_open: true, clock: Clock::set(), shapes: Box::default() };
        Self { spans: Mutex::new(spans), limit, room, enough: Notify::new(), lost: AtomicU64::new(0) }
    }

    /// Adds the span that `facts` gives by the clock, unless there is no room.
    pub(super) fn push<'a>(&self, facts: impl FnOnce(&Clock) -> Facts<'a>, attributes: impl FnOnce(&mut Out<'_>)) {
        self.add(|Spans { bytes, one, clock, .. }| {
            one.clear();
            Out(one).span(&facts(clock), attributes);
            Out(bytes).bytes(2, one);
        });
    }

    /// As [`push`](Self::push), a span of a client.
    pub(super) fn push_shaped(&self, ids: impl FnOnce(&Clock) -> Ids, shape: Shape<'_>, correlation_id: Option<&str>) {
        self.add(|Spans { bytes, clock, shapes, .. }| {
            span_of_shape(bytes, &ids(clock), shapes.written(shape), correlation_id);
        });
    }

    fn add(&self, write: impl FnOnce(&mut Spans)) {
        let mut spans = self.spans.lock();
        if spans.count >= self.limit || !spans.is_open {
            spans.dropped = spans.dropped.saturating_add(1);
            self.lost(1);
            return;
        }
        write(&mut spans);
        spans.count += 1;
        let is_enough = spans.count == BATCH.min(self.limit.div_ceil(2));
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
        }
    }

    /// So many more will never be seen.
    pub(super) fn lost(&self, count: usize) {
        self.lost.fetch_add(count as u64, Relaxed);
    }

    /// How many have been lost so far.
    pub(super) fn lost_so_far(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// No more are taken: nobody will send them.
    pub(super) fn close(&self) {
        self.spans.lock().is_open = false;
    }
}

impl Clock {
    fn set() -> Self {
        Self { at: Instant::now(), unix_nanos: unix_nanos(wall_clock()) }
    }

    /// Nanoseconds since 1970.
    pub(super) fn unix_nanos(&self, at: Instant) -> u64 {
        // 584 years fit; past that, or before 1970, there is nothing to tell.
        let nanos =
            |time: Duration| time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into());
        match at.checked_duration_since(self.at) {
            Some(later) => self.unix_nanos.saturating_add(nanos(later)),
            None => self.unix_nanos.saturating_sub(nanos(self.at.saturating_duration_since(at))),
        }
    }
}

pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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
    use crate::otlp::encode::Kind;

    fn facts<'a>(clock: &Clock) -> Facts<'a> {
        let start = clock.unix_nanos(Instant::now());
        let (parent, name, error) = (None, "GET", None);
        Facts { trace_id: 1, id: 1, parent, is_remote: false, kind: Kind::Client, name, start, end: start, error }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let waiting = Waiting::new(2, 0);
        (0..5).for_each(|_| waiting.push(facts, |_| ()));
        let batch = waiting.take(Vec::new());
        assert_eq!((batch.count, batch.dropped), (2, 3));
        waiting.push(facts, |_| ());
        assert_eq!((waiting.take(batch.bytes).count, waiting.take(Vec::new()).dropped), (1, 0));
        waiting.close();
        waiting.push(facts, |_| ());
        assert_eq!(waiting.take(Vec::new()).count, 0, "nobody would send it");
        assert_eq!(waiting.lost_so_far(), 4);
    }

    #[tokio::test]
    async fn half_a_queue_is_worth_an_export() {
        let waiting = Waiting::new(4, 0);
        waiting.push(facts, |_| ());
        assert!(tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await.is_err());
        waiting.push(facts, |_| ());
        let told = tokio::time::timeout(Duration::ZERO, waiting.enough.notified()).await;
        assert!(told.is_ok(), "the second of four is half of them");
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
