//! Sixteen who write at once, and what a source must have told of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nudj_sync::cdc::{Change, Operation};
use sqlx::postgres::PgPool;
use tokio::{sync::mpsc, task::JoinHandle};

/// Each commits 60 users one after the other, and with each of them a step of one of four counters, which all writers share: the order
/// of a counter's steps is that of the locks, not that of the transactions' beginnings.
pub(super) struct Writers {
    tasks: Vec<JoinHandle<u64>>,
    begun: mpsc::Receiver<()>,
    may_end: Arc<AtomicBool>,
}

impl Writers {
    pub(super) fn start(pool: &PgPool) -> Self {
        let (begun, begins) = mpsc::channel(16);
        let may_end = Arc::new(AtomicBool::new(false));
        let tasks = (0..16).map(|writer| tokio::spawn(write(writer, pool.clone(), begun.clone(), may_end.clone())));
        Self { tasks: tasks.collect(), begun: begins, may_end }
    }

    /// The first of them is in the midst of its rows.
    pub(super) async fn begun(&mut self) {
        self.begun.recv().await.unwrap();
    }

    /// Until this is called, each has twenty more to write.
    pub(super) fn may_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// How many rows were committed.
    pub(super) async fn written(self) -> u64 {
        let mut written = 0;
        for task in self.tasks {
            written += task.await.unwrap();
        }
        assert!(written >= 960);
        written
    }
}

async fn write(writer: u64, pool: PgPool, begun: mpsc::Sender<()>, may_end: Arc<AtomicBool>) -> u64 {
    let mut rng = fastrand::Rng::with_seed(writer);
    let (mut number, mut left) = (0_u64, 60_u64);
    while left > 0 {
        left = if may_end.load(Ordering::Relaxed) { left - 1 } else { (left - 1).max(20) };
        let mut transaction = pool.begin().await.unwrap();
        let id = writer * 10_000 + number;
        let insert = format!("INSERT INTO users VALUES ({id}, 'u', '0', clock_timestamp())");
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
        tokio::time::sleep(Duration::from_millis(rng.u64(0..=20))).await;
        let shared = format!(
            "INSERT INTO challenges VALUES ('{}', '1') ON CONFLICT (id) DO UPDATE SET title = (challenges.title::int + 1)::text",
            rng.u64(..4)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(shared)).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        number += 1;
        if number == 5 {
            begun.send(()).await.unwrap();
        }
    }
    number
}

/// What came of them, none twice and each counter's steps in their order.
#[derive(Default)]
pub(super) struct Told {
    users: BTreeSet<String>,
    counters: HashMap<String, u64>,
}

impl Told {
    pub(super) fn add(&mut self, change: Change) {
        let is_snapshot = change.operation == Operation::Snapshot;
        if change.record.table == "users" {
            assert!(is_snapshot || change.operation == Operation::Insert, "{:?}", change.operation);
            assert!(self.users.insert(change.record.key), "twice");
            return;
        }
        let count: u64 = change.column("title").unwrap().as_str().unwrap().parse().unwrap();
        let before = self.counters.insert(change.record.key.clone(), count).unwrap_or(0);
        assert!(is_snapshot || count == before + 1, "out of order: {}", change.record);
    }

    pub(super) fn users(&self) -> u64 {
        u64::try_from(self.users.len()).unwrap()
    }

    pub(super) fn assert_is_all_of(&self, written: u64) {
        assert_eq!(self.users(), written);
        assert_eq!(self.counters.values().sum::<u64>(), written);
    }
}
