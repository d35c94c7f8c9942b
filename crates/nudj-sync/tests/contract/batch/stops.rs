//! A clean end is no kill: what was not sent is not in doubt, so records that cannot be looked up are not lost by it.

use futures_util::stream;
use nudj_sync::{
    Error,
    batch::{Batch, BatchConfig, CheckpointFile, Stop, Summary},
};

use super::*;

/// Has nothing to look a record up by.
#[derive(Clone)]
struct Blind {
    server: ToServer,
    in_bulk: bool,
}

#[async_trait]
impl Target for Blind {
    type Record = Counted;

    async fn create(&self, record: &Counted) -> Result<String, RemoteError> {
        self.server.create(record).await
    }

    async fn find(&self, _: &Counted) -> Result<Lookup, RemoteError> {
        Ok(Lookup::Impossible)
    }

    async fn create_many(&self, records: &[&Counted]) -> Result<Option<Vec<Result<String, RemoteError>>>, RemoteError> {
        let mut results = Vec::new();
        for record in records {
            results.push(self.server.create(record).await);
        }
        Ok(Some(results))
    }

    fn in_bulk(&self) -> bool {
        self.in_bulk
    }
}

/// Pulls the stop once so many records were reported.
async fn run(target: &Blind, file: &std::path::Path, stop_at: u64) -> Result<Summary, Error> {
    let config = BatchConfig { chunk_size: 5, chunks_in_flight: 3, calls_in_flight: 4, ..BatchConfig::default() };
    let checkpoint = CheckpointFile::open(file, "input").unwrap();
    let stop = Stop::new();
    let batch = Batch::new(target.clone(), config).unwrap().checkpoint(checkpoint).stop(stop.clone());
    let run = batch.run(stream::iter(rows(&Live::default(), 60)), |report| {
        if report.totals.records() >= stop_at {
            stop.now();
        }
        Ok(())
    });
    run.await
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_nothing_in_doubt_that_was_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    for in_bulk in [false, true] {
        let target = Blind { server: ToServer(Server::new(|_, _| Reply::Created)), in_bulk };
        let file = folder.path().join(format!("{in_bulk}.checkpoint"));
        // Again and again, until the last run gets to the end.
        for stop_at in [1, 10, 33] {
            assert!(!run(&target, &file, stop_at).await.unwrap().finished);
        }
        let last = run(&target, &file, u64::MAX).await.unwrap();
        assert!(last.finished);
        assert_eq!((last.totals.created, last.totals.failed), (60, 0), "in bulk: {in_bulk}");
        target.server.0.assert_each_once(60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_leaves_nothing_in_doubt_that_was_not_created() {
    let folder = tempfile::tempdir().unwrap();
    for in_bulk in [false, true] {
        let server = Server::new(|number, asked| match (number, asked) {
            (22.., 1) => Reply::Fails(RemoteErrorKind::Unauthorized),
            _ => Reply::Created,
        });
        let target = Blind { server: ToServer(Arc::clone(&server)), in_bulk };
        let file = folder.path().join(format!("{in_bulk}.checkpoint"));
        let refused = run(&target, &file, u64::MAX).await;
        assert!(matches!(refused, Err(Error::Remote(error)) if error.kind() == RemoteErrorKind::Unauthorized));
        // Each was refused once, and those that were not sent then are refused now.
        let summary = loop {
            match run(&target, &file, u64::MAX).await {
                Ok(summary) => break summary,
                Err(Error::Remote(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((summary.totals.created, summary.totals.failed), (60, 0), "in bulk: {in_bulk}");
        server.assert_each_once(60);
    }
}

/// What was sent without an answer stays in doubt: it must not be sent twice.
#[tokio::test(start_paused = true)]
async fn a_stop_leaves_in_doubt_what_had_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let target = Blind {
        server: ToServer(Server::new(|number, _| if number == 7 { Reply::Lost } else { Reply::Created })),
        in_bulk: false,
    };
    assert!(!run(&target, &file, 7).await.unwrap().finished);
    let last = run(&target, &file, u64::MAX).await.unwrap();
    assert!(last.finished);
    assert_eq!((last.totals.created, last.totals.failed), (59, 1), "it says that it is not known");
    target.server.0.assert_each_once(60);
}
