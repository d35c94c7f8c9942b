//! How often the lag is measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nudj_mock::MockNudj;
use nudj_sync::{
    Error,
    cdc::{Batch, CdcConfig, ChangeSource, Lag, MemoryState, Position, Resumed},
};

use super::fixture::{builder, config};

/// Measures its lag for 200 ms, and has something to read every 10 ms.
struct Slow {
    looks: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
}

#[async_trait]
impl ChangeSource for Slow {
    async fn resume(&mut self, _: &Position) -> Result<Resumed, Error> {
        Ok(Resumed::Yes)
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn next(&mut self, _: usize) -> Result<Batch, Error> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(Batch::default())
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<(), Error> {
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(Lag::default())
    }
}

#[tokio::test]
async fn a_look_that_takes_long_is_as_far_from_the_next_as_any_other() {
    let mock = MockNudj::start().await.unwrap();
    tokio::time::pause();
    let (looks, reads) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let source = Slow { looks: Arc::clone(&looks), reads: Arc::clone(&reads) };
    let config = CdcConfig { look_every: Duration::from_millis(100), ..config() };
    let pipeline = builder(source, MemoryState::default(), &mock).config(config).start().unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (looks, reads) = (looks.load(Ordering::Relaxed), reads.load(Ordering::Relaxed));
    assert!(looks > 10 && reads > 5 * looks, "{reads} reads, {looks} looks");
    drop(pipeline);
}
