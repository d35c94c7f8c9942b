//! A kill -9 is a future that is dropped: nothing runs after it but what stands in the file.

use std::{collections::HashSet, future::Future as _, task::Poll};

use futures_util::stream;
use nudj_sync::{
    RemoteErrorKind,
    batch::{Batch, BatchConfig, CheckpointFile, Summary},
};

use super::*;

fn config() -> BatchConfig {
    BatchConfig { chunk_size: 5, chunks_in_flight: 3, calls_in_flight: 4, ..BatchConfig::default() }
}

/// Runs for at most `polls` polls; `None` when that was not enough.
async fn run_for(
    polls: usize,
    server: &Arc<Server>,
    file: &std::path::Path,
    told: &mut HashSet<u64>,
) -> Option<Summary> {
    // A write that was under way when the future was dropped is finished first, and holds the lock.
    let checkpoint = loop {
        match CheckpointFile::open(file, "input") {
            Ok(checkpoint) => break checkpoint,
            Err(_) => std::thread::yield_now(),
        }
    };
    let batch = Batch::new(ToServer(Arc::clone(server)), config()).unwrap().checkpoint(checkpoint);
    let mut run = Box::pin(batch.run(stream::iter(rows(&Live::default(), 60)), |report| {
        told.insert(report.line);
        Ok(())
    }));
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        run.as_mut().poll(cx).map(|summary| Some(summary.unwrap()))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_and_resumed_it_creates_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut interrupted = 0;
    for polls in 1..90 {
        let file = folder.path().join(format!("{polls}.checkpoint"));
        // Every seventh answer is lost the first time, every fifth call not done.
        let server = Server::new(|number, asked| match number {
            _ if asked > 1 => Reply::Created,
            _ if number % 7 == 3 => Reply::Lost,
            _ if number % 5 == 4 => Reply::Fails(RemoteErrorKind::NotDone),
            _ => Reply::Created,
        });
        let mut told = HashSet::new();
        // Killed again and again, each time later, until it gets to the end.
        let mut rounds = 0;
        let summary = loop {
            rounds += 1;
            if let Some(summary) = run_for(polls * rounds, &server, &file, &mut told).await {
                break summary;
            }
            interrupted += 1;
            assert!(rounds < 200, "no progress");
        };
        server.assert_each_once(60);
        assert!(summary.finished);
        assert_eq!(summary.totals.records(), 60);
        assert_eq!(summary.totals.failed, 0);
        assert_eq!(told.len(), 60, "every record was reported");
    }
    assert!(interrupted > 100, "{interrupted}");
}

#[tokio::test(start_paused = true)]
async fn a_finished_checkpoint_makes_no_more_calls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let server = Server::new(|_, _| Reply::Created);
    let mut told = HashSet::new();
    let first = run_for(usize::MAX, &server, &file, &mut told).await.unwrap();
    assert_eq!((first.totals.created, first.resumed), (60, 0));
    told.clear();
    let second = run_for(usize::MAX, &server, &file, &mut told).await.unwrap();
    assert_eq!((second.totals.created, second.resumed, told.len()), (60, 60, 0));
    server.assert_each_once(60);
    assert_eq!(server.lookups.load(Ordering::Relaxed), 0, "a run that was not killed is in no doubt");
}

#[tokio::test(start_paused = true)]
async fn only_the_window_is_looked_up_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let server = Server::new(|_, _| Reply::Created);
    let mut told = HashSet::new();
    assert!(run_for(20, &server, &file, &mut told).await.is_none());
    run_for(usize::MAX, &server, &file, &mut told).await.unwrap();
    server.assert_each_once(60);
    let lookups = server.lookups.load(Ordering::Relaxed);
    assert!((1..=25).contains(&lookups), "{lookups} look-ups: a window of 15 records, and two chunks of 5");
}
