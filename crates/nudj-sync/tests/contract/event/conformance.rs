//! What every engine promises, asked of each in turn by [`conformance!`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nudj_sync::event::{
    AfterDeadLetter, Consumer, ConsumerConfig, Delivery, Event, EventBus, Permanent, Published, Settlement,
};
use parking_lot::Mutex;

use super::harness::{Journal, event, eventually, nested, number, quick};
pub(crate) use super::poison::poison_stops_no_other_event_and_can_be_redriven;
pub(crate) use super::random::random_failures;

/// An engine under test.
#[async_trait]
pub(crate) trait Engine: Sync {
    /// A new, empty bus, whose leases may be as long as [`quick`]'s.
    async fn bus(&self, policy: AfterDeadLetter) -> Arc<dyn EventBus>;
}

/// Every promise as a test, for an `async fn() -> Option<impl Engine>`; `None` where the engine's server is not there.
macro_rules! conformance {
    ($engine:path, $cases:literal) => {
        $crate::event::conformance::conformance! { $engine:
            published_twice_is_handled_once
            later_events_of_a_key_wait_for_a_retry
            dead_letter_holds_its_key_until_it_is_replayed
            discarded_dead_letter_lets_its_key_go_on
            dead_letter_lets_its_key_pass_where_that_is_the_policy
            lease_that_runs_out_is_given_out_again_and_cannot_be_settled
            released_event_comes_again
            replayed_event_is_no_first_attempt_again
            replay_is_not_undone_by_who_says_again_that_it_is_dead
            replayed_event_is_handled_however_few_attempts_are_allowed
            retry_may_be_as_far_away_as_one_likes
            cut_off_event_is_no_first_attempt_again
            follow_ups_are_published_with_the_settlement
            lag_tells_what_waits
            event_that_cannot_be_carried_is_refused
            poison_stops_no_other_event_and_can_be_redriven
        }

        #[test]
        fn order_per_key_and_at_least_once_hold_under_random_failures() {
            use proptest::test_runner::{Config, TestRunner};

            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let mut runner = TestRunner::new(Config { cases: $cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() });
            let strategy = (proptest::num::u64::ANY, 0.0..0.4_f64);
            let outcome = runner.run(&strategy, |(seed, failures)| {
                runtime.block_on(async {
                    if let Some(engine) = $engine().await {
                        $crate::event::conformance::random_failures(&engine, seed, failures).await;
                    }
                });
                Ok(())
            });
            outcome.unwrap();
        }
    };
    ($engine:path: $($test:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(engine) = $engine().await {
                    $crate::event::conformance::$test(&engine).await;
                }
            }
        )+
    };
}
pub(crate) use conformance;

pub(super) const LEASE: Duration = Duration::from_secs(1);

pub(super) async fn hold(engine: &dyn Engine) -> Arc<dyn EventBus> {
    engine.bus(AfterDeadLetter::Hold).await
}

/// Claims until something comes.
pub(super) async fn claim_one(bus: &dyn EventBus) -> nudj_sync::event::Claimed {
    let found = Mutex::new(None);
    eventually("something to claim", async || {
        let mut claimed = bus.claim(1, LEASE).await.unwrap();
        assert!(claimed.len() <= 1);
        *found.lock() = claimed.pop();
        found.lock().is_some()
    })
    .await;
    found.into_inner().unwrap()
}

pub(crate) async fn published_twice_is_handled_once(engine: &dyn Engine) {
    let bus = hold(engine).await;
    assert_eq!(bus.publish(&event("k", 0)).await.unwrap(), Published::New);
    assert_eq!(bus.publish(&event("k", 0)).await.unwrap(), Published::Duplicate);
    let first = claim_one(&*bus).await;
    assert!(bus.settle(&first, &Settlement::Done(Vec::new())).await.unwrap());
    assert_eq!(bus.publish(&event("k", 0)).await.unwrap(), Published::Duplicate, "also when it is done");
    bus.publish(&event("k", 1)).await.unwrap();
    assert_eq!(claim_one(&*bus).await.event.id, "k-1");
}

pub(crate) async fn later_events_of_a_key_wait_for_a_retry(engine: &dyn Engine) {
    let bus = hold(engine).await;
    for number in 0..3 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    let journal = Journal::default();
    let seen = journal.clone();
    let consumer = Consumer::of(Arc::clone(&bus)).config(quick()).on_any(move |delivery: Delivery| {
        seen.begin(&delivery.event);
        let fails = number(&delivery.event) == 0 && delivery.attempt < 4;
        if !fails {
            seen.done(&delivery.event);
        }
        async move { if fails { Err("not yet") } else { Ok(()) } }
    });
    let consumer = consumer.start().unwrap();
    eventually("all three", async || journal.count() == 3).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(journal.begun("k"), [0, 0, 0, 0, 1, 2]);
}

