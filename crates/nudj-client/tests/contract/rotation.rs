//! Keys that are replaced: stored before they are used, and one that works after a crash between any two steps.

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
    credentials::rotation::{
        ApiRotator, Done, FileStore, KeyRotator, Revision, Rotation, RotationError, SecretStore, StoredKey, StoredKeys,
    },
};
use nudj_mock::MockNudj;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;

use super::quick;

mod schedule;

/// Counts steps, and at one of them ends the process: nothing after it happens.
#[derive(Default)]
struct Crash {
    at: Option<usize>,
    step: AtomicUsize,
    reached: Notify,
}

impl Crash {
    async fn step(&self) {
        if Some(self.step.fetch_add(1, Ordering::Relaxed)) == self.at {
            self.reached.notify_one();
            pending::<()>().await;
        }
    }
}

/// Keeps keys in memory, which here survives a crash.
struct Kept {
    keys: Arc<Mutex<StoredKeys>>,
    crash: Arc<Crash>,
}

impl SecretStore for Kept {
    fn name(&self) -> &str {
        "memory"
    }

    fn load(&self) -> Done<'_, StoredKeys> {
        let keys = self.keys.lock().unwrap().clone();
        Box::pin(std::future::ready(Ok(keys)))
    }

    fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
        Box::pin(async move {
            self.crash.step().await;
            *self.keys.lock().unwrap() = keys;
            self.crash.step().await;
            Ok(Revision::default())
        })
    }
}

struct Rotator {
    api: ApiRotator,
    crash: Arc<Crash>,
}

impl KeyRotator for Rotator {
    fn name(&self) -> &str {
        self.api.name()
    }

    fn rotate<'r>(&'r self, rotation: &'r str) -> Done<'r, SecretString> {
        Box::pin(async move {
            self.crash.step().await;
            let new = self.api.rotate(rotation).await?;
            self.crash.step().await;
            Ok(new)
        })
    }
}

/// A process: a client over the store, and its rotation.
fn process(mock: &MockNudj, store: Arc<dyn SecretStore>, crash: Arc<Crash>) -> (Client, Rotation) {
    let provider = Arc::new(StoredKey::new(Arc::clone(&store)));
    let client = Client::builder().config(quick(mock)).credentials(provider).build().unwrap();
    let rotator = Rotator { api: ApiRotator::new(client.clone()), crash };
    let rotation = Rotation::new(client.handles().credentials().clone(), Arc::new(rotator), store);
    (client, rotation)
}

fn last_sent(mock: &MockNudj) -> String {
    mock.requests().last().unwrap().header("x-api-token").unwrap().to_owned()
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_a_key_that_works() {
    // Before and after each of: the note that it begins, the new key, the new key stored.
    const STEPS: usize = 6;
    for at in (0..STEPS).map(Some).chain([None]) {
        let mock = MockNudj::start().await.unwrap();
        let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
        let crash = Arc::new(Crash { at, ..Crash::default() });
        let store = |crash: &Arc<Crash>| -> Arc<dyn SecretStore> {
            Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::clone(crash) })
        };
        let (client, rotation) = process(&mock, store(&crash), Arc::clone(&crash));
        client.integration().me().get().await.unwrap();
        let crashed = tokio::select! {
            done = rotation.rotate() => { done.unwrap(); false }
            () = crash.reached.notified() => true,
        };
        assert_eq!(crashed, at.is_some(), "{at:?}");
        // The old process, if it lives on, and then a new one.
        client.integration().me().get().await.unwrap();
        let stored = keys.lock().unwrap().clone();
        let known = |key: &str| {
            [Some(&stored.current), stored.previous.as_ref()]
                .into_iter()
                .flatten()
                .any(|kept| kept.expose_secret() == key)
        };
        assert!(known(&last_sent(&mock)), "no key is used before it is stored: {at:?}");
        assert!(known(mock.token()), "the old key is kept: {at:?}");
        drop((client, rotation));

        let calm = Arc::new(Crash::default());
        let (client, rotation) = process(&mock, store(&calm), calm);
        rotation.resume().await.unwrap();
        client.integration().me().get().await.unwrap();
        let stored = keys.lock().unwrap().clone();
        assert_eq!(last_sent(&mock), stored.current.expose_secret(), "{at:?}");
        assert!(stored.begun.is_none(), "{at:?}");
        // Nothing was begun only when the crash came before the first note.
        assert_eq!(stored.current.expose_secret() == mock.token(), at == Some(0), "{at:?}");
        assert!(!client.handles().credentials().snapshot().has_fallback, "accepted once, the new one is proven");
    }
}

