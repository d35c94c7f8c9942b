//! A real Redis, started by each test, frozen, killed and started again.

mod catching_up;
mod processes;
mod server;

use std::time::Duration;

use bytes::Bytes;
use nudj_cache::{
    AsOf, CacheConfig, CacheLevel, Entry, Invalidation, InvalidationChannel, Kind, LevelConfig, MultiLevelCache,
    RedisChannel, RedisConfig, RedisLevel, SetOptions, Subscription, Write,
};
use tokio::time::Instant;

use self::server::Server;
use crate::level_contract;

/// Asks until it is so. Only for what a real server does in its own time.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A cache over a server with a channel. `timeout`: of L2.
fn cache(url: &str, timeout: Duration) -> (MultiLevelCache, RedisChannel, Subscription) {
    let config = RedisConfig::default();
    let channel = RedisChannel::new(&[url], &config).unwrap();
    let l2 = LevelConfig { timeout, ..LevelConfig::default() };
    let cache = MultiLevelCache::builder(CacheConfig { l2, ..CacheConfig::default() })
        .l2(RedisLevel::new(url, &config).unwrap())
        .channel(channel.clone())
        .seed(1)
        .build()
        .unwrap();
    let subscription = channel.subscribe(&cache);
    (cache, channel, subscription)
}

/// For tests that are not about time.
const PATIENT: Duration = Duration::from_secs(10);

async fn up(cache: &MultiLevelCache) {
    let mut news = cache.channel_news();
    tokio::time::timeout(Duration::from_secs(30), news.wait_for(|news| news.up == Some(true))).await.unwrap().unwrap();
}

async fn down(cache: &MultiLevelCache) {
    let mut news = cache.channel_news();
    tokio::time::timeout(Duration::from_secs(30), news.wait_for(|news| news.up == Some(false))).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_contract() {
    let Some(server) = Server::start("redis_keeps_the_contract", &[]) else { return };
    let level = RedisLevel::new(&server.url(), &RedisConfig::default()).unwrap();
    level_contract::holds(&level).await;
    level_contract::holds_under_races(&level).await;
    assert!(!format!("{level:?}").contains("127.0.0.1"));
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_keeps_the_contract() {
    let Some(servers) = Server::start_cluster("cluster_keeps_the_contract").await else { return };
    let level = RedisLevel::cluster(&[&servers[0].url()], &RedisConfig::default()).unwrap();
    level_contract::holds(&level).await;
    level_contract::holds_under_races(&level).await;
}

#[tokio::test]
async fn entry_is_gone_at_its_ttl_by_the_servers_clock() {
    let Some(server) = Server::start("entry_is_gone_at_its_ttl_by_the_servers_clock", &[]) else { return };
    let level = RedisLevel::new(&server.url(), &RedisConfig::default()).unwrap();
    let entry = Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &[]);
    level.set("k", &entry, Write { ttl: Duration::from_secs(60), as_of: None }).await.unwrap();
    server.tell(&["PEXPIRE", "nudj:e:k", "30000"]).await;
    let found = level.get("k").await.unwrap().unwrap();
    assert!(found.remaining <= Duration::from_secs(30));
    assert!(found.entry.age(tokio::time::Instant::now()) >= Duration::from_secs(30), "it aged by what it lay there");
    server.tell(&["PEXPIRE", "nudj:e:k", "0"]).await;
    assert!(level.get("k").await.unwrap().is_none());
    server.tell(&["SET", "nudj:e:k", "no envelope"]).await;
    assert!(level.get("k").await.unwrap().is_none(), "without a TTL it is not ours");
    server.tell(&["SET", "nudj:e:k", "no envelope", "PX", "9000"]).await;
    assert!(level.get("k").await.is_err());
}

#[tokio::test]
async fn tag_with_more_members_than_a_batch_goes_whole() {
    let Some(server) = Server::start("tag_with_more_members_than_a_batch_goes_whole", &[]) else { return };
    let level = RedisLevel::new(&server.url(), &RedisConfig::default()).unwrap();
    let entry = Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &["big".to_owned()]);
    for n in 0..1203 {
        level.set(&n.to_string(), &entry, Write { ttl: Duration::from_secs(60), as_of: None }).await.unwrap();
    }
    level.delete_tag("big").await.unwrap();
    assert_eq!(server.tell(&["DBSIZE"]).await, "1", "only the memory of the delete is left");
}