/// A consumer that refuses number 1 of key `k` for ever while `sick`, over three events of `k` and one of each other key.
async fn poisoned(bus: &Arc<dyn EventBus>, journal: &Journal, sick: &Arc<Mutex<bool>>) -> Consumer {
    for number in 0..3 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    for other in ["a", "b", "c"] {
        bus.publish(&event(other, 0)).await.unwrap();
    }
    let (journal, sick) = (journal.clone(), Arc::clone(sick));
    let handler = move |delivery: Delivery| {
        journal.begin(&delivery.event);
        let poison = delivery.event.key == "k" && number(&delivery.event) == 1 && *sick.lock();
        if !poison {
            journal.done(&delivery.event);
        }
        async move { if poison { Err(Permanent::new("poison")) } else { Ok(()) } }
    };
    Consumer::of(Arc::clone(bus)).config(quick()).on_any(handler).start().unwrap()
}

async fn dead_ids(bus: &dyn EventBus) -> Vec<String> {
    bus.dead_letters(10).await.unwrap().into_iter().map(|letter| letter.event.id).collect()
}

pub(crate) async fn dead_letter_holds_its_key_until_it_is_replayed(engine: &dyn Engine) {
    let bus = hold(engine).await;
    let (journal, sick) = (Journal::default(), Arc::new(Mutex::new(true)));
    let consumer = poisoned(&bus, &journal, &sick).await;
    eventually("the others", async || journal.count() == 4 && consumer.snapshot().dead_lettered >= 1).await;
    let letters = bus.dead_letters(1).await.unwrap();
    assert_eq!((letters[0].event.id.as_str(), letters[0].attempts), ("k-1", 1));
    assert!(letters[0].reason.contains("poison"), "{}", letters[0].reason);
    // One that comes later waits as well.
    bus.publish(&event("k", 3)).await.unwrap();
    bus.publish(&event("z", 0)).await.unwrap();
    eventually("another key", async || journal.count() == 5).await;
    assert_eq!(journal.begun("k"), [0, 1]);

    assert!(!bus.replay("nobody").await.unwrap());
    assert!(bus.replay("k-1").await.unwrap());
    eventually("it dies again", async || journal.begun("k") == [0, 1, 1]).await;
    eventually("it is listed", async || dead_ids(&*bus).await.first().is_some_and(|id| id == "k-1")).await;
    *sick.lock() = false;
    eventually("all of the key", async || {
        // Dead or on its way to it: a replay too early finds nothing.
        bus.replay("k-1").await.unwrap();
        journal.count() == 8
    })
    .await;
    consumer.shutdown(Duration::from_secs(30)).await;
    journal.assert_in_order();
    assert_eq!(dead_ids(&*bus).await, [""; 0]);
}

pub(crate) async fn discarded_dead_letter_lets_its_key_go_on(engine: &dyn Engine) {
    let bus = hold(engine).await;
    let (journal, sick) = (Journal::default(), Arc::new(Mutex::new(true)));
    let consumer = poisoned(&bus, &journal, &sick).await;
    eventually("the others", async || journal.count() == 4 && consumer.snapshot().dead_lettered >= 1).await;
    assert!(bus.discard("k-1").await.unwrap());
    assert!(!bus.discard("k-1").await.unwrap());
    eventually("the rest of the key", async || journal.count() == 5).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(journal.begun("k"), [0, 1, 2]);
    assert_eq!(dead_ids(&*bus).await, [""; 0]);
}

pub(crate) async fn dead_letter_lets_its_key_pass_where_that_is_the_policy(engine: &dyn Engine) {
    let bus = engine.bus(AfterDeadLetter::Pass).await;
    let (journal, sick) = (Journal::default(), Arc::new(Mutex::new(true)));
    let consumer = poisoned(&bus, &journal, &sick).await;
    eventually("the others", async || journal.count() == 5 && consumer.snapshot().dead_lettered >= 1).await;
    assert_eq!(dead_ids(&*bus).await, ["k-1"]);
    *sick.lock() = false;
    assert!(bus.replay("k-1").await.unwrap());
    eventually("the replayed one", async || journal.count() == 6).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(journal.begun("k"), [0, 1, 2, 1]);
    assert_eq!(dead_ids(&*bus).await, [""; 0]);
}

