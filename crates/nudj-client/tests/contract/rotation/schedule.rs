//! When keys are replaced that nobody asks to replace.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use nudj_client::{
    Client,
    credentials::rotation::{Done, KeyRotator, Revision, Rotation, SecretStore, StoredKey, StoredKeys},
};
use secrecy::{ExposeSecret, SecretString};

use super::Kept;

#[tokio::test(start_paused = true)]
async fn a_schedule_rotates_what_is_due_and_tries_again_what_failed() {
    struct Flaky(AtomicUsize);
    impl KeyRotator for Flaky {
        fn name(&self) -> &str {
            "flaky"
        }

        fn rotate<'r>(&'r self, _: &'r str) -> Done<'r, SecretString> {
            let call = self.0.fetch_add(1, Ordering::Relaxed);
            let answer = if call == 0 { Err("not now".into()) } else { Ok(format!("key-{call}").into()) };
            Box::pin(std::future::ready(answer))
        }
    }
    let keys = Arc::new(Mutex::new(StoredKeys::new("by-hand".to_owned())));
    let store: Arc<dyn SecretStore> = Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::default() });
    let mut config = nudj_client::Config::with_endpoints(["http://127.0.0.1:1"]);
    config.retry.max_retries = 0;
    let provider = Arc::new(StoredKey::new(Arc::clone(&store)));
    let client = Client::builder().config(config).credentials(provider).build().unwrap();
    let rotation = Rotation::new(client.handles().credentials().clone(), Arc::new(Flaky(AtomicUsize::new(0))), store);
    let _ = tokio::time::timeout(Duration::from_secs(59), rotation.run()).await;
    assert_eq!(keys.lock().unwrap().current.expose_secret(), "by-hand");
    assert!(keys.lock().unwrap().begun.is_some());
    let _ = tokio::time::timeout(Duration::from_secs(3600), rotation.run()).await;
    assert_eq!(keys.lock().unwrap().current.expose_secret(), "key-1", "and no further before its 30 days");
}

#[tokio::test(start_paused = true)]
async fn no_interval_and_no_forgetful_store_makes_keys_without_end() {
    /// Counts, and from the third key on lets time pass.
    struct Counting(Arc<AtomicUsize>);
    impl KeyRotator for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        fn rotate<'r>(&'r self, _: &'r str) -> Done<'r, SecretString> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                call @ 0..2 => Box::pin(std::future::ready(Ok(format!("key-{call}").into()))),
                _ => Box::pin(pending()),
            }
        }
    }
    struct Forgetful(Kept);
    impl SecretStore for Forgetful {
        fn name(&self) -> &str {
            "forgetful"
        }

        fn load(&self) -> Done<'_, StoredKeys> {
            self.0.load()
        }

        fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
            self.0.store(StoredKeys { rotated_at: None, ..keys })
        }
    }
    for (forgets, every) in [(false, Duration::ZERO), (true, Duration::from_secs(86_400))] {
        let keys = Arc::new(Mutex::new(StoredKeys::new("by-hand".to_owned())));
        let kept = Kept { keys, crash: Arc::default() };
        let store: Arc<dyn SecretStore> = if forgets { Arc::new(Forgetful(kept)) } else { Arc::new(kept) };
        let provider = Arc::new(StoredKey::new(Arc::clone(&store)));
        let config = nudj_client::Config::with_endpoints(["http://127.0.0.1:1"]);
        let client = Client::builder().config(config).credentials(provider).build().unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let rotator = Arc::new(Counting(Arc::clone(&made)));
        let rotation = Rotation::new(client.handles().credentials().clone(), rotator, store).every(every);
        let _ = tokio::time::timeout(Duration::from_secs(59), rotation.run()).await;
        assert_eq!(made.load(Ordering::Relaxed), 1, "forgets {forgets}, every {every:?}");
    }
}

