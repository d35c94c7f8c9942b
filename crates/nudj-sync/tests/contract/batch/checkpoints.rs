//! The file is written beside the calls, and no call goes further than it says.

use std::{path::Path, process::Command};

use futures_util::stream;
use nudj_sync::{
    Error,
    batch::{Batch, BatchConfig, CheckpointFile},
};

use super::*;

/// What the file says may have been started.
fn started_until(file: &Path) -> u64 {
    let text = std::fs::read(file).unwrap();
    serde_json::from_slice::<serde_json::Value>(&text).unwrap()["started_until"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_only_what_the_file_does_not_speak_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint");
    let server = Server::new(|_, _| Reply::Created);
    let config = BatchConfig { chunk_size: 10, chunks_in_flight: 100, ..BatchConfig::default() };
    let checkpoint = CheckpointFile::open(&file, "input").unwrap();
    let batch = Batch::new(ToServer(Arc::clone(&server)), config).unwrap().checkpoint(checkpoint);
    // Whoever opens a pipe without a reader waits for one.
    let pipe = folder.path().join("checkpoint.new");
    let hang = pipe.clone();
    let run = tokio::spawn(async move {
        let mut hung = false;
        batch
            .run(stream::iter(rows(&Live::default(), 100_000)), move |_| {
                if !hung {
                    // Only after the first write has ended: there may be a second by now.
                    hung = Command::new("mkfifo").arg(&hang).status()?.success();
                }
                Ok(())
            })
            .await
    });
    // It ends by itself where the file ends; there is nothing else to wait for than that nothing more comes.
    let made = || server.made.lock().len() as u64;
    let mut before = 0;
    let stands_still = async {
        while made() == 0 || before != made() {
            before = made();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), stands_still).await.unwrap();
    let most = started_until(&file);
    assert!(made() <= most, "{} were made, but the file speaks of {most}", made());
    assert!(made() + 10 > most, "{} of {most}: calls go on while the disk hangs", made());
    // A pipe cannot be synced, so the write fails now; the one at the end of the run finds the way free.
    let aside = folder.path().join("pipe");
    std::fs::rename(&pipe, &aside).unwrap();
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&aside).unwrap());
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Store { .. }), "{error}");
    assert!(error.to_string().contains("checkpoint"), "{error}");
}

/// Held records take places of the window: a chunk that has no room to become full is sent as it is.
#[tokio::test(start_paused = true)]
async fn one_chunk_in_flight_is_enough_though_some_of_it_waits() {
    struct InBulk(ToServer);

    #[async_trait]
    impl Target for InBulk {
        type Record = Counted;

        async fn create(&self, record: &Counted) -> Result<String, RemoteError> {
            self.0.create(record).await
        }

        async fn find(&self, record: &Counted) -> Result<Lookup, RemoteError> {
            self.0.find(record).await
        }

        async fn create_many(
            &self,
            records: &[&Counted],
        ) -> Result<Option<Vec<Result<String, RemoteError>>>, RemoteError> {
            let mut results = Vec::new();
            for record in records {
                results.push(self.0.create(record).await);
            }
            Ok(Some(results))
        }

        fn in_bulk(&self) -> bool {
            true
        }
    }

    let server = Server::new(|number, _| match number {
        9 => Reply::Fails(RemoteErrorKind::NotDone),
        _ => Reply::Created,
    });
    let config = BatchConfig { chunk_size: 10, chunks_in_flight: 1, ..BatchConfig::default() };
    let batch = Batch::new(InBulk(ToServer(Arc::clone(&server))), config).unwrap();
    let summary = batch.run(stream::iter(rows(&Live::default(), 45)), |_| Ok(())).await.unwrap();
    assert!(summary.finished);
    assert_eq!((summary.totals.created, summary.totals.failed), (44, 1));
}