pub(crate) async fn lease_that_runs_out_is_given_out_again_and_cannot_be_settled(engine: &dyn Engine) {
    let bus = hold(engine).await;
    bus.publish(&event("k", 0)).await.unwrap();
    bus.publish(&event("k", 1)).await.unwrap();
    let first = claim_one(&*bus).await;
    let second = claim_one(&*bus).await;
    assert_eq!((&second.event, second.attempt), (&first.event, 2));
    assert!(!bus.settle(&first, &Settlement::Done(Vec::new())).await.unwrap(), "the lease is not ours");
    assert!(bus.settle(&second, &Settlement::Done(Vec::new())).await.unwrap());
    assert_eq!(claim_one(&*bus).await.event.id, "k-1");
}

pub(crate) async fn released_event_comes_again(engine: &dyn Engine) {
    let bus = hold(engine).await;
    bus.publish(&event("k", 0)).await.unwrap();
    let first = claim_one(&*bus).await;
    assert!(bus.settle(&first, &Settlement::Release).await.unwrap());
    assert_eq!(claim_one(&*bus).await.event, first.event);
}

pub(crate) async fn replayed_event_is_no_first_attempt_again(engine: &dyn Engine) {
    for (number, policy) in [AfterDeadLetter::Hold, AfterDeadLetter::Pass].into_iter().enumerate() {
        let (bus, event) = (engine.bus(policy).await, event("k", number));
        bus.publish(&event).await.unwrap();
        let first = claim_one(&*bus).await;
        let again = Settlement::Retry { after: Duration::ZERO, reason: "lost".to_owned() };
        assert!(bus.settle(&first, &again).await.unwrap());
        let second = claim_one(&*bus).await;
        assert_eq!((first.attempt, second.attempt), (1, 2));
        assert!(bus.settle(&second, &Settlement::Dead { reason: "lost again".to_owned() }).await.unwrap());
        eventually("it is listed", async || dead_ids(&*bus).await == [event.id.as_str()]).await;
        assert!(bus.replay(&event.id).await.unwrap());
        let replayed = claim_one(&*bus).await;
        assert_eq!(replayed.attempt, 2, "{policy:?}: one of the two may have had its effect");
        assert!(bus.settle(&replayed, &Settlement::Done(Vec::new())).await.unwrap());
    }
}

pub(crate) async fn replay_is_not_undone_by_who_says_again_that_it_is_dead(engine: &dyn Engine) {
    for (number, policy) in [AfterDeadLetter::Hold, AfterDeadLetter::Pass].into_iter().enumerate() {
        let (bus, event) = (engine.bus(policy).await, event("k", number));
        bus.publish(&event).await.unwrap();
        let claimed = claim_one(&*bus).await;
        let dead = Settlement::Dead { reason: "the answer to this was lost".to_owned() };
        assert!(bus.settle(&claimed, &dead).await.unwrap());
        eventually("it is listed", async || dead_ids(&*bus).await == [event.id.as_str()]).await;
        assert!(bus.replay(&event.id).await.unwrap());
        assert!(!bus.settle(&claimed, &dead).await.unwrap(), "{policy:?}");
        let replayed = claim_one(&*bus).await;
        assert_eq!(replayed.event, event, "{policy:?}");
        assert!(bus.settle(&replayed, &Settlement::Done(Vec::new())).await.unwrap());
    }
}

/// What a crash left at its second attempt counted as repeated, and with one attempt allowed was given up again without a call.
pub(crate) async fn replayed_event_is_handled_however_few_attempts_are_allowed(engine: &dyn Engine) {
    for (policy, attempts) in [(AfterDeadLetter::Hold, 1), (AfterDeadLetter::Pass, 2), (AfterDeadLetter::Hold, 2)] {
        let (bus, event) = (engine.bus(policy).await, event(&format!("{policy:?}"), attempts));
        bus.publish(&event).await.unwrap();
        for attempt in 1..=attempts {
            let claimed = claim_one(&*bus).await;
            let last = attempt == attempts;
            let reason = "as a crash left it".to_owned();
            let settlement =
                if last { Settlement::Dead { reason } } else { Settlement::Retry { after: Duration::ZERO, reason } };
            assert!(bus.settle(&claimed, &settlement).await.unwrap());
        }
        eventually("it is listed", async || dead_ids(&*bus).await == [event.id.as_str()]).await;
        assert!(bus.replay(&event.id).await.unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&seen);
        let config = ConsumerConfig { max_attempts: 1, ..quick() };
        let consumer = Consumer::of(Arc::clone(&bus)).config(config).on_any(move |delivery: Delivery| {
            calls.lock().push(delivery.attempt);
            async { Ok::<_, nudj_sync::Error>(()) }
        });
        let consumer = consumer.start().unwrap();
        eventually("it is called", async || !seen.lock().is_empty()).await;
        consumer.shutdown(Duration::from_secs(30)).await;
        assert_eq!(*seen.lock(), [2], "as a repeat, for an earlier attempt may have had its effect");
        assert_eq!(dead_ids(&*bus).await, [""; 0]);
    }
}

