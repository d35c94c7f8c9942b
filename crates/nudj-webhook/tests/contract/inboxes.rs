//! Every inbox keeps the same promises.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nudj_webhook::WebhookConfig;
use nudj_webhook::inbox::{Arrival, Claimed, Inbox, MemoryInbox, Recorded, Settlement};

pub(crate) const NOW: i64 = 1_760_000_000_000;
const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn limits(source: &str) -> WebhookConfig {
    let mut config = WebhookConfig { source: source.to_owned(), ..WebhookConfig::default() };
    config.queue.capacity = 100;
    config.queue.max_dead_letters = 2;
    config.replay.retention = Duration::from_secs(3600);
    config
}

pub(crate) fn arrival(id: &str, body_key: Option<&str>) -> Arrival {
    Arrival {
        id: id.to_owned(),
        body_key: body_key.map(str::to_owned),
        event: "user.updated".to_owned(),
        body: Bytes::from_static(b"\x00\xff body"),
        received_at: NOW,
    }
}

pub(crate) async fn record(inbox: &dyn Inbox, id: &str) -> Recorded {
    inbox.record(arrival(id, None)).await.unwrap()
}

pub(crate) async fn claim(inbox: &dyn Inbox, limit: usize, now: i64) -> Vec<Claimed> {
    inbox.claim(limit, now, LEASE).await.unwrap()
}

pub(crate) async fn settle(inbox: &dyn Inbox, claimed: &Claimed, settlement: Settlement) {
    inbox.settle(claimed, settlement, NOW).await.unwrap();
}

fn dead() -> Settlement {
    Settlement::Dead { handled: vec!["a#0".into()], reason: "why".into() }
}