/// A client over `store`, and the rotation of its key.
fn rotation_of(store: &Arc<dyn SecretStore>, rotator: impl KeyRotator) -> (Client, Rotation) {
    let provider = Arc::new(StoredKey::new(Arc::clone(store)));
    let config = nudj_client::Config::with_endpoints(["http://127.0.0.1:1"]);
    let client = Client::builder().config(config).credentials(provider).build().unwrap();
    let rotation = Rotation::new(client.handles().credentials().clone(), Arc::new(rotator), Arc::clone(store));
    (client, rotation)
}

/// Makes another key each time.
struct Another(Arc<AtomicUsize>);

impl KeyRotator for Another {
    fn name(&self) -> &str {
        "another"
    }

    fn rotate<'r>(&'r self, _: &'r str) -> Done<'r, SecretString> {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(format!("key-{call}").into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_noted_by_a_clock_that_was_ahead_is_replaced_no_later_than_if_it_were_new() {
    /// Keeps the first time it was told, whatever it is told after.
    struct Stubborn(Kept, SystemTime);
    impl SecretStore for Stubborn {
        fn name(&self) -> &str {
            "stubborn"
        }

        fn load(&self) -> Done<'_, StoredKeys> {
            self.0.load()
        }

        fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
            self.0.store(StoredKeys { rotated_at: Some(self.1), ..keys })
        }
    }
    let day = Duration::from_secs(86_400);
    let ahead = wall_clock() + 365 * day;
    for is_stubborn in [false, true] {
        let keys = StoredKeys { rotated_at: Some(ahead), ..StoredKeys::new("by-hand".to_owned()) };
        let kept = Kept { keys: Arc::new(Mutex::new(keys)), crash: Arc::default() };
        let store: Arc<dyn SecretStore> = if is_stubborn { Arc::new(Stubborn(kept, ahead)) } else { Arc::new(kept) };
        let made = Arc::new(AtomicUsize::new(0));
        let (_client, rotation) = rotation_of(&store, Another(Arc::clone(&made)));
        let mut running = std::pin::pin!(rotation.run());
        for (days, expected) in [(29, 0), (2, 1), (28, 1), (2, 2)] {
            assert!(tokio::time::timeout(days * day, &mut running).await.is_err());
            assert_eq!(made.load(Ordering::Relaxed), expected, "stubborn {is_stubborn}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_before_a_look_that_went_well_do_not_make_the_next_wait_longer() {
    /// Three failures, a good look, and failures again; notes when it was asked.
    struct Shaky(Arc<Mutex<Vec<tokio::time::Instant>>>);
    impl SecretStore for Shaky {
        fn name(&self) -> &str {
            "shaky"
        }

        fn load(&self) -> Done<'_, StoredKeys> {
            let mut asked = self.0.lock().unwrap();
            asked.push(tokio::time::Instant::now());
            let new = StoredKeys { rotated_at: Some(wall_clock()), ..StoredKeys::new("by-hand".to_owned()) };
            Box::pin(std::future::ready(if asked.len() == 4 { Ok(new) } else { Err("away".into()) }))
        }

        fn store(&self, _: StoredKeys) -> Done<'_, Revision> {
            Box::pin(pending())
        }
    }
    let asked = Arc::new(Mutex::new(Vec::new()));
    let store: Arc<dyn SecretStore> = Arc::new(Shaky(Arc::clone(&asked)));
    let (_client, rotation) = rotation_of(&store, Another(Arc::default()));
    let _ = tokio::time::timeout(Duration::from_secs(2 * 86_400), rotation.run()).await;
    let asked = asked.lock().unwrap();
    let waits: Vec<u64> = asked.windows(2).map(|two| (two[1] - two[0]).as_secs() / 60).collect();
    assert_eq!(waits[..6], [1, 2, 4, 24 * 60, 1, 2], "minutes");
}

#[expect(clippy::disallowed_methods, reason = "the schedule reads the system's time of day")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