#[tokio::test]
async fn a_server_without_overlap_can_lose_the_key_at_one_point_and_that_is_said() {
    for at in 0..6 {
        let mock = MockNudj::builder().rotation_overlap(Duration::ZERO).start().await.unwrap();
        let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
        let crash = Arc::new(Crash { at: Some(at), ..Crash::default() });
        let store = |crash: &Arc<Crash>| -> Arc<dyn SecretStore> {
            Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::clone(crash) })
        };
        let (client, rotation) = process(&mock, store(&crash), Arc::clone(&crash));
        tokio::select! {
            done = rotation.rotate() => panic!("{done:?}"),
            () = crash.reached.notified() => {}
        }
        drop((client, rotation));
        let calm = Arc::new(Crash::default());
        let (client, rotation) = process(&mock, store(&calm), calm);
        let resumed = rotation.resume().await;
        // Made at the server, and neither its answer nor its key stored.
        if matches!(at, 3 | 4) {
            let error = resumed.unwrap_err();
            assert!(matches!(error, RotationError::KeyLost { .. }), "{error:?}");
            assert!(error.to_string().contains("the key in memory was replaced"), "{error}");
        } else {
            resumed.unwrap();
            client.integration().me().get().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_honours_keys_gives_the_lost_key_again() {
    let mock = MockNudj::builder().idempotency(true).start().await.unwrap();
    let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
    let store = |crash: &Arc<Crash>| -> Arc<dyn SecretStore> {
        Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::clone(crash) })
    };
    let crash = Arc::new(Crash { at: Some(3), ..Crash::default() });
    let (client, rotation) = process(&mock, store(&crash), Arc::clone(&crash));
    tokio::select! {
        done = rotation.rotate() => panic!("{done:?}"),
        () = crash.reached.notified() => {}
    }
    drop((client, rotation));
    let calm = Arc::new(Crash::default());
    let (client, rotation) = process(&mock, store(&calm), calm);
    rotation.resume().await.unwrap();
    client.integration().me().get().await.unwrap();
    let asked = mock.requests().into_iter().filter(|request| request.path.ends_with("/rotate-api-key"));
    let names: Vec<_> = asked.map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!((names.len(), &names[0]), (2, &names[1]));
}

#[tokio::test]
async fn a_key_that_could_not_be_stored_is_kept_and_stored_by_the_next_try() {
    struct Failing {
        kept: Kept,
        writes: AtomicUsize,
    }
    impl SecretStore for Failing {
        fn name(&self) -> &str {
            "failing"
        }

        fn load(&self) -> Done<'_, StoredKeys> {
            self.kept.load()
        }

        fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
            match self.writes.fetch_add(1, Ordering::Relaxed) {
                // The vault is gone just when the key is there; once with the write done and its answer lost.
                1..=3 => Box::pin(std::future::ready(Err("down".into()))),
                7 => Box::pin(async move {
                    self.kept.store(keys).await?;
                    Err("answer lost".into())
                }),
                _ => self.kept.store(keys),
            }
        }
    }
    let mock = MockNudj::builder().rotation_overlap(Duration::ZERO).start().await.unwrap();
    let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
    let kept = Kept { keys: Arc::clone(&keys), crash: Arc::default() };
    let store: Arc<dyn SecretStore> = Arc::new(Failing { kept, writes: AtomicUsize::new(0) });
    let (client, rotation) = process(&mock, store, Arc::default());
    let asked = || mock.requests().iter().filter(|request| request.path.ends_with("/rotate-api-key")).count();
    for attempt in 0..3 {
        let error = rotation.rotate().await.unwrap_err();
        assert_eq!(error.to_string(), "the keys in failing could not be written; they are tried again");
        if attempt == 1 {
            // Somebody wrote the keys anew by hand, so that the next note is the write that fails.
            keys.lock().unwrap().begun = None;
        }
    }
    rotation.rotate().await.unwrap();
    assert_eq!(asked(), 1, "no second key was asked for");
    client.integration().me().get().await.unwrap();

    rotation.rotate().await.unwrap_err();
    rotation.rotate().await.unwrap();
    assert_eq!(asked(), 2, "what was written after all is used");
    client.integration().me().get().await.unwrap();
    assert_eq!(last_sent(&mock), keys.lock().unwrap().current.expose_secret());
}

