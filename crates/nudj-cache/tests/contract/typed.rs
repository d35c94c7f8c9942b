//! Typed values and single flight.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nudj_cache::{CacheConfig, CacheError, Invalidation, MultiLevelCache, SetOptions};
use tokio::{sync::Notify, task::JoinHandle};

use crate::levels::{Shared, cache};

fn memory_only() -> MultiLevelCache {
    MultiLevelCache::builder(CacheConfig::default()).seed(1).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_fifty_that_miss_at_once_one_loads() {
    let cache = memory_only();
    let loads = AtomicU32::new(0);
    let options = SetOptions::default();
    let calls = (0..50).map(|_| {
        cache.get_or_load("k", &options, || async {
            loads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(7)
        })
    });
    let values = futures_util::future::join_all(calls).await;
    assert!(values.iter().all(|value| value.as_deref() == Ok(&7)));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.coalesced), (1, 49));
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_on_many_threads_one_loads() {
    let cache = memory_only();
    let loads = Arc::new(AtomicU32::new(0));
    let release = Arc::new(Notify::new());
    let mut tasks = Vec::new();
    for _ in 0..1000 {
        let (cache, loads, release) = (cache.clone(), Arc::clone(&loads), Arc::clone(&release));
        tasks.push(tokio::spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                release.notified().await;
                Ok::<_, Infallible>(7)
            };
            *cache.get_or_load("k", &SetOptions::default(), load).await.unwrap()
        }));
    }
    tokio::task::yield_now().await;
    release.notify_one();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 7);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn error_is_shared_and_not_kept() {
    let cache = memory_only();
    let options = SetOptions::default();
    let fail = || async {
        tokio::task::yield_now().await;
        Err::<i32, _>(std::io::Error::other("down"))
    };
    let (first, second) = tokio::join!(cache.get_or_load("k", &options, fail), cache.get_or_load("k", &options, fail));
    assert!(Arc::ptr_eq(&first.unwrap_err(), &second.unwrap_err()));
    let value = cache.get_or_load("k", &options, || async { Ok::<_, std::io::Error>(1) }).await;
    assert_eq!(*value.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn load_that_is_dropped_goes_to_one_that_waits() {
    let cache = memory_only();
    let loads = Arc::new(AtomicU32::new(0));
    let call = |hangs: bool| {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        tokio::spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(7)
            };
            *cache.get_or_load("k", &SetOptions::default(), load).await.unwrap()
        })
    };
    let leader = call(true);
    tokio::task::yield_now().await;
    let waiters: Vec<_> = (0..10).map(|_| call(false)).collect();
    tokio::task::yield_now().await;
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    leader.abort();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), 7);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn load_that_panics_leaves_nobody_waiting() {
    let cache = memory_only();
    let panicking = tokio::spawn({
        let cache = cache.clone();
        async move {
            let load = || async {
                tokio::task::yield_now().await;
                panic!("on purpose");
                #[expect(unreachable_code, reason = "names the type")]
                Ok::<i32, Infallible>(0)
            };
            cache.get_or_load("k", &SetOptions::default(), load).await
        }
    });
    tokio::task::yield_now().await;
    let value = cache.get_or_load("k", &SetOptions::default(), || async { Ok::<_, Infallible>(1) }).await;
    assert_eq!(*value.unwrap(), 1);
    assert!(panicking.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn value_whose_load_began_before_a_delete_is_returned_but_not_stored() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    let options = SetOptions::default().tag("user:1");
    let load = || async {
        cache.invalidate(&Invalidation::user(1)).await;
        Ok::<_, Infallible>("old".to_owned())
    };
    assert_eq!(*cache.get_or_load("k", &options, load).await.unwrap(), "old");
    for level in [cache.memory(), &l2.level, &l3.level] {
        assert!(level.lookup("k").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_can_be_read_as_another_type() {
    let cache = memory_only();
    cache.set("k", 5u8, &SetOptions::default()).await.unwrap();
    assert_eq!(cache.get::<i64>("k").await.as_deref(), Some(&5));
    assert_eq!(cache.get::<String>("k").await, None);
    assert_eq!(cache.get_bytes("k").await, None);
}

#[tokio::test(start_paused = true)]
async fn loads_of_two_types_under_one_key_do_not_mix() {
    let cache = memory_only();
    let options = SetOptions::default();
    let number = cache.get_or_load("k", &options, || async {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(5)
    });
    let text = cache.get_or_load("k", &options, || async { Ok::<_, Infallible>("five".to_owned()) });
    let (number, text) = tokio::join!(number, text);
    assert_eq!((*number.unwrap(), text.unwrap().as_str()), (5, "five"));
}

#[tokio::test(start_paused = true)]
async fn value_that_does_not_serialize_is_an_error_of_set_but_not_of_load() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Odd(std::collections::HashMap<(u8, u8), u8>);
    let odd = || Odd([((1, 2), 3)].into());
    let cache = memory_only();
    let error = cache.set("k", odd(), &SetOptions::default()).await.err().unwrap();
    assert!(matches!(error, CacheError::Encode { .. }));
    let loaded = cache.get_or_load("k", &SetOptions::default(), || async { Ok::<_, Infallible>(odd()) }).await;
    assert_eq!(loaded.unwrap().0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_come_back_as_they_were() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2, l3);
    cache.set_bytes("k", bytes::Bytes::from_static(b"\xff\x00"), &SetOptions::default()).await;
    cache.drop_memory();
    assert_eq!(cache.get_bytes("k").await.as_deref(), Some(&b"\xff\x00"[..]));
}

/// A call for a key whose value takes a second to read and says how many were read before it.
fn numbered(cache: &MultiLevelCache, number: &Arc<AtomicU32>) -> JoinHandle<u32> {
    let (cache, number) = (cache.clone(), Arc::clone(number));
    tokio::spawn(async move {
        let load = || async {
            let read = number.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(read)
        };
        *cache.get_or_load("k", &SetOptions::default(), load).await.unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn call_that_comes_after_a_delete_does_not_take_a_value_from_before_it() {
    let cache = memory_only();
    let number = Arc::new(AtomicU32::new(0));
    let call = || numbered(&cache, &number);
    let before = call();
    tokio::task::yield_now().await;
    cache.delete("k").await;
    let after = call();
    assert_eq!((before.await.unwrap(), after.await.unwrap()), (0, 1));
    assert_eq!(cache.get::<u32>("k").await.as_deref(), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn of_ten_that_come_after_a_delete_one_loads() {
    let cache = memory_only();
    let number = Arc::new(AtomicU32::new(0));
    let call = || numbered(&cache, &number);
    let before = call();
    tokio::task::yield_now().await;
    cache.delete("k").await;
    let after: Vec<_> = (0..10).map(|_| call()).collect();
    assert_eq!(before.await.unwrap(), 0);
    for late in after {
        assert_eq!(late.await.unwrap(), 1);
    }
    let stats = cache.stats();
    assert_eq!((number.load(Ordering::SeqCst), stats.loads, stats.coalesced), (2, 2, 9));
}

#[tokio::test(start_paused = true)]
async fn delete_of_another_key_makes_nobody_load_again() {
    for fails in [false, true] {
        let cache = memory_only();
        let loads = Arc::new(AtomicU32::new(0));
        let call = || {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if fails { Err(std::io::Error::other("down")) } else { Ok(7) }
                };
                cache.get_or_load("k", &SetOptions::default(), load).await
            })
        };
        let before = call();
        tokio::task::yield_now().await;
        cache.delete("other").await;
        let after: Vec<_> = (0..10).map(|_| call()).collect();
        let first = before.await.unwrap();
        for late in after {
            match (late.await.unwrap(), &first) {
                (Ok(late), Ok(first)) => assert_eq!(late, *first),
                (Err(late), Err(first)) => assert!(Arc::ptr_eq(&late, first)),
                (late, first) => panic!("{late:?} and {first:?}"),
            }
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1, "fails: {fails}");
    }
}

#[tokio::test(start_paused = true)]
async fn deletes_that_go_on_do_not_keep_a_call_waiting() {
    let cache = memory_only();
    let call = || {
        let cache = cache.clone();
        tokio::spawn(async move {
            // All that come for it come after a delete.
            let load = || async {
                cache.delete("k").await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(7)
            };
            *cache.get_or_load("k", &SetOptions::default(), load).await.unwrap()
        })
    };
    let begun = tokio::time::Instant::now();
    let calls: Vec<_> = (0..10).map(|_| call()).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 7);
    }
    // Three times for others and once on their own, not one after the other.
    assert_eq!(begun.elapsed().as_secs(), 4);
}
