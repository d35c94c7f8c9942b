//! What a synchronization says of itself.

use std::sync::Arc;

use nudj_sync::status::SyncStatus;
use parking_lot::Mutex;

/// All that was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<SyncStatus>>>);

impl Told {
    fn observer(&self) -> impl Fn(&SyncStatus) + Send + Sync + 'static {
        let told = Arc::clone(&self.0);
        move |status: &SyncStatus| told.lock().push(status.clone())
    }

    fn last(&self) -> SyncStatus {
        self.0.lock().last().cloned().unwrap()
    }
}

#[cfg(feature = "batch")]
#[tokio::test(start_paused = true)]
async fn a_batch_tells_of_each_step_and_of_its_end() {
    use futures_util::stream;
    use nudj_sync::{
        RemoteErrorKind,
        batch::{Batch, BatchConfig},
    };

    use crate::batch::{Live, Reply, Server, ToServer, rows};

    let server = Server::new(|number, _| match number {
        7 => Reply::Fails(RemoteErrorKind::Refused),
        _ => Reply::Created,
    });
    let told = Told::default();
    let batch = Batch::new(ToServer(server), BatchConfig::default()).unwrap().observer(Some(50), told.observer());
    batch.run(stream::iter(rows(&Live::default(), 50)), |_| Ok(())).await.unwrap();
    let steps: Vec<_> = told.0.lock().iter().map(|status| (status.done, status.waiting)).collect();
    assert_eq!(steps.first(), Some(&(0, Some(50))));
    assert!(steps.is_sorted() && steps.contains(&(25, Some(25))), "{steps:?}");
    let last = told.last();
    assert_eq!((last.done, last.total, last.waiting, last.dead_letters), (50, Some(50), Some(0), 1));
}

#[cfg(feature = "event")]
#[tokio::test(start_paused = true)]
async fn a_consumer_tells_what_waits_how_long_and_what_died() {
    use std::time::Duration;

    use nudj_sync::event::{Consumer, ConsumerConfig, Delivery, Event, EventBus, MemoryBus, MemoryConfig};

    let bus = MemoryBus::new(MemoryConfig::default()).unwrap();
    for (key, topic) in [("a", "work"), ("b", "nobody's"), ("c", "stuck"), ("c", "work")] {
        let topic = topic.replace('\'', "-");
        bus.publish(&Event::new(topic, key, ()).unwrap()).await.unwrap();
    }
    let told = Told::default();
    let consumer = Consumer::builder(bus)
        .config(ConsumerConfig {
            handler_timeout: Duration::from_secs(300),
            lease: Duration::from_secs(600),
            ..Default::default()
        })
        .on("work", |_: Delivery| async { Ok::<_, nudj_sync::BoxError>(()) })
        .on("stuck", |_: Delivery| std::future::pending::<Result<(), nudj_sync::BoxError>>())
        .observer(told.observer())
        .start()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = told.last();
    assert_eq!((status.done, status.total, status.waiting, status.dead_letters), (1, None, Some(2), 1));
    assert!(status.lag.unwrap() >= Duration::from_secs(8), "{status:?}");
    let before = told.0.lock().len();
    assert!((9..=12).contains(&before), "once a second: {before}");
    consumer.shutdown(Duration::ZERO).await;
    let at_the_end = told.0.lock().len();
    assert!(at_the_end > before, "and at the end");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told.0.lock().len(), at_the_end, "and then no more");
}

/// What nobody listens to is not measured.
#[cfg(feature = "event")]
#[tokio::test(start_paused = true)]
async fn without_an_observer_the_bus_is_not_asked_how_far_behind_it_is() {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;
    use nudj_sync::{
        Error,
        event::{Claimed, Consumer, DeadLetter, Delivery, Event, EventBus, Lag, Published, Settlement},
    };

    #[derive(Debug)]
    struct Asked(Arc<AtomicU32>);

    #[async_trait]
    impl EventBus for Asked {
        async fn publish(&self, _: &Event) -> Result<Published, Error> {
            Ok(Published::New)
        }

        async fn claim(&self, _: usize, _: Duration) -> Result<Vec<Claimed>, Error> {
            Ok(Vec::new())
        }

        async fn settle(&self, _: &Claimed, _: &Settlement) -> Result<bool, Error> {
            Ok(true)
        }

        async fn changed(&self, at_most: Duration) {
            tokio::time::sleep(at_most).await;
        }

        async fn lag(&self) -> Result<Lag, Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Lag::default())
        }

        async fn dead_letters(&self, _: usize) -> Result<Vec<DeadLetter>, Error> {
            Ok(Vec::new())
        }

        async fn replay(&self, _: &str) -> Result<bool, Error> {
            Ok(false)
        }

        async fn discard(&self, _: &str) -> Result<bool, Error> {
            Ok(false)
        }

        async fn sweep(&self) -> Result<(), Error> {
            Ok(())
        }
    }

    for listening in [false, true] {
        let asked = Arc::new(AtomicU32::new(0));
        let mut consumer =
            Consumer::builder(Asked(Arc::clone(&asked))).on_any(|_: Delivery| async { Ok::<_, Error>(()) });
        if listening {
            consumer = consumer.observer(|_: &SyncStatus| {});
        }
        let consumer = consumer.start().unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        consumer.shutdown(Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed) > 0, listening);
    }
}

#[cfg(feature = "cdc-sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_followed_from_where_it_is_to_its_end() {
    use std::time::Duration;

    use nudj_sync::{
        cdc::{MemoryState, Pipeline, SqliteSource, UserMapping},
        status::follow,
    };

    let (folder, mock) = (tempfile::tempdir().unwrap(), nudj_mock::MockNudj::start().await.unwrap());
    let path = folder.path().join("app.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let sql = "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT); INSERT INTO users VALUES (1, 'a@example.org')";
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    let source = SqliteSource::open(&path, ["users"]).await.unwrap().poll_interval(Duration::from_millis(5));
    let pipeline = Pipeline::builder(source, MemoryState::default(), crate::nudj::client(&mock));
    let pipeline = pipeline.map("users", UserMapping::new()).start().unwrap();
    let (told, done) = (Told::default(), tokio::sync::Notify::new());
    let done = Arc::new(done);
    let (told_of, all) = (told.observer(), Arc::clone(&done));
    let observer = move |status: &SyncStatus| {
        told_of(status);
        if status.done == 1 && status.lag == Some(Duration::ZERO) {
            all.notify_one();
        }
    };
    tokio::select! {
        () = follow(&pipeline, observer) => panic!("it runs on"),
        ended = tokio::time::timeout(Duration::from_secs(60), done.notified()) => ended.unwrap(),
    }
    let status = told.last();
    assert_eq!((status.total, status.dead_letters), (None, 0), "{status:?}");
}