/// All promises, for one kind of inbox; each call of `make` gives an empty one, and says what it is called.
pub(crate) async fn keeps_its_promises(make: impl AsyncFn(WebhookConfig) -> Arc<dyn Inbox>) {
    // A delivery is new once, whatever becomes of it.
    let inbox = &*make(limits("once")).await;
    assert_eq!(record(inbox, "d1").await, Recorded::New);
    assert_eq!(record(inbox, "d1").await, Recorded::Duplicate);
    assert_eq!((inbox.depth(), inbox.next_due().await.unwrap()), (1, Some(NOW)));
    let claimed = claim(inbox, 10, NOW).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].id.as_str(), &claimed[0].body[..]), ("d1", &b"\x00\xff body"[..]));
    assert_eq!((claimed[0].attempt, claimed[0].received_at, claimed[0].handled.len()), (1, NOW, 0));
    assert!(claim(inbox, 10, NOW).await.is_empty(), "a leased one is not given out");
    assert_eq!(record(inbox, "d1").await, Recorded::Duplicate);
    settle(inbox, &claimed[0], Settlement::Done).await;
    assert_eq!((inbox.depth(), inbox.next_due().await.unwrap()), (0, None));
    assert_eq!(record(inbox, "d1").await, Recorded::Duplicate);
    // Settling again changes nothing.
    settle(inbox, &claimed[0], dead()).await;
    assert_eq!((inbox.depth(), inbox.dead_letter_count()), (0, 0));

    // A failed one comes again when it is due, and knows what was done.
    assert_eq!(record(inbox, "d2").await, Recorded::New);
    let first = claim(inbox, 10, NOW).await.remove(0);
    let retry = Settlement::Retry { due_at: NOW + 500, handled: vec!["a#0".into()], reason: "why".into() };
    settle(inbox, &first, retry).await;
    assert!(claim(inbox, 10, NOW + 499).await.is_empty());
    let second = claim(inbox, 10, NOW + 500).await.remove(0);
    assert_eq!((second.attempt, second.handled.clone()), (2, vec!["a#0".to_owned()]));
    // One that is given back has not been tried, and keeps what was done by then.
    settle(inbox, &second, Settlement::Release { handled: vec!["a#0".into(), "a#1".into()] }).await;
    let again = claim(inbox, 10, NOW).await.remove(0);
    assert_eq!((again.attempt, again.handled.clone()), (2, vec!["a#0".to_owned(), "a#1".to_owned()]));

    // Given up, listed, replayed, discarded.
    settle(inbox, &again, dead()).await;
    assert_eq!((inbox.depth(), inbox.dead_letter_count()), (0, 1));
    assert_eq!(record(inbox, "d2").await, Recorded::Duplicate);
    let letter = inbox.dead_letters(10).await.unwrap().remove(0);
    assert_eq!(
        (letter.id.as_str(), letter.event.as_str(), letter.attempts, letter.reason.as_str()),
        ("d2", "user.updated", 2, "why")
    );
    assert_eq!((letter.received_at, letter.died_at, &letter.body[..]), (NOW, NOW, &b"\x00\xff body"[..]));
    assert!(inbox.replay("d2", NOW + 9).await.unwrap());
    assert!(!inbox.replay("d2", NOW + 9).await.unwrap());
    assert_eq!((inbox.depth(), inbox.dead_letter_count()), (1, 0));
    assert!(claim(inbox, 10, NOW + 8).await.is_empty());
    let replayed = claim(inbox, 10, NOW + 9).await.remove(0);
    assert_eq!((replayed.attempt, replayed.handled.clone()), (1, vec!["a#0".to_owned()]));
    settle(inbox, &replayed, dead()).await;
    assert!(inbox.discard("d2", NOW).await.unwrap());
    assert!(!inbox.discard("d2", NOW).await.unwrap());
    assert_eq!((inbox.dead_letter_count(), record(inbox, "d2").await), (0, Recorded::Duplicate));

    // Soonest first, as many as asked for.
    let inbox = &*make(limits("order")).await;
    for (id, later) in [("c", 20), ("a", 0), ("b", 10)] {
        let mut arrival = arrival(id, None);
        arrival.received_at = NOW + later;
        assert_eq!(inbox.record(arrival).await.unwrap(), Recorded::New);
    }
    let ids = |claimed: Vec<Claimed>| claimed.into_iter().map(|claimed| claimed.id).collect::<Vec<_>>();
    assert_eq!(ids(claim(inbox, 2, NOW + 100).await), ["a", "b"]);
    assert_eq!(ids(claim(inbox, 2, NOW + 100).await), ["c"]);

    // A body that came before is a repeat under any id; without a key it is not.
    let inbox = &*make(limits("body")).await;
    for (id, key, recorded) in [
        ("d1", Some("k1"), Recorded::New),
        ("d2", Some("k1"), Recorded::Duplicate),
        ("d1", Some("k2"), Recorded::Duplicate),
        ("d3", None, Recorded::New),
        ("d4", None, Recorded::New),
        ("d2", Some("k3"), Recorded::New),
    ] {
        assert_eq!(inbox.record(arrival(id, key)).await.unwrap(), recorded, "{id} {key:?}");
    }

    // Bounded: the hundred and first must come again, a repeat need not.
    let inbox = &*make(limits("full")).await;
    for number in 0..100 {
        assert_eq!(record(inbox, &format!("d{number}")).await, Recorded::New);
    }
    assert_eq!((record(inbox, "d100").await, inbox.depth()), (Recorded::Busy, 100));
    assert_eq!(record(inbox, "d5").await, Recorded::Duplicate);
    let claimed = claim(inbox, 1, NOW).await.remove(0);
    assert_eq!(record(inbox, "d100").await, Recorded::Busy);
    settle(inbox, &claimed, Settlement::Done).await;
    assert_eq!(record(inbox, "d100").await, Recorded::New);

    // Dead letters are bounded, the dropped are counted, and are still known.
    let inbox = &*make(limits("dead")).await;
    for (id, died) in [("d1", 1), ("d2", 2), ("d3", 3)] {
        assert_eq!(record(inbox, id).await, Recorded::New);
        let claimed = claim(inbox, 10, NOW).await.remove(0);
        inbox.settle(&claimed, dead(), NOW + died).await.unwrap();
    }
    assert_eq!(inbox.sweep(NOW).await.unwrap().dropped_dead_letters, 1);
    let left: Vec<_> = inbox.dead_letters(10).await.unwrap().into_iter().map(|letter| letter.id).collect();
    assert_eq!((left, inbox.dead_letter_count()), (vec!["d2".to_owned(), "d3".to_owned()], 2));
    assert_eq!(record(inbox, "d1").await, Recorded::Duplicate);

    // Forgotten after the retention, not before.
    let inbox = &*make(limits("retention")).await;
    assert_eq!(record(inbox, "d1").await, Recorded::New);
    let claimed = claim(inbox, 10, NOW).await.remove(0);
    settle(inbox, &claimed, Settlement::Done).await;
    for (later, recorded) in [(3_600_000, Recorded::Duplicate), (3_600_001, Recorded::New)] {
        inbox.sweep(NOW + later).await.unwrap();
        let mut again = arrival("d1", None);
        again.received_at = NOW + later;
        assert_eq!(inbox.record(again).await.unwrap(), recorded, "{later}");
    }

    // What was not handled yet is never swept.
    inbox.sweep(NOW + 36_000_000).await.unwrap();
    assert_eq!((inbox.depth(), claim(inbox, 10, NOW + 36_000_000).await.len()), (1, 1));

    // Many at once: each new once, each given out once.
    let inbox = make(limits("many")).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let inbox = Arc::clone(&inbox);
            tokio::spawn(async move {
                let mut fresh = 0;
                for number in 0..50 {
                    fresh += usize::from(record(&*inbox, &format!("d{number}")).await == Recorded::New);
                }
                let mut ids = Vec::new();
                loop {
                    let claimed = claim(&*inbox, 3, NOW).await;
                    if claimed.is_empty() {
                        return (fresh, ids);
                    }
                    ids.extend(claimed.into_iter().map(|claimed| claimed.id));
                }
            })
        })
        .collect();
    let (mut fresh, mut ids) = (0, Vec::new());
    for task in tasks {
        let (more, given) = task.await.unwrap();
        fresh += more;
        ids.extend(given);
    }
    assert_eq!((fresh, ids.len()), (50, 50));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn memory_keeps_its_promises() {
    keeps_its_promises(async |config| Arc::new(MemoryInbox::new(&config)) as Arc<dyn Inbox>).await;
}

