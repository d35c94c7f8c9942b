//! The pipeline's one loop: reads, starts, collects, writes.

use std::{collections::HashSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{sync::watch, time::Instant};

use super::{
    apply::{Outcome, Shared},
    change::{Position, RecordKey},
    config::CdcConfig,
    ended::Ended,
    feed::{Feed, Fetched, Item},
    mapping::Applied,
    pipeline::Status,
    state::Progress,
    window::{Ticket, Window},
};
use crate::{Error, backoff::backoff, causes::with_causes, until::from_now};

type Work = Pin<Box<dyn Future<Output = (Ticket, RecordKey, Outcome)> + Send>>;
type Commit = Pin<Box<dyn Future<Output = (Progress, Result<(), Error>)> + Send>>;
/// With what the source may not have heard of.
type Fetch = Pin<Box<dyn Future<Output = (Feed, Option<(i64, Position)>, Result<Fetched, Error>)> + Send>>;

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) status: watch::Sender<Status>,
    pub(super) window: Window<RecordKey, Item, (i64, Position)>,
    pub(super) progress: Progress,
    /// Deletions that got through. They are settled when they are written, since what comes next of the record begins anew behind
    /// that.
    pub(super) unlinked: Vec<Ticket>,
    /// Written, and not yet told to the source.
    pub(super) reached: Option<(i64, Position)>,
    pub(super) failures: u32,
    pub(super) source_was_empty: bool,
    pub(super) commit_failed: bool,
    /// The deletions that the write under way has.
    pub(super) unlinking: Vec<Ticket>,
    pub(super) ended: Ended,
}

impl Worker {
    pub(super) async fn run(mut self, feed: Feed) {
        let mut stopping = self.shared.stopping.clone();
        let mut idle_feed = Some(feed);
        let mut fetch: Option<Fetch> = None;
        let mut running: FuturesUnordered<Work> = FuturesUnordered::new();
        let mut commit_at: Option<Instant> = None;
        // Beside the others, never instead of them: reading may hold the very connection that writing waits for.
        let mut commit: Option<Commit> = None;
        // The lag is measured above all while nothing gets through and there is no room for more.
        let mut look_at: Option<Instant> = None;
        loop {
            let is_stopping = *stopping.borrow();
            while !is_stopping && running.len() < self.shared.config.concurrency {
                let Some((ticket, item)) = self.window.start() else { break };
                let (shared, record) = (Arc::clone(&self.shared), item.change.record.clone());
                running.push(Box::pin(async move { (ticket, record, shared.apply(item).await) }));
            }
            if is_stopping && running.is_empty() {
                break;
            }
            let room = self.shared.config.window.saturating_sub(self.window.len()).min(self.shared.config.batch);
            if !is_stopping
                && (room > 0 || self.reached.is_some() || look_at.is_some_and(|at| at <= Instant::now()))
                && let Some(feed) = idle_feed.take()
            {
                fetch = Some(self.fetch(feed, room));
            }
            tokio::select! {
                Some((ticket, record, outcome)) = running.next(), if !running.is_empty() => {
                    self.take(ticket, record, outcome);
                }
                (feed, untold, fetched) = pending_or(&mut fetch) => {
                    (idle_feed, fetch) = (Some(feed), None);
                    // Unless something farther is to be told anyway.
                    self.reached = self.reached.take().or(untold);
                    look_at = Instant::now().checked_add(self.shared.config.look_every);
                    self.read(fetched, commit.is_none());
                }
                (progress, written) = pending_or(&mut commit) => {
                    commit = None;
                    self.written(progress, written);
                }
                () = sleep_until(commit_at), if commit.is_none() => {
                    commit_at = None;
                    commit = Some(self.commit());
                }
                () = sleep_until(look_at), if !is_stopping && fetch.is_none() => {}
                () = told(&mut stopping), if !is_stopping => {}
            }
            if commit_at.is_none() && !self.progress.is_empty() {
                commit_at = Some(from_now(self.shared.config.commit_every));
            }
            if !self.unlinked.is_empty() && !self.commit_failed {
                commit_at = commit_at.map(|at| at.min(Instant::now()));
            }
            self.report(commit.is_none());
        }
        // No longer driven, it must not hold a connection of the state that the writes below wait for.
        drop(fetch.take());
        if let Some(commit) = commit {
            let (progress, written) = commit.await;
            self.written(progress, written);
        }
        // Twice: a deletion may have held back the position.
        for _ in 0..2 {
            let (progress, written) = self.commit().await;
            self.written(progress, written);
        }
        // The source hears of it too, where that is quick; if not, it sends again what the position leaves out.
        if let (Some(mut feed), Some(reached)) = (idle_feed, self.reached.take()) {
            let told = feed.step(Some(reached), 0, &self.shared.config);
            let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
        }
        self.report(true);
    }

    fn fetch(&mut self, mut feed: Feed, room: usize) -> Fetch {
        let shared = Arc::clone(&self.shared);
        let reached = self.reached.take();
        self.ended.begin_look();
        let wait = (self.failures > 0).then(|| {
            let CdcConfig { base_delay, max_delay, .. } = shared.config;
            backoff(base_delay, max_delay, self.failures, &mut shared.rng.lock())
        });
        Box::pin(async move {
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
            let fetched = feed.step(reached.clone(), room, &shared.config).await;
            let untold = if fetched.is_err() { reached } else { None };
            (feed, untold, fetched)
        })
    }