pub(crate) async fn retry_may_be_as_far_away_as_one_likes(engine: &dyn Engine) {
    let bus = hold(engine).await;
    bus.publish(&event("k", 0)).await.unwrap();
    let claimed = claim_one(&*bus).await;
    let never = Settlement::Retry { after: Duration::MAX, reason: "not in our time".to_owned() };
    assert!(bus.settle(&claimed, &never).await.unwrap());
    assert_eq!(bus.claim(1, LEASE).await.unwrap(), []);
    let waits = tokio::time::timeout(Duration::from_millis(50), bus.changed(Duration::MAX));
    let _ = waits.await;
}

pub(crate) async fn cut_off_event_is_no_first_attempt_again(engine: &dyn Engine) {
    let bus = hold(engine).await;
    bus.publish(&event("k", 0)).await.unwrap();
    let journal = Journal::default();
    let seen = journal.clone();
    let consumer = Consumer::of(Arc::clone(&bus)).config(quick()).on_any(move |delivery: Delivery| {
        seen.begin(&delivery.event);
        std::future::pending::<Result<(), nudj_sync::Error>>()
    });
    let consumer = consumer.start().unwrap();
    eventually("it is in hand", async || !journal.begun("k").is_empty()).await;
    consumer.shutdown(Duration::ZERO).await;
    assert!(claim_one(&*bus).await.attempt > 1);
}

pub(crate) async fn follow_ups_are_published_with_the_settlement(engine: &dyn Engine) {
    let bus = hold(engine).await;
    bus.publish(&event("k", 0)).await.unwrap();
    let claimed = claim_one(&*bus).await;
    let follow_up = claimed.event.follow_up("test.followed", 7).unwrap();
    assert!(bus.settle(&claimed, &Settlement::Done(vec![follow_up.clone(), follow_up.clone()])).await.unwrap());
    assert_eq!(claim_one(&*bus).await.event, follow_up);
}

pub(crate) async fn lag_tells_what_waits(engine: &dyn Engine) {
    let bus = hold(engine).await;
    assert_eq!(bus.lag().await.unwrap(), nudj_sync::event::Lag::default());
    for number in 0..3 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    let lag = bus.lag().await.unwrap();
    assert_eq!((lag.waiting, lag.dead_letters), (3, 0));
    let claimed = claim_one(&*bus).await;
    assert_eq!(bus.lag().await.unwrap().waiting, 3, "what is in somebody's hands waits still");
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: "poison".to_owned() }).await.unwrap());
    let dead = bus.lag().await.unwrap();
    assert_eq!((dead.waiting, dead.dead_letters), (2, 1));
    eventually("age grows", async || {
        bus.lag().await.unwrap().oldest_age.is_some_and(|age| age >= Duration::from_millis(20))
    })
    .await;
}

pub(crate) async fn event_that_cannot_be_carried_is_refused(engine: &dyn Engine) {
    let bus = hold(engine).await;
    let wrong = Event { key: String::new(), ..event("k", 0) };
    assert!(matches!(bus.publish(&wrong).await, Err(nudj_sync::Error::Config { field: "event.key", .. })));
    let deep = Event { payload: nested(127), ..event("k", 0) };
    assert!(matches!(bus.publish(&deep).await, Err(nudj_sync::Error::Config { field: "event.payload", .. })));
    // The deepest that is allowed comes back, as an event and as a dead letter.
    let deepest = Event { payload: nested(100), ..event("k", 0) };
    bus.publish(&deepest).await.unwrap();
    let claimed = claim_one(&*bus).await;
    assert_eq!(claimed.event, deepest);
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: "deep".to_owned() }).await.unwrap());
    eventually("it is listed", async || {
        bus.dead_letters(1).await.unwrap().iter().any(|letter| letter.event == deepest)
    })
    .await;
}
