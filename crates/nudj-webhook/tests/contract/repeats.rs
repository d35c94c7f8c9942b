//! Repeated and concurrent deliveries, and a secret changed under load.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use nudj_webhook::{Receiver, Scheme, Verifier};

use crate::harness::{
    Clock, NUDJ_SECRET, Notes, STANDARD_SECRET, START, USER_UPDATED, config, delivery, nudj, request, send,
    signed_head, standard,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn same_request_thousand_times_from_32_tasks_has_one_effect() {
    let notes = Notes::default();
    let receiver = Receiver::builder()
        .config(config())
        .secret(NUDJ_SECRET)
        .on("user.updated", notes.succeeding())
        .clock(Clock::start())
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let service = receiver.service();
            tokio::spawn(async move {
                for _ in (task..1000).step_by(32) {
                    assert_eq!(send(&service, delivery("d1", USER_UPDATED)).await, StatusCode::OK);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let report = receiver.shutdown(Duration::from_secs(10)).await;
    let counted = receiver.snapshot();
    assert_eq!((report.left, counted.accepted, counted.duplicate), (0, 1, 999));
    assert_eq!(notes.ids(), ["d1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotation_during_ten_thousand_deliveries_loses_none() {
    let notes = Notes::default();
    let clock = Clock::start();
    let receiver = Receiver::builder()
        .config(config())
        .secret(NUDJ_SECRET)
        .on_any(notes.succeeding())
        .clock(clock)
        .build()
        .unwrap();
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let signers = Arc::new([nudj(), Verifier::new(Scheme::Nudj, ["second secret".into()]).unwrap()]);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (service, receiver) = (receiver.service(), receiver.clone());
            let (sent, signers) = (Arc::clone(&sent), Arc::clone(&signers));
            tokio::spawn(async move {
                for number in (task..10_000).step_by(8) {
                    let count = sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if count == 3000 {
                        receiver.rotate_secret(&"second secret".into(), Duration::from_secs(3600)).unwrap();
                    }
                    // The sender switches some time after the receiver did, and not all of its machines at once.
                    let signer = &signers[usize::from(count > 4000 && number % 3 != 0 || count > 7000)];
                    let head = signed_head(signer, &format!("d{number}"), START, USER_UPDATED);
                    let body = http_body_util::Full::new(bytes::Bytes::from_static(USER_UPDATED));
                    loop {
                        match send(&service, request(head.clone(), body.clone())).await {
                            StatusCode::OK => break,
                            // A full queue: the sender comes again.
                            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
                            other => panic!("{number}: {other}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    receiver.shutdown(Duration::from_secs(30)).await;
    let mut ids = notes.ids();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), notes.len()), (10_000, 10_000));
    assert_eq!(receiver.snapshot().unauthorized, 0);
}

#[tokio::test(start_paused = true)]
async fn id_is_known_for_the_retention() {
    let mut config = config();
    config.replay.retention = Duration::from_secs(600);
    let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let service = receiver.service();
    for (seconds, duplicates) in [(0, 0), (600, 1), (1, 1)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert_eq!(send(&service, delivery("d1", USER_UPDATED)).await, StatusCode::OK);
        assert_eq!(receiver.snapshot().duplicate, duplicates);
    }
    assert_eq!(receiver.snapshot().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn full_memory_of_ids_refuses_rather_than_forgets() {
    let mut config = config();
    config.replay.capacity = 3;
    let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let service = receiver.service();
    for id in ["d1", "d2", "d3"] {
        assert_eq!(send(&service, delivery(id, USER_UPDATED)).await, StatusCode::OK);
    }
    assert_eq!(send(&service, delivery("d4", USER_UPDATED)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send(&service, delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    tokio::time::advance(Duration::from_millis(600_001)).await;
    assert_eq!(send(&service, delivery("d4", USER_UPDATED)).await, StatusCode::OK, "past twice the tolerance");
}

#[tokio::test(start_paused = true)]
async fn captured_request_under_another_id_has_no_effect_when_bodies_are_bound() {
    for (bind_body, effects) in [(false, 2), (true, 1)] {
        let mut config = config();
        config.replay.bind_body = bind_body;
        let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
        for id in ["d1", "forged-id"] {
            assert_eq!(send(&receiver.service(), delivery(id, USER_UPDATED)).await, StatusCode::OK);
        }
        assert_eq!(receiver.snapshot().accepted, effects);
    }
}

#[tokio::test(start_paused = true)]
async fn captured_request_is_known_while_its_event_is_believed_and_refused_afterwards() {
    let mut config = config();
    config.max_event_age = Some(Duration::from_secs(3600));
    config.replay.capacity = 1;
    let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let send = async |id: &str, at: i64| {
        let body = format!(r#"{{"event":"user.updated","timestamp":{at}}}"#);
        send(&receiver.service(), delivery(id, body.as_bytes())).await
    };
    assert_eq!(send("d1", START).await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(3500)).await;
    // Past twice the tolerance; d1 made room for it and was taken once more.
    assert_eq!(send("d2", START + 3500).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((send("d1", START).await, receiver.snapshot().duplicate), (StatusCode::OK, 1));
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(send("d1", START).await, StatusCode::UNAUTHORIZED);
    assert_eq!(receiver.snapshot().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn delivery_without_an_id_is_known_by_its_body() {
    let receiver = Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let anonymous = |body: &'static [u8]| {
        let mut request = delivery("x", body);
        request.headers_mut().remove("x-nudj-delivery-id");
        request
    };
    for (body, accepted) in [
        (USER_UPDATED, 1),
        (USER_UPDATED, 1),
        (br#"{"event":"a","id":"e1"}"#, 2),
        (br#"{"event":"a","id":"e1","retry":1}"#, 2),
        (br#"{"event":"a","id":"e 2"}"#, 3),
        // An id that no id can be stands for nothing.
        (br#"{"event":"a","id":"e 2","other":1}"#, 4),
    ] {
        assert_eq!(send(&receiver.service(), anonymous(body)).await, StatusCode::OK);
        assert_eq!(receiver.snapshot().accepted, accepted, "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn signed_id_is_enough_where_there_is_one() {
    let mut config = config();
    config.scheme = Scheme::Standard;
    config.replay.bind_body = true;
    let receiver = Receiver::builder().config(config).secret(STANDARD_SECRET).clock(Clock::start()).build().unwrap();
    for id in ["m1", "m2"] {
        let head = signed_head(&standard(), id, START, USER_UPDATED);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(USER_UPDATED));
        assert_eq!(send(&receiver.service(), request(head, body)).await, StatusCode::OK);
    }
    assert_eq!(receiver.snapshot().accepted, 2);
}