#[tokio::test]
async fn a_rotation_whose_caller_left_is_finished() {
    let mock = MockNudj::start().await.unwrap();
    let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
    let store: Arc<dyn SecretStore> = Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::default() });
    let (client, rotation) = process(&mock, store, Arc::default());
    let mut leaving = Box::pin(rotation.rotate());
    tokio::select! {
        biased;
        done = &mut leaving => panic!("{done:?}"),
        () = std::future::ready(()) => {}
    }
    drop(leaving);
    // Waits for the one that was left behind, and makes the second.
    rotation.rotate().await.unwrap();
    client.integration().me().get().await.unwrap();
    let asked = mock.requests().iter().filter(|request| request.path.ends_with("/rotate-api-key")).count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_new_key_that_is_refused_falls_back_to_the_old_one_also_after_a_restart() {
    let mock = MockNudj::start().await.unwrap();
    let mut stored = StoredKeys::new("not-yet-known".to_owned());
    stored.previous = Some(mock.token().to_owned().into());
    let keys = Arc::new(Mutex::new(stored));
    let crash = Arc::new(Crash::default());
    let (client, rotation) = process(&mock, Arc::new(Kept { keys, crash: Arc::clone(&crash) }), crash);
    rotation.resume().await.unwrap();
    client.integration().me().get().await.unwrap();
    assert_eq!(mock.request_count(), 2, "the new one, then the old one");
    assert_eq!(last_sent(&mock), mock.token());
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_is_neither_stored_nor_used() {
    struct Bad;
    impl KeyRotator for Bad {
        fn name(&self) -> &str {
            "bad"
        }

        fn rotate<'r>(&'r self, _: &'r str) -> Done<'r, SecretString> {
            Box::pin(std::future::ready(Ok("canary\n".to_owned().into())))
        }
    }
    let mock = MockNudj::start().await.unwrap();
    let keys = Arc::new(Mutex::new(StoredKeys::new(mock.token().to_owned())));
    let store: Arc<dyn SecretStore> = Arc::new(Kept { keys: Arc::clone(&keys), crash: Arc::default() });
    let (client, _) = process(&mock, Arc::clone(&store), Arc::default());
    let rotation = Rotation::new(client.handles().credentials().clone(), Arc::new(Bad), store);
    let error = rotation.rotate().await.unwrap_err();
    assert!(error.to_string().starts_with("the key from bad: ") && !format!("{error:?}").contains("canary"));
    assert_eq!(keys.lock().unwrap().current.expose_secret(), mock.token());
    client.integration().me().get().await.unwrap();
}

#[tokio::test]
async fn rotating_all_the_time_under_load_fails_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let mock = MockNudj::start().await.unwrap();
    std::fs::write(&path, format!(r#"{{"current":"{}"}}"#, mock.token())).unwrap();
    let store: Arc<dyn SecretStore> = Arc::new(FileStore::new(&path));
    let (client, rotation) = process(&mock, Arc::clone(&store), Arc::default());
    let load = {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                client.integration().me().get().await.unwrap();
            }
        })
    };
    for _ in 0..10 {
        rotation.rotate().await.unwrap();
    }
    load.await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    client.integration().me().get().await.unwrap();
    assert_eq!(last_sent(&mock), store.load().await.unwrap().current.expose_secret());

    std::fs::write(&path, r#"{"current":"canary","previous":5}"#).unwrap();
    let error = store.load().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn a_store_that_is_away_when_the_key_is_asked_for_has_lost_no_key() {
    /// Gives the keys to the rotation, which reads them twice, and then is away for the client.
    struct Away {
        kept: Kept,
        loads: AtomicUsize,
    }
    impl SecretStore for Away {
        fn name(&self) -> &str {
            "away"
        }

        fn load(&self) -> Done<'_, StoredKeys> {
            match self.loads.fetch_add(1, Ordering::Relaxed) {
                2 => Box::pin(std::future::ready(Err("down".into()))),
                _ => self.kept.load(),
            }
        }

        fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
            self.kept.store(keys)
        }
    }
    let mock = MockNudj::start().await.unwrap();
    let begun = StoredKeys { begun: Some("a rotation".to_owned()), ..StoredKeys::new(mock.token().to_owned()) };
    let kept = Kept { keys: Arc::new(Mutex::new(begun)), crash: Arc::default() };
    let store: Arc<dyn SecretStore> = Arc::new(Away { kept, loads: AtomicUsize::new(0) });
    let (_client, rotation) = process(&mock, Arc::clone(&store), Arc::default());
    let error = rotation.resume().await.unwrap_err();
    assert!(matches!(error, RotationError::Rotator { .. }), "{error:?}");
    assert_eq!(mock.request_count(), 0);
    let (_client, rotation) = process(&mock, store, Arc::default());
    rotation.resume().await.unwrap();
}
