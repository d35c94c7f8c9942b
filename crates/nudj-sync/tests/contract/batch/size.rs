//! As much memory for a million records as for a thousand.

use futures_util::stream;
use nudj_sync::batch::{Batch, BatchConfig};

use super::*;

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_is_in_memory_however_many_records_there_are() {
    struct Instant;

    #[async_trait]
    impl Target for Instant {
        type Record = Counted;

        async fn create(&self, record: &Counted) -> Result<String, RemoteError> {
            // The slow ones hold the others' places.
            if record.number % 1000 == 7 {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Ok(String::new())
        }

        async fn find(&self, _: &Counted) -> Result<Lookup, RemoteError> {
            Ok(Lookup::Missing)
        }
    }

    for count in [1_000, 1_000_000] {
        let live = Live::default();
        let batch = Batch::new(Instant, BatchConfig::default()).unwrap();
        let summary = batch.run(stream::iter(rows(&live, count)), |_| Ok(())).await.unwrap();
        assert_eq!(summary.totals.created, count);
        // The window is 800; one more row may have been read.
        assert!(live.most() <= 801, "{} records in memory out of {count}", live.most());
    }
}
