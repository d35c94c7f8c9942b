//! Repeats known to several receivers by Redis.

use std::time::Duration;

use http::StatusCode;
use nudj_webhook::Receiver;
use nudj_webhook::inbox::{MemoryInbox, RedisGuard, ReplayGuard, Reservation};

use crate::harness::{Clock, NUDJ_SECRET, Notes, USER_UPDATED, config, delivery, eventually, send};
use crate::redis_server::Redis;

async fn ready(redis: &Redis) -> RedisGuard {
    let guard = RedisGuard::new(redis.url.as_str(), "nudj:webhook:").unwrap();
    eventually("redis is up", async || guard.reserve("ping", "t").await.is_ok()).await;
    guard
}

fn receiver(guard: RedisGuard, notes: &Notes) -> Receiver {
    let config = config();
    Receiver::builder()
        .inbox(MemoryInbox::new(&config).guarded_by(guard))
        .config(config)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(notes.succeeding())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_receivers_share_what_they_have_seen() {
    let Some(redis) = Redis::start("two_receivers_share_what_they_have_seen") else { return };
    let guard = ready(&redis).await;
    let notes = Notes::default();
    let receivers = [receiver(guard.clone(), &notes), receiver(guard, &notes)];
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let service = receivers[task % 2].service();
            tokio::spawn(async move {
                for number in 0..30 {
                    loop {
                        match send(&service, delivery(&format!("d{number}"), USER_UPDATED)).await {
                            StatusCode::OK => break,
                            // The other receiver is about to record it.
                            status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for receiver in &receivers {
        receiver.shutdown(Duration::from_secs(10)).await;
    }
    let mut ids = notes.ids();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), notes.len()), (30, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repeats_at_one_receiver_wait_for_the_first_and_are_all_answered() {
    let Some(redis) = Redis::start("repeats_at_one_receiver_wait_for_the_first_and_are_all_answered") else { return };
    let notes = Notes::default();
    let receiver = receiver(ready(&redis).await, &notes);
    for number in 0..30 {
        let sends = (0..32).map(|_| {
            let service = receiver.service();
            tokio::spawn(async move { send(&service, delivery(&format!("d{number}"), USER_UPDATED)).await })
        });
        for sent in sends.collect::<Vec<_>>() {
            assert_eq!(sent.await.unwrap(), StatusCode::OK);
        }
    }
    receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!((notes.len(), receiver.snapshot().duplicate), (30, 31 * 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_hangs_nothing_is_accepted_and_nothing_is_lost() {
    let Some(redis) = Redis::start("while_redis_hangs_nothing_is_accepted_and_nothing_is_lost") else { return };
    let notes = Notes::default();
    let receiver = receiver(ready(&redis).await, &notes);
    let send = async |id: &str| send(&receiver.service(), delivery(id, USER_UPDATED)).await;
    assert_eq!(send("d1").await, StatusCode::OK);
    redis.signal("-STOP");
    assert_eq!(send("d2").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send("d1").await, StatusCode::OK, "its own repeats are known without Redis");
    redis.signal("-CONT");
    // The stopped server finds our reservation among its unread commands; it was taken back, or runs out.
    eventually("d2 is taken", async || send("d2").await == StatusCode::OK).await;
    receiver.shutdown(Duration::from_secs(5)).await;
    assert_eq!(notes.ids(), ["d1", "d2"]);
}

#[tokio::test]
async fn reservation_is_ours_until_it_is_confirmed_or_given_back() {
    let Some(redis) = Redis::start("reservation_is_ours_until_it_is_confirmed_or_given_back") else { return };
    let guard = ready(&redis).await;
    let ask = async |id: &str, token: &str| guard.reserve(id, token).await.unwrap();
    assert_eq!(ask("d1", "a").await, Reservation::Fresh);
    assert_eq!(ask("d1", "a").await, Reservation::Fresh, "the command was sent twice");
    assert_eq!(ask("d1", "b").await, Reservation::Reserved);
    guard.release("d1", "b").await.unwrap();
    assert_eq!(ask("d1", "b").await, Reservation::Reserved, "only its holder gives it back");
    guard.release("d1", "a").await.unwrap();
    assert_eq!(ask("d1", "b").await, Reservation::Fresh);
    guard.confirm("d1", "b", Duration::from_secs(60)).await.unwrap();
    assert_eq!(ask("d1", "c").await, Reservation::Seen);
    guard.release("d1", "b").await.unwrap();
    assert_eq!(ask("d1", "c").await, Reservation::Seen);
    guard.confirm("d2", "a", Duration::from_millis(1)).await.unwrap();
    eventually("forgotten after its retention", async || ask("d2", "b").await == Reservation::Fresh).await;
    assert!(!format!("{guard:?}").contains("sock"));
}
