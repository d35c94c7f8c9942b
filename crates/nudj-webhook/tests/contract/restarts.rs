//! An answered delivery survives kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::child::{Process, Settings, effects};
use crate::harness::{START, USER_UPDATED, eventually, nudj, signed_head};
use crate::wire::{exchange, post};

fn settings(folder: &std::path::Path) -> Settings {
    let mut settings = Settings {
        inbox: Some(folder.join("inbox.db")),
        effects: folder.join("effects"),
        handler_ms: 5,
        ..Settings::default()
    };
    settings.config.queue.handler_timeout = Duration::from_millis(500);
    settings.config.queue.poll_interval = Duration::from_millis(50);
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_delivery_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut answered = BTreeSet::new();
    for round in 0..5 {
        let process = Process::start(&settings);
        let address = process.address;
        let good = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let good = Arc::clone(&good);
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for number in 0.. {
                        let id = format!("r{round}-s{sender}-{number}");
                        match post(address, &signed_head(&nudj(), &id, START, USER_UPDATED), USER_UPDATED).await {
                            Some(200) => {
                                good.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                mine.push(id);
                            }
                            // The process is gone.
                            None => break,
                            Some(other) => panic!("{id}: {other}"),
                        }
                    }
                    mine
                })
            })
            .collect();
        eventually("some deliveries", async || good.load(std::sync::atomic::Ordering::SeqCst) >= 60).await;
        process.kill();
        for sender in senders {
            answered.extend(sender.await.unwrap());
        }
    }
    let before: BTreeSet<_> = effects(&settings.effects).into_iter().collect();
    assert!(answered.difference(&before).next().is_some(), "the kills came while deliveries were waiting");

    let process = Process::start(&settings);
    eventually("every answered delivery is handled", async || {
        let done: BTreeSet<_> = effects(&settings.effects).into_iter().collect();
        answered.is_subset(&done)
    })
    .await;
    // The sender repeats them: known, after all the kills.
    for id in answered.iter().take(100) {
        let head = signed_head(&nudj(), id, START, USER_UPDATED);
        let (status, text) = exchange(process.address, &head, USER_UPDATED).await.unwrap();
        assert_eq!((status, text.contains("duplicate")), (200, true), "{id}: {text}");
    }
    // Only what was in a handler's hands at a kill may have been handled twice: at most 8 a kill.
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in effects(&settings.effects) {
        *times.entry(id).or_default() += 1;
    }
    assert!(times.values().filter(|times| **times > 1).count() <= 5 * 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recorded_is_answered_503() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let config = crate::harness::config();
    let inbox = nudj_webhook::inbox::SqliteInbox::open(&path, &config).await.unwrap();
    let notes = crate::harness::Notes::default();
    let receiver = nudj_webhook::Receiver::builder()
        .config(config)
        .secret(crate::harness::NUDJ_SECRET)
        .inbox(inbox)
        .on_any(notes.succeeding())
        .build()
        .unwrap();
    let send = async || crate::harness::send(&receiver.service(), crate::harness::delivery("d1", USER_UPDATED)).await;

    // Somebody takes the table away, and puts it back.
    let other =
        sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let run = async |sql: &'static str| sqlx::query(sql).execute(&other).await.map(drop).unwrap();
    run("ALTER TABLE nudj_webhook_inbox RENAME TO away").await;
    assert_eq!(send().await, http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(receiver.snapshot().queue_depth, 0, "its place in the queue was given back");
    run("ALTER TABLE away RENAME TO nudj_webhook_inbox").await;
    assert_eq!(send().await, http::StatusCode::OK);
    notes.reached(1).await;
    assert_eq!(receiver.snapshot().unavailable, 1);
}

/// A receiver on the file, two hours later each time.
async fn receiver(path: &std::path::Path, hours: u32, notes: impl nudj_webhook::Handler) -> nudj_webhook::Receiver {
    let mut config = crate::harness::config();
    config.retry.base_delay = Duration::from_secs(3600);
    config.retry.max_delay = Duration::from_secs(3600);
    let inbox = nudj_webhook::inbox::SqliteInbox::open(path, &config).await.unwrap();
    nudj_webhook::Receiver::builder()
        .config(config)
        .secret(crate::harness::NUDJ_SECRET)
        .inbox(inbox)
        .clock(crate::harness::Clock::start().later(Duration::from_secs(3600) * hours))
        .on_any(notes)
        .build()
        .unwrap()
}

#[tokio::test]
async fn shutdown_leaves_what_waits_for_a_retry_to_the_next_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let notes = crate::harness::Notes::default();
    let first = receiver(&path, 0, notes.handler(|_| Err("not now".into()))).await;
    let delivery = crate::harness::delivery("d1", USER_UPDATED);
    assert_eq!(crate::harness::send(&first.service(), delivery).await, http::StatusCode::OK);
    eventually("the first attempt", async || first.snapshot().failed_attempts == 1).await;
    let report = first.shutdown(Duration::from_secs(600)).await;
    assert_eq!((report.left, report.kept, report.cut_off), (1, true, 0));

    let second = receiver(&path, 2, notes.succeeding()).await;
    assert_eq!(second.snapshot().queue_depth, 1);
    notes.reached(2).await;
    assert_eq!(notes.attempts(), [1, 2]);
    assert_eq!(second.shutdown(Duration::from_secs(30)).await.left, 0);
}

