//! What stands between a request to the server and the claim that it was made for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::until::later;

/// How long a claim waits for the requests that it has just made. One that is older stands before an empty partition.
pub(super) const MOMENT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Incoming<M> {
    /// Partitions with a request at the server, and since when.
    requested: HashMap<usize, Instant>,
    /// Messages that came and were not claimed yet, first one first.
    arrived: VecDeque<Arrived<M>>,
    /// The partition that is looked at first for the next request.
    turn: usize,
    next_number: u64,
}

#[derive(Debug)]
struct Arrived<M> {
    number: u64,
    partition: usize,
    /// From when on the server counts until it gives it out again.
    since: Instant,
    message: M,
}

impl<M> Default for Incoming<M> {
    fn default() -> Self {
        Self { requested: HashMap::new(), arrived: VecDeque::new(), turn: 0, next_number: 0 }
    }
}

impl<M> Incoming<M> {
    /// The partitions to send a request for, noted as requested: no more than there are workers for, each in its turn, since another process
    /// may have workers for the others.
    pub(super) fn ask(
        &mut self,
        limit: usize,
        partitions: usize,
        now: Instant,
        is_out: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let on_their_way = self.requested.values().filter(|since| now.saturating_duration_since(**since) < MOMENT);
        let wanted = limit.saturating_sub(self.arrived.len() + on_their_way.count());
        let from = self.turn;
        let in_turn = (0..partitions).map(|step| (from + step) % partitions);
        let idle = |partition: &usize| {
            !self.requested.contains_key(partition)
                && !self.arrived.iter().any(|arrived| arrived.partition == *partition)
                && !is_out(*partition)
        };
        let asked: Vec<usize> = in_turn.filter(idle).take(wanted).collect();
        if let Some(last) = asked.last() {
            self.turn = last + 1;
        }
        self.requested.extend(asked.iter().map(|partition| (*partition, now)));
        asked
    }

    /// The end of a request.
    pub(super) fn answered(&mut self, partition: usize, message: Option<M>, now: Instant) {
        self.requested.remove(&partition);
        if let Some(message) = message {
            self.next_number += 1;
            self.arrived.push_back(Arrived { number: self.next_number, partition, since: now, message });
        }
    }

    /// Forgets what came so long ago: the server gives it out again.
    pub(super) fn forget_lost(&mut self, now: Instant, wait: Duration) {
        self.arrived.retain(|arrived| later(arrived.since, wait) > now);
    }

    /// What has waited for longer than this, each with its number.
    pub(super) fn older_than(&self, wait: Duration, now: Instant) -> Vec<(u64, M)>
    where
        M: Clone,
    {
        let old = self.arrived.iter().filter(|arrived| now.saturating_duration_since(arrived.since) > wait);
        old.map(|arrived| (arrived.number, arrived.message.clone())).collect()
    }

    /// The server counts anew for this one, at the earliest from `since` on.
    pub(super) fn kept(&mut self, number: u64, since: Instant) {
        if let Some(arrived) = self.arrived.iter_mut().find(|arrived| arrived.number == number) {
            arrived.since = since;
        }
    }

    /// The first message that the server leaves to us until then, with its partition.
    pub(super) fn take(&mut self, until: Instant, ack_wait: Duration) -> Option<(usize, M)> {
        let lasts = |arrived: &Arrived<M>| until <= later(arrived.since, ack_wait);
        let at = self.arrived.iter().position(lasts)?;
        self.arrived.remove(at).map(|arrived| (arrived.partition, arrived.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn ask(incoming: &mut Incoming<&str>, limit: usize, out: &[usize]) -> Vec<usize> {
        incoming.ask(limit, 4, Instant::now(), |partition| out.contains(&partition))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_asked_for_than_there_are_workers_for_and_each_partition_has_its_turn() {
        let mut incoming = Incoming::default();
        assert_eq!(ask(&mut incoming, 2, &[]), [0, 1]);
        assert_eq!(ask(&mut incoming, 2, &[]), [0; 0], "two are on their way");
        incoming.answered(0, Some("a"), Instant::now());
        assert_eq!(ask(&mut incoming, 2, &[]), [0; 0], "one is here, and one on its way");
        incoming.answered(1, None, Instant::now());
        assert_eq!(ask(&mut incoming, 2, &[]), [2]);
        incoming.answered(2, None, Instant::now());
        assert_eq!(incoming.take(Instant::now(), WAIT), Some((0, "a")));
        assert_eq!(ask(&mut incoming, 2, &[0]), [3, 1]);
    }

    /// Else requests before empty partitions would keep the one that has all the events from being asked.
    #[tokio::test(start_paused = true)]
    async fn request_that_nothing_answers_takes_no_other_ones_place() {
        let mut incoming = Incoming::default();
        assert_eq!(ask(&mut incoming, 1, &[]), [0]);
        assert_eq!(ask(&mut incoming, usize::MAX, &[]), [1, 2, 3], "where all are asked");
        incoming.answered(3, Some("a"), Instant::now());
        assert_eq!(incoming.take(Instant::now(), WAIT), Some((3, "a")));
        tokio::time::advance(MOMENT).await;
        assert_eq!(ask(&mut incoming, 1, &[]), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_would_be_given_out_again_in_between_is_not_taken() {
        let mut incoming = Incoming::default();
        let came = Instant::now();
        incoming.answered(0, Some("a"), came);
        tokio::time::advance(Duration::from_secs(4)).await;
        let until = Instant::now() + Duration::from_secs(7);
        assert_eq!(incoming.take(until, WAIT), None);
        let old = incoming.older_than(Duration::from_secs(3), Instant::now());
        assert_eq!(old, [(1, "a")]);
        incoming.forget_lost(Instant::now(), WAIT);
        incoming.kept(1, Instant::now());
        assert_eq!(incoming.older_than(Duration::from_secs(3), Instant::now()), []);
        assert_eq!(incoming.take(until, WAIT), Some((0, "a")));

        incoming.answered(0, Some("a"), came);
        incoming.forget_lost(came + WAIT, WAIT);
        assert_eq!(ask(&mut incoming, 1, &[1, 2, 3]), [0], "it comes again");
    }
}
