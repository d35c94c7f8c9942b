//! No handler starts, and none works on, when somebody else could have its delivery.

use std::sync::Arc;
use std::time::Duration;

use nudj_webhook::inbox::{Claimed, Inbox as _, MemoryInbox, Settlement};
use nudj_webhook::{Delivery, Error, Receiver, ReceiverBuilder};
use parking_lot::Mutex;

use crate::faulty::{Faults, Faulty};
use crate::harness::{Clock, NUDJ_SECRET, Notes, config, deliver, eventually};

/// A store whose leases run out, and which takes long to answer a claim.
#[derive(Debug)]
struct Store {
    inbox: MemoryInbox,
    /// What it gave out, with the end of the lease.
    given: Mutex<Vec<(i64, Claimed)>>,
    settled: Arc<Mutex<Vec<Settlement>>>,
    /// How long each claim takes; none once there are no more.
    delays: Mutex<Vec<Duration>>,
}

impl Store {
    fn new(delays: Vec<Duration>) -> (Self, Arc<Mutex<Vec<Settlement>>>) {
        let settled = Arc::<Mutex<Vec<Settlement>>>::default();
        let (given, delays) = (Mutex::default(), Mutex::new(delays));
        (Self { inbox: MemoryInbox::new(&config()), given, settled: Arc::clone(&settled), delays }, settled)
    }
}

#[async_trait::async_trait]
impl Faults for Store {
    fn inbox(&self) -> &MemoryInbox {
        &self.inbox
    }

    async fn claim(&self, limit: usize, now: i64, lease: Duration) -> Result<Vec<Claimed>, Error> {
        let over: Vec<_> = self.given.lock().extract_if(.., |(until, _)| *until <= now).collect();
        for (_, lost) in over {
            let again = Settlement::Retry { due_at: now, handled: lost.handled.clone(), reason: String::new() };
            self.inbox.settle(&lost, again, now).await?;
        }
        let claimed = self.inbox.claim(limit, now, lease).await?;
        if claimed.is_empty() {
            return Ok(claimed);
        }
        let until = now + i64::try_from(lease.as_millis()).unwrap();
        self.given.lock().extend(claimed.iter().map(|claimed| (until, claimed.clone())));
        let delay = self.delays.lock().pop().unwrap_or_default();
        tokio::time::sleep(delay).await;
        Ok(claimed)
    }

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error> {
        self.settled.lock().push(settlement.clone());
        self.given.lock().retain(|(_, given)| given.lease != claimed.lease);
        // Without effect when the lease ran out and the delivery was given out again.
        self.inbox.settle(claimed, settlement, now).await
    }
}

fn builder(inbox: Store) -> ReceiverBuilder {
    let mut settings = config();
    settings.queue.handler_timeout = Duration::from_secs(1);
    settings.queue.poll_interval = Duration::from_millis(100);
    Receiver::builder().config(settings).secret(NUDJ_SECRET).clock(Clock::start()).seed(7).inbox(Faulty(inbox))
}

#[tokio::test(start_paused = true)]
async fn claim_that_takes_long_leaves_the_handlers_their_time() {
    // The lease was twice the time-out: over when the claim was answered, so that a second call ran beside the first.
    let notes = Notes::default();
    let (inbox, settled) = Store::new(vec![Duration::from_millis(2500); 20]);
    let handler = Arc::new(notes.succeeding());
    let slow = move |delivery: Delivery| {
        let handled = nudj_webhook::Handler::handle(&*handler, delivery);
        async move {
            tokio::time::sleep(Duration::from_millis(900)).await;
            handled.await
        }
    };
    let receiver = builder(inbox).on_any(slow).build().unwrap();
    deliver(&receiver, "d1").await;
    eventually("handled", async || receiver.snapshot().handled > 0).await;
    assert_eq!((receiver.shutdown(Duration::from_secs(30)).await.left, notes.attempts()), (0, vec![1]));
    assert!(matches!(settled.lock()[..], [Settlement::Done]), "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn lease_that_ends_too_soon_is_given_back_and_no_handler_called() {
    // As long as the dispatcher waits for a claim: what is left of the lease is the time-out, and nothing to note its end in.
    let notes = Notes::default();
    let (inbox, settled) = Store::new(vec![Duration::from_secs(10)]);
    let receiver = builder(inbox).on_any(notes.succeeding()).build().unwrap();
    deliver(&receiver, "d1").await;
    eventually("handled", async || receiver.snapshot().handled > 0).await;
    assert_eq!(notes.attempts(), [1], "the attempt was given back");
    let settled = settled.lock();
    assert!(matches!(settled[..], [Settlement::Release { .. }, Settlement::Done]), "{settled:?}");
}
