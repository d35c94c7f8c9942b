//! What a failure does to the run.

use futures_util::stream;
use nudj_sync::{
    Error,
    batch::{Batch, BatchConfig, CheckpointFile, Outcome, Stop},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn failures_are_sorted_into_passing_and_lasting() {
    let server = Server::new(|number, asked| match (number, asked) {
        (1, 1..=2) => Reply::Fails(RemoteErrorKind::NotDone),
        (2, _) => Reply::Fails(RemoteErrorKind::NotDone),
        (3, _) => Reply::Fails(RemoteErrorKind::Refused),
        (4, _) => Reply::Fails(RemoteErrorKind::Conflict),
        (5, 1..=30) => Reply::Fails(RemoteErrorKind::Throttled),
        (6, _) => Reply::Lost,
        _ => Reply::Created,
    });
    let mut outcomes = std::collections::BTreeMap::new();
    let batch = Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap();
    let summary = batch.run(stream::iter(rows(&Live::default(), 8)), |report| {
        outcomes.insert(report.line - 2, report.outcome.clone());
        Ok(())
    });
    let totals = summary.await.unwrap().totals;
    assert_eq!((totals.created, totals.found, totals.failed, totals.invalid), (4, 1, 3, 0));
    assert!(matches!(outcomes[&2], Outcome::Failed { retryable: true, .. }), "{:?}", outcomes[&2]);
    assert!(matches!(outcomes[&3], Outcome::Failed { retryable: false, .. }));
    assert!(matches!(outcomes[&4], Outcome::Failed { retryable: false, .. }), "taken by another record");
    assert_eq!(outcomes[&6], Outcome::Found { id: "6".to_owned() });
    let asked = server.asked.lock();
    assert_eq!((asked[&1], asked[&2], asked[&3]), (3, 4, 1), "three retries, and none for what lasts");
    assert_eq!(asked[&5], 31, "waiting for quota is no retry");
    assert_eq!(asked[&6], 1, "a lost answer is looked up, not sent again");
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_the_run_and_the_next_one_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let server = Server::new(move |number, _| {
        if number >= 150 && is_down.load(Ordering::Relaxed) {
            Reply::Fails(RemoteErrorKind::Unknown)
        } else {
            Reply::Created
        }
    });
    let run = || {
        let checkpoint = CheckpointFile::open(&file, "input").unwrap();
        let batch = Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap().checkpoint(checkpoint);
        batch.run(stream::iter(rows(&Live::default(), 3000)), |report| {
            assert!(report.outcome.is_success(), "{}", report.outcome);
            Ok(())
        })
    };
    let error = run().await.unwrap_err();
    assert!(matches!(&error, Error::Remote(_)) && error.to_string().contains("100 records in a row"), "{error}");
    down.store(false, Ordering::Relaxed);
    let summary = run().await.unwrap();
    assert_eq!(summary.totals.records(), 3000);
    server.assert_each_once(3000);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_ends_the_run_at_once() {
    let server = Server::new(|_, _| Reply::Fails(RemoteErrorKind::Unauthorized));
    let batch = Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap();
    let ended = batch.run(stream::iter(rows(&Live::default(), 100_000)), |_| Ok(())).await;
    assert!(matches!(ended, Err(Error::Remote(_))), "{ended:?}");
    assert!(server.asked.lock().len() < 200, "the rest was not tried");
}

/// Whose token may not do it for one record must not stand before that record for ever; one that may do nothing must not fail all.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_forbidden_fails_alone_and_many_in_a_row_end_the_run() {
    let run = async |server: &Arc<Server>| {
        let batch = Batch::new(ToServer(Arc::clone(server)), BatchConfig::default()).unwrap();
        batch.run(stream::iter(rows(&Live::default(), 3000)), |_| Ok(())).await
    };
    let is_it = |number| if number == 3 { Reply::Fails(RemoteErrorKind::Forbidden) } else { Reply::Created };
    let server = Server::new(move |number, _| is_it(number));
    let totals = run(&server).await.unwrap().totals;
    assert_eq!((totals.created, totals.failed, server.asked.lock()[&3]), (2999, 1, 1));

    let server = Server::new(|_, _| Reply::Fails(RemoteErrorKind::Forbidden));
    let error = run(&server).await.unwrap_err();
    assert!(error.to_string().contains("100 records in a row"), "{error}");
    assert!(server.asked.lock().len() < 1000, "the rest was not tried");
}

#[tokio::test(start_paused = true)]
async fn a_stop_records_the_calls_in_flight_and_the_next_run_looks_nothing_up_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let server = Server::new(|_, _| Reply::Created);
    let stop = Stop::new();
    let run = |stop: Stop| {
        let checkpoint = CheckpointFile::open(&file, "input").unwrap();
        let batch = Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap();
        batch.checkpoint(checkpoint).stop(stop)
    };
    let first = run(stop.clone()).run(stream::iter(rows(&Live::default(), 1000)), |report| {
        if report.totals.created == 300 {
            stop.now();
        }
        Ok(())
    });
    let first = first.await.unwrap();
    assert!(!first.finished);
    assert!((300..500).contains(&first.totals.created), "{first:?}");
    assert_eq!(server.made.lock().len() as u64, first.totals.created, "what was sent was recorded");
    let second = run(Stop::new()).run(stream::iter(rows(&Live::default(), 1000)), |_| Ok(())).await.unwrap();
    assert_eq!((second.resumed, second.totals.created, second.finished), (first.totals.created, 1000, true));
    server.assert_each_once(1000);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_input_or_of_the_report_ends_the_run() {
    let server = Server::new(|_, _| Reply::Created);
    let batch = || Batch::new(ToServer(Arc::clone(&server)), BatchConfig::default()).unwrap();
    let broken = rows(&Live::default(), 3).chain([Err("the disk is gone".into())]);
    let error = batch().run(stream::iter(broken), |_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    let error = batch().run(stream::iter(rows(&Live::default(), 3)), |_| Err("no room".into())).await.unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
}
