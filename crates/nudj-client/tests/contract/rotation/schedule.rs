//! When keys are replaced that nobody asks to replace.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
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
