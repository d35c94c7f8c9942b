//! An inbox over one in memory, whose claims and settlements are a test's own.

use std::fmt::Debug;
use std::time::Duration;

use nudj_webhook::Error;
use nudj_webhook::inbox::{Arrival, Claimed, DeadLetter, Inbox, MemoryInbox, Recorded, Settlement, Swept};

/// What goes another way than in memory. All else is the memory's.
#[async_trait::async_trait]
pub(crate) trait Faults: Debug + Send + Sync + 'static {
    fn inbox(&self) -> &MemoryInbox;

    async fn claim(&self, limit: usize, now: i64, lease: Duration) -> Result<Vec<Claimed>, Error>;

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error>;
}

/// Says that it is durable, as the stores are that such things happen to.
#[derive(Debug)]
pub(crate) struct Faulty<F>(pub(crate) F);

#[async_trait::async_trait]
impl<F: Faults> Inbox for Faulty<F> {
    fn is_durable(&self) -> bool {
        true
    }

    async fn record(&self, arrival: Arrival) -> Result<Recorded, Error> {
        self.0.inbox().record(arrival).await
    }

    async fn claim(&self, limit: usize, now: i64, lease: Duration) -> Result<Vec<Claimed>, Error> {
        self.0.claim(limit, now, lease).await
    }

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error> {
        self.0.settle(claimed, settlement, now).await
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        self.0.inbox().next_due().await
    }

    fn depth(&self) -> u64 {
        self.0.inbox().depth()
    }

    fn dead_letter_count(&self) -> u64 {
        self.0.inbox().dead_letter_count()
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.0.inbox().dead_letters(limit).await
    }

    async fn replay(&self, id: &str, now: i64) -> Result<bool, Error> {
        self.0.inbox().replay(id, now).await
    }

    async fn discard(&self, id: &str, now: i64) -> Result<bool, Error> {
        self.0.inbox().discard(id, now).await
    }

    async fn sweep(&self, now: i64) -> Result<Swept, Error> {
        self.0.inbox().sweep(now).await
    }
}
