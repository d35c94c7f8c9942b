//! The consumer, over the bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use nudj_sync::Error;
use nudj_sync::event::{
    Claimed, Consumer, ConsumerConfig, DeadLetter, Delivery, Event, EventBus, Lag, MemoryBus, MemoryConfig,
    MemoryProcessed, Published, Settlement, forward_to,
};
use tokio::time::Instant;

use super::harness::{Journal, event, eventually, quick};

fn bus() -> MemoryBus {
    MemoryBus::new(MemoryConfig::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_what_is_in_hand_and_claims_nothing_more() {
    let bus = bus();
    let journal = Journal::default();
    let seen = journal.clone();
    let config = ConsumerConfig { workers: 2, handler_timeout: Duration::from_secs(20), ..ConsumerConfig::default() };
    let consumer = Consumer::builder(bus.clone()).config(config).on_any(move |delivery: Delivery| {
        let seen = seen.clone();
        async move {
            seen.begin(&delivery.event);
            tokio::time::sleep(Duration::from_secs(5)).await;
            seen.done(&delivery.event);
            Ok::<_, Error>(())
        }
    });
    let consumer = consumer.start().unwrap();
    for number in 0..4 {
        bus.publish(&event(&format!("k{number}"), number)).await.unwrap();
    }
    eventually("two in hand", async || consumer.snapshot().in_flight == 2).await;
    let started = Instant::now();
    assert_eq!(consumer.shutdown(Duration::from_secs(30)).await.cut_off, 0);
    assert!(started.elapsed() <= Duration::from_secs(5));
    assert_eq!((journal.count(), bus.lag().await.unwrap().waiting), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_back_what_its_deadline_cuts_off() {
    let bus = bus();
    let hangs = |_: Delivery| std::future::pending::<Result<(), Error>>();
    let config =
        ConsumerConfig { handler_timeout: Duration::from_secs(3600), lease: Duration::from_secs(7200), ..quick() };
    let consumer = Consumer::builder(bus.clone()).config(config).on_any(hangs).start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("it is in hand", async || consumer.snapshot().in_flight == 1).await;
    let started = Instant::now();
    assert_eq!(consumer.shutdown(Duration::from_secs(2)).await.cut_off, 1);
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    // At once, not when the lease has run out; and never as a first attempt again, since this one may have had its effect.
    assert_eq!(bus.claim(1, Duration::from_secs(1)).await.unwrap()[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_without_a_deadline_waits_for_what_is_in_hand() {
    let bus = bus();
    let handler = |_: Delivery| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok::<_, Error>(())
    };
    let consumer = Consumer::builder(bus.clone()).on_any(handler).start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("it is in hand", async || consumer.snapshot().in_flight == 1).await;
    assert_eq!(consumer.shutdown(Duration::MAX).await.cut_off, 0);
    assert_eq!(bus.lag().await.unwrap().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdowns_alone_use_up_no_more_than_one_attempt() {
    shutdowns_alone_make_no_dead_letter(3).await;
}

#[tokio::test(start_paused = true)]
async fn shutdowns_alone_make_no_dead_letter_where_one_attempt_is_allowed() {
    shutdowns_alone_make_no_dead_letter(1).await;
}

async fn shutdowns_alone_make_no_dead_letter(max_attempts: u32) {
    let bus = bus();
    bus.publish(&event("k", 0)).await.unwrap();
    let attempts = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let config = ConsumerConfig { max_attempts, ..quick() };
    for shutdown in 1..=6 {
        let seen = Arc::clone(&attempts);
        let consumer = Consumer::builder(bus.clone()).config(config.clone()).on_any(move |delivery: Delivery| {
            seen.lock().push(delivery.attempt);
            std::future::pending::<Result<(), Error>>()
        });
        let consumer = consumer.start().unwrap();
        eventually("it is in hand", async || attempts.lock().len() == shutdown).await;
        assert_eq!(consumer.shutdown(Duration::ZERO).await.cut_off, 1);
    }
    assert_eq!(*attempts.lock(), [1, 2, 2, 2, 2, 2]);
    assert_eq!(bus.lag().await.unwrap().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_shutdown_holds_while_the_bus_does_not_answer() {
    for (claims, sweeps, before) in [(true, true, 0), (true, true, 65), (false, true, 65)] {
        let slow = Slow { claims: claims.then_some(FROZEN), sweeps: sweeps.then_some(FROZEN), ..Slow::over(bus()) };
        let consumer = Consumer::builder(slow).on_any(|_: Delivery| async { Ok::<_, Error>(()) }).start().unwrap();
        tokio::time::sleep(Duration::from_secs(before)).await;
        tokio::task::yield_now().await;
        let started = Instant::now();
        consumer.shutdown(Duration::from_secs(1)).await;
        assert!(started.elapsed() <= Duration::from_secs(1), "{claims} {sweeps} {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_claim_takes_while_a_shutdown_waits_is_handled() {
    let bus = bus();
    bus.publish(&event("k", 0)).await.unwrap();
    let slow = Slow { claims: Some(Duration::from_secs(3)), ..Slow::over(bus.clone()) };
    let consumer = Consumer::builder(slow).on_any(|_: Delivery| async { Ok::<_, Error>(()) }).start().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(consumer.shutdown(Duration::from_secs(5)).await.cut_off, 0);
    assert_eq!(bus.lag().await.unwrap().waiting, 0);
}

const FROZEN: Duration = Duration::MAX;

/// A bus that answers late.
#[derive(Debug)]
struct Slow {
    bus: MemoryBus,
    claims: Option<Duration>,
    sweeps: Option<Duration>,
    settles: Option<Duration>,
    longest_lease: Duration,
}

impl Slow {
    fn over(bus: MemoryBus) -> Self {
        Self { bus, claims: None, sweeps: None, settles: None, longest_lease: Duration::MAX }
    }
}

#[async_trait]
impl EventBus for Slow {
    fn check_lease(&self, lease: Duration) -> Result<(), Error> {
        let wrong = Error::Config { field: "longest_lease", problem: "must be longer than the consumer's lease" };
        if lease <= self.longest_lease { Ok(()) } else { Err(wrong) }
    }

    async fn publish(&self, event: &Event) -> Result<Published, Error> {
        self.bus.publish(event).await
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        tokio::time::sleep(self.claims.unwrap_or_default()).await;
        self.bus.claim(limit, lease).await
    }

    async fn settle(&self, claimed: &Claimed, settlement: &Settlement) -> Result<bool, Error> {
        tokio::time::sleep(self.settles.unwrap_or_default()).await;
        self.bus.settle(claimed, settlement).await
    }

    async fn changed(&self, at_most: Duration) {
        self.bus.changed(at_most).await;
    }

    async fn lag(&self) -> Result<Lag, Error> {
        self.bus.lag().await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.bus.dead_letters(limit).await
    }

    async fn replay(&self, id: &str) -> Result<bool, Error> {
        self.bus.replay(id).await
    }

    async fn discard(&self, id: &str) -> Result<bool, Error> {
        self.bus.discard(id).await
    }

    async fn sweep(&self) -> Result<(), Error> {
        tokio::time::sleep(self.sweeps.unwrap_or_default()).await;
        self.bus.sweep().await
    }
}

#[tokio::test(start_paused = true)]
async fn bus_that_does_not_give_the_lease_refuses_the_consumer() {
    let bus = Slow { longest_lease: Duration::from_secs(59), ..Slow::over(bus()) };
    let consumer = Consumer::builder(bus).on_any(|_: Delivery| async { Ok::<_, Error>(()) }).start();
    assert!(matches!(consumer, Err(Error::Config { field: "longest_lease", .. })));
}

/// They chased each other without a pause, no handler was called, and nothing told of it.
#[tokio::test(start_paused = true)]
async fn event_whose_claim_took_too_long_is_kept_for_a_while_given_back_and_counted() {
    let bus = bus();
    bus.publish(&event("k", 0)).await.unwrap();
    let slow = Slow { claims: Some(Duration::from_millis(300)), ..Slow::over(bus.clone()) };
    let config = ConsumerConfig {
        handler_timeout: Duration::from_secs(60),
        lease: Duration::from_millis(60_250),
        ..ConsumerConfig::default()
    };
    let never = |_: Delivery| async { unreachable!("not called") as Result<(), Error> };
    let consumer = Consumer::builder(slow).config(config).on_any(never).start().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    // With a pause of half a second to a second: else there were 200.
    let given_back = consumer.snapshot().given_back;
    assert!((40..=80).contains(&given_back), "{given_back}");
    let started = Instant::now();
    assert_eq!(consumer.shutdown(Duration::ZERO).await.cut_off, 0, "no handler was");
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(bus.claim(1, Duration::from_secs(1)).await.unwrap()[0].attempt, 1);
}

/// A bus that publishes them one after the other had ten seconds for a thousand, at each attempt to settle anew.
#[tokio::test(start_paused = true)]
async fn settlement_with_many_follow_ups_has_its_time() {
    let bus = bus();
    let slow = Slow { settles: Some(Duration::from_secs(45)), ..Slow::over(bus.clone()) };
    let handler = |delivery: Delivery| async move {
        (0..400).map(|part| delivery.event.follow_up_as("test.part", part, ())).collect::<Result<Vec<_>, _>>()
    };
    let consumer = Consumer::builder(slow).on("test.numbered", handler).start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("it is settled", async || bus.lag().await.unwrap().waiting == 400).await;
    assert_eq!((consumer.snapshot().handled, consumer.snapshot().store_errors), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn settlement_with_many_follow_ups_holds_up_a_shutdown_no_longer_than_it_says() {
    let bus = bus();
    let slow = Slow { settles: Some(FROZEN), ..Slow::over(bus.clone()) };
    let handler = |delivery: Delivery| async move {
        (0..400).map(|part| delivery.event.follow_up_as("test.part", part, ())).collect::<Result<Vec<_>, _>>()
    };
    let consumer = Consumer::builder(slow).on("test.numbered", handler).start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("it is in hand", async || consumer.snapshot().in_flight == 1).await;
    let started = Instant::now();
    consumer.shutdown(Duration::from_secs(2)).await;
    assert!(started.elapsed() <= Duration::from_secs(12), "{:?}", started.elapsed());
}

/// The second was taken for the first, and lost without a word.
#[tokio::test(start_paused = true)]
async fn two_follow_ups_that_would_be_one_are_a_dead_letter_that_says_so() {
    let bus = bus();
    let parts = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let cured = Arc::clone(&parts);
    let mails = Journal::default();
    let seen = mails.clone();
    let consumer = Consumer::builder(bus.clone())
        .processed(MemoryProcessed::new(Duration::from_secs(3600), 1000))
        .on("test.numbered", move |delivery: Delivery| {
            let cured = cured.load(SeqCst);
            async move {
                let mail = |to: usize| match cured {
                    true => delivery.event.follow_up_as("mail.requested", to, to),
                    false => delivery.event.follow_up("mail.requested", to),
                };
                Ok::<_, Error>(vec![mail(1)?, mail(2)?])
            }
        })
        .on("mail.requested", move |delivery: Delivery| {
            seen.done(&delivery.event);
            async { Ok::<_, Error>(()) }
        });
    let consumer = consumer.start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("given up", async || consumer.snapshot().dead_lettered == 1).await;
    let letter = &bus.dead_letters(1).await.unwrap()[0];
    assert!(letter.reason.contains("k-0>mail.requested"), "{}", letter.reason);
    assert_eq!((letter.attempts, mails.count()), (1, 0));
    // Nor was it noted: with another handler it can be replayed.
    parts.store(true, SeqCst);
    assert!(bus.replay("k-0").await.unwrap());
    eventually("both mails", async || mails.count() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn handler_that_takes_too_long_has_failed() {
    let bus = bus();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let config = ConsumerConfig { max_attempts: 2, ..quick() };
    let consumer = Consumer::builder(bus.clone()).config(config).on_any(move |_: Delivery| {
        count.fetch_add(1, SeqCst);
        std::future::pending::<Result<(), Error>>()
    });
    let consumer = consumer.start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("given up", async || consumer.snapshot().dead_lettered == 1).await;
    assert_eq!(calls.load(SeqCst), 2);
    assert!(bus.dead_letters(1).await.unwrap()[0].reason.contains("longer than 500ms"));
}

#[tokio::test(start_paused = true)]
async fn topic_without_a_handler_is_a_dead_letter() {
    let bus = bus();
    let consumer = Consumer::builder(bus.clone()).on("other", |_: Delivery| async { Ok::<_, Error>(()) });
    let consumer = consumer.start().unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("given up", async || consumer.snapshot().dead_lettered == 1).await;
    let letter = &bus.dead_letters(1).await.unwrap()[0];
    assert!(letter.reason.contains("no handler for topic test.numbered"), "{}", letter.reason);
}

#[tokio::test(start_paused = true)]
async fn handler_that_succeeded_is_not_called_again_for_another_that_failed() {
    let bus = bus();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let journal = Journal::default();
    let seen = journal.clone();
    let consumer = Consumer::builder(bus.clone())
        .config(quick())
        .processed(MemoryProcessed::new(Duration::from_secs(3600), 1000))
        .on("test.numbered", move |delivery: Delivery| {
            count.fetch_add(1, SeqCst);
            async move { delivery.event.follow_up("test.followed", 1) }
        })
        .on(
            "test.numbered",
            |delivery: Delivery| async move { if delivery.attempt < 4 { Err("not yet") } else { Ok(()) } },
        )
        .on("test.followed", move |delivery: Delivery| {
            seen.done(&delivery.event);
            async { Ok::<_, Error>(()) }
        })
        .start()
        .unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    eventually("what follows from the first is not lost", async || journal.count() == 1).await;
    assert_eq!((calls.load(SeqCst), consumer.snapshot().known), (1, 3));
    consumer.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn event_that_ended_the_process_at_every_attempt_is_given_up() {
    let bus = bus();
    bus.publish(&event("k", 0)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(bus.claim(1, Duration::from_secs(1)).await.unwrap().len(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let never = |_: Delivery| async { unreachable!("not called") as Result<(), Error> };
    let config = ConsumerConfig { max_attempts: 3, ..quick() };
    let consumer = Consumer::builder(bus.clone()).config(config).on_any(never).start().unwrap();
    eventually("given up", async || consumer.snapshot().dead_lettered == 1).await;
}

#[tokio::test(start_paused = true)]
async fn forwarded_events_arrive_in_order_and_once() {
    let (from, to) = (bus(), bus());
    for number in 0..20 {
        from.publish(&event("k", number)).await.unwrap();
    }
    // One went over before, by a process that died then.
    to.publish(&event("k", 0)).await.unwrap();
    let consumer = Consumer::builder(from.clone()).config(quick()).on_any(forward_to(to.clone())).start().unwrap();
    eventually("all over", async || from.lag().await.unwrap().waiting == 0).await;
    consumer.shutdown(Duration::from_secs(1)).await;
    let journal = Journal::default();
    let seen = journal.clone();
    let consumer = Consumer::builder(to.clone()).config(quick()).on_any(move |delivery: Delivery| {
        seen.begin(&delivery.event);
        seen.done(&delivery.event);
        async { Ok::<_, Error>(()) }
    });
    let consumer = consumer.start().unwrap();
    eventually("all handled", async || journal.count() == 20).await;
    consumer.shutdown(Duration::from_secs(1)).await;
    assert_eq!(journal.begun("k"), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn consumer_without_a_handler_is_refused() {
    assert!(matches!(Consumer::builder(bus()).start(), Err(Error::Config { field: "handlers", .. })));
}
