//! Many records.

mod at_nudj;
mod checkpoints;
mod crashes;
mod failures;
mod rows;
mod size;
mod stops;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use nudj_sync::{
    BoxError, RemoteError, RemoteErrorKind,
    batch::{Lookup, Row, Target},
};
use parking_lot::Mutex;

/// A record that knows how many of its kind are in memory.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) number: u64,
    live: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Live {
    pub(crate) fn record(&self, number: u64) -> Counted {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Counted { number, live: Arc::clone(&self.now) }
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) type Script = Box<dyn FnMut(u64, u32) -> Reply + Send>;

/// What the server does with a create.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Created,
    /// Done, and the answer is lost.
    Lost,
    /// Not done.
    Fails(RemoteErrorKind),
}

/// A server that takes the same record twice: the batch must not send it twice.
pub(crate) struct Server {
    /// Effects by record, and creates asked for.
    pub(crate) made: Mutex<HashMap<u64, u32>>,
    pub(crate) asked: Mutex<HashMap<u64, u32>>,
    script: Mutex<Script>,
    pub(crate) lookups: AtomicUsize,
}

impl Server {
    pub(crate) fn new(script: impl FnMut(u64, u32) -> Reply + Send + 'static) -> Arc<Self> {
        let (made, asked) = (Mutex::default(), Mutex::default());
        Arc::new(Self { made, asked, script: Mutex::new(Box::new(script)), lookups: AtomicUsize::new(0) })
    }

    #[track_caller]
    pub(crate) fn assert_each_once(&self, records: u64) {
        let made = self.made.lock();
        for number in 0..records {
            assert_eq!(made.get(&number), Some(&1), "record {number}");
        }
        assert_eq!(made.len() as u64, records);
    }
}

#[derive(Clone)]
pub(crate) struct ToServer(pub(crate) Arc<Server>);

#[async_trait]
impl Target for ToServer {
    type Record = Counted;

    async fn create(&self, record: &Counted) -> Result<String, RemoteError> {
        let number = record.number;
        // A call takes a while: others run meanwhile, and a kill can come between its parts.
        tokio::task::yield_now().await;
        let asked = {
            let mut asked = self.0.asked.lock();
            let asked = asked.entry(number).or_insert(0);
            *asked += 1;
            *asked
        };
        let reply = self.0.script.lock()(number, asked);
        if let Reply::Created | Reply::Lost = reply {
            *self.0.made.lock().entry(number).or_insert(0) += 1;
        }
        tokio::task::yield_now().await;
        match reply {
            Reply::Created => Ok(number.to_string()),
            Reply::Lost => Err(RemoteError::new(RemoteErrorKind::Unknown, "the answer was lost")),
            Reply::Fails(kind) => Err(RemoteError::new(kind, "scripted")),
        }
    }

    async fn find(&self, record: &Counted) -> Result<Lookup, RemoteError> {
        self.0.lookups.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let there = self.0.made.lock().contains_key(&record.number);
        Ok(if there { Lookup::Found(record.number.to_string()) } else { Lookup::Missing })
    }
}

pub(crate) fn rows(live: &Live, count: u64) -> impl Iterator<Item = Result<Row<Counted>, BoxError>> + use<> {
    let live = live.clone();
    (0..count).map(move |number| Ok(Row::new(number + 2, live.record(number))))
}