#[tokio::test]
async fn attempt_cut_off_by_the_deadline_is_made_again_and_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let begun = std::sync::Arc::new(tokio::sync::Notify::new());
    let hangs = {
        let begun = std::sync::Arc::clone(&begun);
        move |_: nudj_webhook::Delivery| {
            begun.notify_one();
            std::future::pending::<Result<(), std::io::Error>>()
        }
    };
    let first = receiver(&path, 0, hangs).await;
    let delivery = crate::harness::delivery("d1", USER_UPDATED);
    assert_eq!(crate::harness::send(&first.service(), delivery).await, http::StatusCode::OK);
    begun.notified().await;
    let report = first.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.left, report.kept, report.cut_off), (1, true, 1));

    let notes = crate::harness::Notes::default();
    let second = receiver(&path, 0, notes.succeeding()).await;
    notes.reached(1).await;
    assert_eq!(notes.attempts(), [1]);
    second.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn handler_that_had_succeeded_at_the_deadline_is_not_called_by_the_next_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = async || {
        let path = folder.path().join("inbox.db");
        nudj_webhook::inbox::SqliteInbox::open(path, &crate::harness::config()).await.unwrap()
    };
    let builder = async || {
        let builder = nudj_webhook::Receiver::builder().config(crate::harness::config());
        builder.secret(crate::harness::NUDJ_SECRET).clock(crate::harness::Clock::start()).inbox(inbox().await)
    };
    let (fast, slow) = (crate::harness::Notes::default(), crate::harness::Notes::default());
    let hangs = async |_: nudj_webhook::Delivery| std::future::pending::<Result<(), std::io::Error>>().await;
    let first = builder().await.on_any(fast.succeeding()).on_any(hangs).build().unwrap();
    let delivery = crate::harness::delivery("d1", USER_UPDATED);
    assert_eq!(crate::harness::send(&first.service(), delivery).await, http::StatusCode::OK);
    fast.reached(1).await;
    let report = first.shutdown(Duration::from_millis(20)).await;
    assert_eq!((report.left, report.kept, report.cut_off), (1, true, 1));

    let second = builder().await.on_any(fast.succeeding()).on_any(slow.succeeding()).build().unwrap();
    slow.reached(1).await;
    assert_eq!(second.shutdown(Duration::from_secs(30)).await.left, 0);
    assert_eq!((fast.attempts(), slow.attempts()), (vec![1], vec![1]));
}

#[tokio::test]
async fn database_that_fails_when_the_handler_has_ended_calls_no_handler_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let handler = {
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        move |_: nudj_webhook::Delivery| {
            calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move { gate.acquire().await.map(drop) }
        }
    };
    let receiver = receiver(&path, 0, handler).await;
    let delivery = crate::harness::delivery("d1", USER_UPDATED);
    assert_eq!(crate::harness::send(&receiver.service(), delivery).await, http::StatusCode::OK);
    eventually("called", async || calls.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
    let other =
        sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let run = async |sql: &'static str| sqlx::query(sql).execute(&other).await.map(drop).unwrap();
    run("ALTER TABLE nudj_webhook_inbox RENAME TO away").await;
    gate.add_permits(1);
    // The claims fail as well, but only once a second.
    eventually("tried in vain", async || receiver.snapshot().store_errors >= 3).await;
    run("ALTER TABLE away RENAME TO nudj_webhook_inbox").await;
    eventually("noted", async || receiver.snapshot().handled == 1).await;
    assert_eq!(receiver.shutdown(Duration::from_secs(30)).await.left, 0);
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn delivery_that_ends_the_process_each_time_is_given_up() {
    use nudj_webhook::inbox::Inbox as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let notes = crate::harness::Notes::default();
    let first = receiver(&path, 0, notes.succeeding()).await;
    first.shutdown(Duration::ZERO).await;
    let inbox = nudj_webhook::inbox::SqliteInbox::open(&path, &crate::harness::config()).await.unwrap();
    inbox.record(arrival("d1")).await.unwrap();
    // Five processes took it, and none came back.
    for attempt in 1..=5 {
        assert_eq!(inbox.claim(1, START * 1000, Duration::ZERO).await.unwrap()[0].attempt, attempt);
    }
    let second = receiver(&path, 1, notes.succeeding()).await;
    eventually("given up", async || second.snapshot().dead_lettered == 1).await;
    let letter = second.dead_letters(1).await.unwrap().remove(0);
    assert!(letter.reason.contains("process ended"), "{}", letter.reason);
    assert_eq!(notes.len(), 0);
}

#[tokio::test]
async fn what_another_process_recorded_is_found() {
    use nudj_webhook::inbox::Inbox as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let notes = crate::harness::Notes::default();
    let _receiver = receiver(&path, 1, notes.succeeding()).await;
    let other = nudj_webhook::inbox::SqliteInbox::open(&path, &crate::harness::config()).await.unwrap();
    for number in 1..=2 {
        other.record(arrival(&format!("d{number}"))).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), notes.reached(number)).await.unwrap();
    }
}

fn arrival(id: &str) -> nudj_webhook::inbox::Arrival {
    nudj_webhook::inbox::Arrival {
        id: id.to_owned(),
        body_key: None,
        event: "user.updated".into(),
        body: bytes::Bytes::from_static(USER_UPDATED),
        received_at: START * 1000,
    }
}