/// A lease that ran out, a second opening, a neighbour: only where another process can be.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
async fn keeps_what_only_a_store_can(make: impl AsyncFn(WebhookConfig) -> Arc<dyn Inbox>) {
    let (one, two) = (make(limits("shared")).await, make(limits("shared")).await);
    assert!(one.is_durable());
    assert_eq!(record(&*one, "d1").await, Recorded::New);
    assert_eq!(record(&*two, "d1").await, Recorded::Duplicate);
    let other = make(limits("neighbour")).await;
    assert!(claim(&*other, 10, NOW).await.is_empty());
    assert_eq!(record(&*other, "d1").await, Recorded::New, "another source's id");

    let late = one.claim(10, NOW, Duration::from_millis(1)).await.unwrap().remove(0);
    assert!(claim(&*two, 10, NOW).await.is_empty());
    let mut taken = Vec::new();
    // At once, or as soon as the database's clock says so.
    crate::harness::eventually("the lease ran out", async || {
        taken = claim(&*two, 10, NOW + 1).await;
        !taken.is_empty()
    })
    .await;
    let taken = taken.remove(0);
    assert_eq!(taken.attempt, 2, "an attempt that ended with its process counts");
    // The late one comes back: the delivery is no longer its own.
    let retry = Settlement::Retry { due_at: NOW, handled: Vec::new(), reason: String::new() };
    let release = Settlement::Release { handled: Vec::new() };
    for settlement in [retry, release, dead(), Settlement::Done] {
        settle(&*one, &late, settlement).await;
        assert!(claim(&*one, 10, NOW).await.is_empty());
        // Leased ones are left out where that is known.
        assert!(one.next_due().await.unwrap().is_none_or(|due_at| due_at == taken.lease));
    }
    settle(&*two, &taken, Settlement::Done).await;

    // Ids are forgotten early only when there are too many, and none younger than the floor.
    let mut config = limits("crowd");
    config.replay.capacity = 1;
    let inbox = make(config).await;
    for id in ["d1", "d2"] {
        assert_eq!(record(&*inbox, id).await, Recorded::New);
        let claimed = claim(&*inbox, 1, NOW).await.remove(0);
        settle(&*inbox, &claimed, Settlement::Done).await;
    }
    inbox.sweep(NOW + 600_000).await.unwrap();
    assert_eq!((record(&*inbox, "d1").await, record(&*inbox, "d2").await), (Recorded::Duplicate, Recorded::Duplicate));
    inbox.sweep(NOW + 600_001).await.unwrap();
    let known = [record(&*inbox, "d1").await, record(&*inbox, "d2").await];
    assert_eq!(known.iter().filter(|known| **known == Recorded::Duplicate).count(), 1);
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let open = async |config: WebhookConfig| {
        Arc::new(nudj_webhook::inbox::SqliteInbox::open(&path, &config).await.unwrap()) as Arc<dyn Inbox>
    };
    keeps_its_promises(open).await;
    keeps_what_only_a_store_can(open).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_its_promises() {
    let Some(url) = crate::harness::environment("NUDJ_TEST_POSTGRES_URL", "postgres_keeps_its_promises") else {
        return;
    };
    // Tables of our own, so that runs do not meet.
    let schema = format!("nudj_webhook_{:016x}", fastrand::u64(..));
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let admin = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
    let run = async |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    run(format!("CREATE SCHEMA {schema}")).await;
    let options = options.options([("search_path", schema.as_str())]);
    let open = async |config: WebhookConfig| {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await.unwrap();
        Arc::new(nudj_webhook::inbox::PostgresInbox::with_pool(pool, &config).await.unwrap()) as Arc<dyn Inbox>
    };
    keeps_its_promises(open).await;
    keeps_what_only_a_store_can(open).await;
    // Who starts must not wait for those that record, nor they for it.
    let mut recording = admin.begin().await.unwrap();
    let lock = format!("LOCK TABLE {schema}.nudj_webhook_inbox IN ROW EXCLUSIVE MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *recording).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), open(limits("starts"))).await.expect("it waits for a writer");
    recording.rollback().await.unwrap();
    let indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = $1 AND indexname ~ '_(due|age)$'";
    assert_eq!(sqlx::query_scalar::<_, i64>(indexes).bind(&schema).fetch_one(&admin).await.unwrap(), 2);
    // A table as it was before it had leases.
    run(format!("ALTER TABLE {schema}.nudj_webhook_inbox DROP COLUMN leased_until")).await;
    leases_run_by_the_clock_of_the_store(open).await;
    run(format!("DROP SCHEMA {schema} CASCADE")).await;
}

/// Two receivers, the second of which has a clock that is far ahead.
#[cfg(feature = "postgres")]
async fn leases_run_by_the_clock_of_the_store(make: impl AsyncFn(WebhookConfig) -> Arc<dyn Inbox>) {
    const HOURS: i64 = 36_000_000;

    let (right, ahead) = (make(limits("clocks")).await, make(limits("clocks")).await);
    assert_eq!(record(&*right, "d1").await, Recorded::New);
    let first = claim(&*right, 10, NOW).await.remove(0);
    assert!(claim(&*ahead, 10, NOW + HOURS).await.is_empty(), "it has just been leased");
    assert_eq!(ahead.next_due().await.unwrap(), None, "or it would be asked for without a pause");
    // What was settled is nobody's, and due when it says.
    let retry = Settlement::Retry { due_at: NOW + HOURS, handled: Vec::new(), reason: String::new() };
    settle(&*right, &first, retry).await;
    assert!(claim(&*right, 10, NOW).await.is_empty());
    let second = claim(&*ahead, 10, NOW + HOURS).await.remove(0);
    assert_eq!(second.attempt, 2);
    settle(&*ahead, &second, dead()).await;
    assert!(right.replay("d1", NOW).await.unwrap());
    assert_eq!(claim(&*right, 10, NOW).await.len(), 1);
}

/// As two receivers do that open the same new file: the one that comes second to write-ahead mode is refused by SQLite at once.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn who_opens_a_new_file_waits_for_another_that_does() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    let other = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = other.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let config = limits("one");
    let mut open = std::pin::pin!(nudj_webhook::inbox::SqliteInbox::open(&path, &config));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut open).await;
    assert!(early.is_err(), "{early:?}");
    other.execute("COMMIT").await.unwrap();
    let inbox = open.await.unwrap();
    assert_eq!(record(&inbox, "d1").await, Recorded::New);
    other.close().await.unwrap();
}