#[cfg(feature = "redis-cluster")]
#[tokio::test]
async fn delete_of_a_large_tag_in_a_cluster_that_is_cut_off_goes_on_from_there() {
    // Members were struck off after all had been deleted, so that each repetition began with the same ones.
    let Some(servers) = Server::start_cluster("delete_of_a_large_tag_in_a_cluster").await else { return };
    let level = RedisLevel::cluster(&[&servers[0].url()], &RedisConfig::default()).unwrap();
    let entry = Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &["big".to_owned()]);
    for n in 0..100 {
        level.set(&n.to_string(), &entry, Write { ttl: Duration::from_secs(60), as_of: None }).await.unwrap();
    }
    let client = redis::cluster::ClusterClient::new([servers[0].url()]).unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    let scan = redis::cmd("SSCAN").arg("nudj:t:big").arg(0).arg("COUNT").arg(1000).clone();
    let (_, members): (u64, Vec<String>) = scan.query_async(&mut connection).await.unwrap();
    assert_eq!(members.len(), 100);
    // The last one may not be touched.
    let allowed = members[..99].iter().map(|member| format!("~nudj:e:{member}"));
    let rule: Vec<String> = ["ACL", "SETUSER", "default", "resetkeys", "~nudj:t:*", "~nudj:y:*"]
        .map(str::to_owned)
        .into_iter()
        .chain(allowed)
        .collect();
    for server in &servers {
        server.tell(&rule.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    level.delete_tag("big").await.unwrap_err();
    let left: u64 = redis::cmd("SCARD").arg("nudj:t:big").query_async(&mut connection).await.unwrap();
    assert!((1..=32).contains(&left), "{left} are to be deleted once more");
    for server in &servers {
        server.tell(&["ACL", "SETUSER", "default", "allkeys"]).await;
    }
    level.delete_tag("big").await.unwrap();
    for member in &members {
        assert!(level.get(member).await.unwrap().is_none(), "{member}");
    }
}

#[tokio::test]
async fn members_whose_entries_have_expired_do_not_pile_up() {
    let Some(server) = Server::start("members_whose_entries_have_expired", &[]) else { return };
    let level = RedisLevel::new(&server.url(), &RedisConfig::default()).unwrap();
    let entry = Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &["users".to_owned()]);
    let long = Write { ttl: Duration::from_secs(60), as_of: None };
    for n in 0..20 {
        level.set(&format!("kept{n}"), &entry, long).await.unwrap();
    }
    for n in 0..1000 {
        level.set(&n.to_string(), &entry, Write { ttl: Duration::from_millis(1), as_of: None }).await.unwrap();
    }
    let members: u32 = server.tell(&["SCARD", "nudj:t:users"]).await.parse().unwrap();
    assert!((20..300).contains(&members), "{members}");
    level.delete_tag("users").await.unwrap();
    for n in 0..20 {
        assert!(level.get(&format!("kept{n}")).await.unwrap().is_none(), "a member that counts was kept");
    }
}

#[tokio::test]
async fn value_read_longer_ago_than_deletes_are_remembered_is_not_stored() {
    let Some(server) = Server::start("value_read_longer_ago", &[]) else { return };
    let level = RedisLevel::new(&server.url(), &RedisConfig::default()).unwrap();
    let entry = Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &[]);
    // A minute passes for the value, not for the server: the clock is stopped only while nothing is awaited.
    let as_of = AsOf::now();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let ttl = Duration::from_secs(60);
    level.set("k", &entry, Write { ttl, as_of: Some(as_of) }).await.unwrap();
    assert!(level.get("k").await.unwrap().is_none());
}

