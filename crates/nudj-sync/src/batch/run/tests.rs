use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;

use super::*;
use crate::{RemoteError, RemoteErrorKind, batch::Lookup};

/// Fails the first record for what passes, long after all the others were created.
struct FirstFailsLast;

#[async_trait]
impl Target for FirstFailsLast {
    type Record = u64;

    async fn create(&self, record: &u64) -> Result<String, RemoteError> {
        if *record > 0 {
            return Ok(record.to_string());
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Err(RemoteError::new(RemoteErrorKind::NotDone, "scripted"))
    }

    async fn find(&self, _: &u64) -> Result<Lookup, RemoteError> {
        Ok(Lookup::Missing)
    }
}

/// It was held for the next success, which could not come: no further record may be read so far beyond one that is not settled.
#[tokio::test(start_paused = true)]
async fn record_that_fails_after_as_many_others_as_are_remembered_does_not_stop_the_run() {
    let batch = Batch::new(FirstFailsLast, BatchConfig { max_retries: 0, ..BatchConfig::default() }).unwrap();
    let rows = stream::iter((0..5_000).map(|number| Ok(Row::new(number, number))));
    let run = tokio::time::timeout(Duration::from_secs(86_400), batch.run(rows, |_| Ok(())));
    let totals = run.await.expect("it ends").unwrap().totals;
    assert_eq!((totals.created, totals.failed), (4_999, 1));
}
