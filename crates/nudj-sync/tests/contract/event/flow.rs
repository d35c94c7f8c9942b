//! The seed's flow against the mock, through the real client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use nudj_client::model::NewUser;
use nudj_mock::{Fault, MockNudj};
use nudj_sync::BoxError;
use nudj_sync::event::{
    Consumer, ConsumerBuilder, Delivery, Event, EventBus, MemoryBus, MemoryConfig, USER_REGISTERED, USER_SYNCED,
    UserDirectory, UserEvent, UserFlow, UserSynced,
};
use parking_lot::Mutex;

use super::harness::{eventually, quick};

const USERS: &str = "/api/v2/admin/users";

/// Everybody is here, but for those whose id begins with `gone`.
pub(crate) struct Directory;

#[async_trait]
impl UserDirectory for Directory {
    async fn find(&self, user_id: &str) -> Result<Option<NewUser>, BoxError> {
        let user = NewUser {
            email: Some(format!("{user_id}@example.com")),
            username: Some(user_id.to_owned()),
            ..NewUser::default()
        };
        Ok(Some(user).filter(|_| !user_id.starts_with("gone")))
    }
}

pub(crate) fn registered(user_id: &str) -> Event {
    let payload = UserEvent { user_id: user_id.to_owned() };
    Event::new(USER_REGISTERED, user_id, payload).unwrap().with_id(format!("registered-{user_id}"))
}

/// How often each external id is at Nudj.
pub(crate) fn at_nudj(mock: &MockNudj) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for user in mock.users() {
        *times.entry(user["externalUserId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times
}

pub(crate) fn once_each(users: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    users.into_iter().map(|user| (user, 1)).collect()
}

type Synced = Arc<Mutex<BTreeMap<String, String>>>;

fn flow(mock: &MockNudj, bus: &MemoryBus) -> (ConsumerBuilder, Synced) {
    let synced = Synced::default();
    let note = Arc::clone(&synced);
    let consumer = Consumer::builder(bus.clone()).config(nudj_sync::event::ConsumerConfig {
        handler_timeout: Duration::from_secs(30),
        lease: Duration::from_secs(60),
        ..quick()
    });
    let consumer = UserFlow::new(crate::nudj::client(mock), Directory).on(consumer);
    let consumer = consumer.on(USER_SYNCED, move |delivery: Delivery| {
        let note = Arc::clone(&note);
        async move {
            let UserSynced { user_id, nudj_user_id } = delivery.event.parse()?;
            note.lock().insert(user_id, nudj_user_id);
            Ok::<_, BoxError>(())
        }
    });
    (consumer, synced)
}

fn bus() -> MemoryBus {
    MemoryBus::new(MemoryConfig::default()).unwrap()
}

async fn mock() -> MockNudj {
    MockNudj::builder().duplicate_users(true).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_users_come_to_nudj_once_each_over_lost_answers_and_failures() {
    let (mock, bus) = (mock().await, bus());
    mock.inject(Fault::status(503).probability(0.1, 7));
    mock.inject(Fault::lost_answer().on(Method::POST, USERS).probability(0.2, 8));
    let (consumer, synced) = flow(&mock, &bus);
    let consumer = consumer.start().unwrap();
    let users: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
    for user in &users {
        bus.publish(&registered(user)).await.unwrap();
        bus.publish(&registered(user)).await.unwrap();
    }
    eventually("all synced", async || synced.lock().len() == users.len()).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(at_nudj(&mock), once_each(users));
    for user in mock.users() {
        assert_eq!(synced.lock().get(user["externalUserId"].as_str().unwrap()).unwrap(), user["id"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_attempt_costs_one_call_and_a_repeat_looks_first() {
    let (mock, bus) = (mock().await, bus());
    mock.inject(Fault::lost_answer().on(Method::POST, USERS).times(1));
    let (consumer, synced) = flow(&mock, &bus);
    let consumer = consumer.start().unwrap();
    bus.publish(&registered("u-1")).await.unwrap();
    eventually("synced", async || synced.lock().len() == 1).await;
    bus.publish(&registered("u-2")).await.unwrap();
    eventually("synced", async || synced.lock().len() == 2).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    let calls: Vec<_> = mock.requests().iter().map(|request| request.method.clone()).collect();
    assert_eq!(calls, [Method::POST, Method::GET, Method::POST]);
}

/// A shutdown cut the handler off while Nudj took its time with the POST. The event came back as a first attempt, and the next process
/// created the user again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_whose_creation_a_shutdown_cut_off_is_looked_up_by_the_next_process() {
    let (mock, bus) = (mock().await, bus());
    mock.inject(Fault::unanswered().on(Method::POST, USERS).times(1));
    let consumer = flow(&mock, &bus).0.start().unwrap();
    bus.publish(&registered("u-1")).await.unwrap();
    eventually("Nudj has done it", async || mock.users_count() == 1).await;
    assert_eq!(consumer.shutdown(Duration::ZERO).await.cut_off, 1);

    let (consumer, synced) = flow(&mock, &bus);
    let consumer = consumer.start().unwrap();
    eventually("synced", async || synced.lock().len() == 1).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(at_nudj(&mock), once_each(["u-1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_synced_is_a_dead_letter_or_nothing() {
    let (mock, bus) = (MockNudj::start().await.unwrap(), bus());
    // Another user has the email address.
    mock.add_user(&serde_json::json!({"email": "taken@example.com", "externalUserId": "somebody"})).unwrap();
    // This very user was there before.
    mock.add_user(&serde_json::json!({"email": "before@example.com", "externalUserId": "before"})).unwrap();
    let (consumer, synced) = flow(&mock, &bus);
    let consumer = consumer.start().unwrap();
    for user in ["gone", "taken", "before"] {
        bus.publish(&registered(user)).await.unwrap();
    }
    bus.publish(&Event::new(USER_REGISTERED, "no payload", ()).unwrap()).await.unwrap();
    eventually("all ended", async || bus.lag().await.unwrap().waiting == 0).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(synced.lock().keys().collect::<Vec<_>>(), ["before"]);
    let letters = bus.dead_letters(10).await.unwrap();
    let keys: std::collections::BTreeSet<_> = letters.iter().map(|letter| letter.event.key.as_str()).collect();
    assert_eq!(keys, ["no payload", "taken"].into());
    assert!(letters.iter().all(|letter| letter.attempts == 1), "no repetition cures them");
}