#[tokio::test]
async fn frozen_server_costs_a_timeout_and_then_nothing_and_comes_back_clean() {
    let Some(server) = Server::start("frozen_server", &[]) else { return };
    let (cache, _channel, _subscription) = cache(&server.url(), Duration::from_millis(50));
    up(&cache).await;
    until("the level answers in time", async || {
        cache.set("user:1", "old".to_owned(), &SetOptions::default()).await.unwrap();
        cache.drop_memory();
        cache.get::<String>("user:1").await.is_some()
    })
    .await;
    server.freeze();
    cache.drop_memory();
    for _ in 0..200 {
        assert!(cache.get::<String>("user:2").await.is_none());
    }
    let level = cache.stats().levels[1].clone();
    assert!(level.timeouts >= 5 && level.skipped > 0 && !level.up, "{level:?}");
    cache.invalidate(&Invalidation::user(1)).await;
    assert!(cache.get::<String>("user:1").await.is_none());
    server.thaw();
    // The old value lies there still; it must never be seen.
    until("the level is used again", async || {
        assert!(cache.get::<String>("user:1").await.is_none());
        cache.stats().levels[1].pending_deletes == 0 && cache.stats().levels[1].up
    })
    .await;
    assert_eq!(server.tell(&["EXISTS", "nudj:e:user:1"]).await, "0");
}