    fn read(&mut self, fetched: Result<Fetched, Error>, all_written: bool) {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let error = with_causes(&error);
                tracing::warn!(error, failures = self.failures, "the stream of changes stands still; tried again");
                self.status.send_modify(|status| {
                    status.stream_failures += 1;
                    status.last_stream_error = Some(error);
                });
                return;
            }
        };
        self.failures = 0;
        self.source_was_empty = fetched.was_empty;
        for item in fetched.items {
            let record = item.change.record.clone();
            // What the window holds of the record, or held since the letter was read, is newer. One that is still there is asked
            // for again by the next look.
            if item.replayed && (self.window.holds(&record) || self.ended.holds(&record)) {
                continue;
            }
            let position = item.change.position.clone().map(|position| (fetched.generation, position));
            self.window.push(record, item, position);
        }
        if let Some(position) = fetched.position {
            self.window.mark((fetched.generation, position));
        }
        // Not while a read is under way: it may come back with what was known before.
        if all_written {
            let Progress { links, buried, .. } = &self.progress;
            let letters = buried.iter().map(|letter| &letter.change.record);
            let unwritten: HashSet<&RecordKey> = links.iter().map(|(record, _)| record).chain(letters).collect();
            self.shared.ledger.forget(|record| self.window.holds(record) || unwritten.contains(record));
        }
        self.status.send_modify(|status| {
            status.unmapped += fetched.unmapped;
            status.snapshots += fetched.snapshots_begun;
            if let Some(lag) = fetched.lag {
                status.lag = lag;
            }
        });
        self.advance();
    }

    fn take(&mut self, ticket: Ticket, record: RecordKey, outcome: Outcome) {
        if !matches!(outcome, Outcome::Left) {
            self.ended.add(record.clone());
        }
        match outcome {
            Outcome::Applied { applied, healed } => {
                let is_gone = applied == Applied::Gone;
                if applied != Applied::Nothing {
                    self.progress.links.retain(|(other, _)| *other != record);
                    let id = if let Applied::Linked(id) = applied { Some(id) } else { None };
                    self.progress.links.push((record.clone(), id));
                }
                self.progress.buried.retain(|letter| letter.change.record != record);
                if healed {
                    self.progress.healed.push(record);
                }
                self.status.send_modify(|status| status.applied += 1);
                if is_gone {
                    return self.unlinked.push(ticket);
                }
            }
            Outcome::Buried(letter) => {
                self.progress.healed.retain(|healed| *healed != record);
                self.progress.buried.retain(|letter| letter.change.record != record);
                self.progress.buried.push(letter);
                self.status.send_modify(|status| status.buried += 1);
            }
            // Not settled: the position stays before it.
            Outcome::Left => return,
        }
        self.window.settle(ticket);
        self.advance();
    }

    fn advance(&mut self) {
        if let Some((generation, position)) = self.window.reach() {
            self.progress.position = Some(position);
            self.progress.generation = generation;
        }
    }

    fn commit(&mut self) -> Commit {
        let (state, progress) = (Arc::clone(&self.shared.state), std::mem::take(&mut self.progress));
        self.unlinking = std::mem::take(&mut self.unlinked);
        self.ended.begin_write();
        Box::pin(async move {
            let written = if progress.is_empty() { Ok(()) } else { state.commit(&progress).await };
            (progress, written)
        })
    }

    fn written(&mut self, progress: Progress, written: Result<(), Error>) {
        let unlinking = std::mem::take(&mut self.unlinking);
        self.commit_failed = written.is_err();
        match written {
            Ok(()) => {
                self.ended.written();
                if let Some(position) = progress.position {
                    self.status.send_modify(|status| status.position = Some(position.clone()));
                    self.reached = Some((progress.generation, position));
                }
                for ticket in unlinking {
                    self.window.settle(ticket);
                }
                self.advance();
            }
            // Kept, and written with what came since.
            Err(error) => {
                tracing::warn!(%error, "the state could not be written; tried again");
                self.status.send_modify(|status| status.last_stream_error = Some(with_causes(&error)));
                self.unlinked.extend(unlinking);
                self.progress.put_behind(progress);
            }
        }
    }

    fn report(&self, all_written: bool) {
        let (waiting, retries) = (self.window.len(), self.shared.retries.load(std::sync::atomic::Ordering::Relaxed));
        let caught_up = self.source_was_empty && waiting == 0 && self.progress.is_empty() && all_written;
        self.status.send_if_modified(|status| {
            let is_new = status.waiting != waiting || status.caught_up != caught_up || status.retries != retries;
            (status.waiting, status.caught_up, status.retries) = (waiting, caught_up, retries);
            if is_new {
                status.last_failure.clone_from(&self.shared.last_failure.lock());
            }
            is_new
        });
    }
}

async fn pending_or<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends also when the handle is gone: then the task is about to be ended.
async fn told(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}