#[tokio::test]
async fn server_that_starts_later_is_used_then() {
    let Some(mut server) = Server::start("server_that_starts_later", &[]) else { return };
    server.kill();
    let (cache, _channel, _subscription) = cache(&server.url(), PATIENT);
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.as_deref(), Some(&1));
    server.restart();
    up(&cache).await;
    until("it is stored there", async || {
        cache.set("k", 1, &SetOptions::default()).await.unwrap();
        cache.drop_memory();
        cache.get::<i32>("k").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn channel_that_was_lost_empties_memory_and_sends_what_waited() {
    let Some(mut server) = Server::start("channel_that_was_lost", &[]) else { return };
    let (one, channel, _one) = cache(&server.url(), PATIENT);
    let (two, _, _two) = cache(&server.url(), PATIENT);
    up(&one).await;
    up(&two).await;
    server.kill();
    down(&one).await;
    down(&two).await;
    two.set("user:1", "old".to_owned(), &SetOptions::default()).await.unwrap();
    one.invalidate(&Invalidation::user(1)).await;
    assert!(channel.pending() > 0);
    assert!(two.get::<String>("user:1").await.is_some(), "not told yet, but for 30 s at most");
    server.restart();
    up(&two).await;
    assert!(two.get::<String>("user:1").await.is_none());
    up(&one).await;
    until("what waited is sent", async || channel.pending() == 0).await;
}

#[tokio::test]
async fn unreadable_message_empties_memory_and_ones_own_changes_nothing() {
    let Some(server) = Server::start("unreadable_message", &[]) else { return };
    let (cache, _channel, _subscription) = cache(&server.url(), PATIENT);
    up(&cache).await;
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    let mut news = cache.channel_news();
    news.mark_unchanged();
    server.tell(&["PUBLISH", "nudj:invalidate", r#"{"from":"x","tags":["other"]}"#]).await;
    news.changed().await.unwrap();
    assert!(cache.memory().lookup("k").is_some());
    server.tell(&["PUBLISH", "nudj:invalidate", "what?"]).await;
    news.changed().await.unwrap();
    assert!(cache.memory().lookup("k").is_none());
    let before = cache.stats().remote_invalidations;
    cache.invalidate(&Invalidation::tag("mine")).await;
    server.tell(&["PUBLISH", "nudj:invalidate", r#"{"from":"x","tags":["after mine"]}"#]).await;
    until("the next message came", async || cache.stats().remote_invalidations > before).await;
    assert_eq!(cache.stats().remote_invalidations, before + 1);
}

#[tokio::test]
async fn subscription_that_is_dropped_leaves_the_channel_lost() {
    let Some(server) = Server::start("subscription_that_is_dropped", &[]) else { return };
    let (cache, channel, subscription) = cache(&server.url(), PATIENT);
    up(&cache).await;
    drop(subscription);
    down(&cache).await;

    // And it comes back with one that stays.
    let one = channel.subscribe(&cache);
    up(&cache).await;
    let mut news = cache.channel_news();
    let before = news.borrow().removals;
    // Memory is emptied when the other begins, and once more when it has learned that the channel counts as lost.
    let _two = channel.subscribe(&cache);
    news.wait_for(|news| news.removals == before + 1).await.unwrap();
    drop(one);
    news.wait_for(|news| news.removals == before + 2 && news.up == Some(true)).await.unwrap();
}

#[tokio::test]
async fn caches_that_share_a_channel_hear_each_other_and_not_themselves() {
    // What one of them sent was taken by the other for its own.
    let Some(server) = Server::start("caches_that_share_a_channel", &[]) else { return };
    let channel = RedisChannel::new(&[&server.url()], &RedisConfig::default()).unwrap();
    let make = || {
        let builder = MultiLevelCache::builder(CacheConfig::default()).channel(channel.clone()).seed(1);
        let cache = builder.build().unwrap();
        (channel.subscribe(&cache), cache)
    };
    let ((_one, one), (_two, two)) = (make(), make());
    up(&one).await;
    up(&two).await;
    two.set("k", 1, &SetOptions::default()).await.unwrap();
    one.invalidate(&Invalidation::key("k")).await;
    until("the other has heard", async || two.stats().remote_invalidations == 1).await;
    assert!(two.get::<i32>("k").await.is_none());
    // What no cache sent is for both, and comes behind the first.
    one.set("other", 1, &SetOptions::default()).await.unwrap();
    channel.publish(&Invalidation::key("other")).await.unwrap();
    until("the other has heard", async || two.stats().remote_invalidations == 2).await;
    until("it is gone", async || one.get::<i32>("other").await.is_none()).await;
    assert_eq!(one.stats().remote_invalidations, 1, "its own is not for it");
}

#[tokio::test]
async fn subscription_ends_with_its_cache() {
    let Some(server) = Server::start("subscription_ends_with_its_cache", &[]) else { return };
    let (cache, _channel, _subscription) = cache(&server.url(), PATIENT);
    up(&cache).await;
    let subscribers = async || {
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let question = redis::cmd("PUBSUB").arg("NUMSUB").arg("nudj:invalidate").clone();
        let (_, subscribers): (String, u64) = question.query_async(&mut connection).await.unwrap();
        subscribers
    };
    assert_eq!(subscribers().await, 1);
    drop(cache);
    // It went on for as long as the handle of the subscription was kept, until a message came or the server left.
    until("nobody listens", async || subscribers().await == 0).await;
}

#[tokio::test]
async fn messages_for_a_server_that_says_nothing_wait_without_a_task_each() {
    // Connects, and is never answered.
    let hole = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = RedisConfig { connect_timeout: Duration::from_secs(3600), ..RedisConfig::default() };
    let url = format!("redis://{}/", hole.local_addr().unwrap());
    let channel = RedisChannel::new(&[&url], &config).unwrap();
    let gone = Invalidation::key("k");
    let told = futures_util::future::join_all((0..200).map(|_| channel.publish(&gone))).await;
    assert!(told.iter().all(Result::is_err));
    assert_eq!(channel.pending(), 200);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 10, "{tasks} tasks");
}

#[tokio::test]
async fn messages_of_many_at_once_all_arrive() {
    let Some(server) = Server::start("messages_of_many_at_once", &[]) else { return };
    let (here, channel, _subscription) = cache(&server.url(), PATIENT);
    let (there, _channel, _there) = cache(&server.url(), PATIENT);
    up(&there).await;
    let gone = Invalidation::key("k");
    for round in 1..=20 {
        futures_util::future::join_all((0..10).map(|_| here.invalidate(&gone))).await;
        until("all have arrived", async || there.stats().remote_invalidations == round * 10).await;
        assert_eq!(channel.pending(), 0);
    }
}

#[tokio::test]
async fn address_with_a_password_is_never_shown() {
    let config = RedisConfig::default();
    for url in ["redis://:hidden-word@host:notaport", "http://:hidden-word@host"] {
        let error = RedisLevel::new(url, &config).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden-word"));
        assert!(RedisChannel::new(&[url], &config).is_err());
    }
    assert!(RedisChannel::new(&[], &config).is_err());
    let level = RedisLevel::new("redis://:hidden-word@127.0.0.1:1/", &config).unwrap();
    let channel = RedisChannel::new(&["redis://:hidden-word@127.0.0.1:1/"], &config).unwrap();
    assert!(!format!("{level:?} {channel:?}").contains("hidden-word"));
    let error = level.get("k").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hidden-word"));
}

#[cfg(feature = "redis-tls")]
#[tokio::test]
async fn tls_without_a_provider_is_an_error_and_no_panic() {
    let error = RedisLevel::new("rediss://127.0.0.1:1/", &RedisConfig::default()).unwrap_err();
    assert!(error.to_string().contains("install_default"), "{error}");
}
