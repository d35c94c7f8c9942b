use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Client, Script, aio::ConnectionManager};

use super::{
    RedisConfig,
    commands::{self, BATCH, Names},
    connection::{Address, Lazy, Link, backend, client},
};
use crate::{
    entry::Entry,
    error::CacheError,
    level::{
        CacheLevel, Found, LevelError, Write,
        remembered::{self, DELETES_KEPT, millis},
    },
};

/// A level in Redis. One connection, shared by all calls, made when it is first needed. Clones share it.
#[derive(Clone)]
pub struct RedisLevel {
    lazy: Lazy,
    names: Names,
    max_ttl: Duration,
    set: Arc<Script>,
    delete_members: Arc<Script>,
}

impl RedisLevel {
    /// A level at `url` (`redis://user:password@host:6379/0`). Nothing is connected yet.
    ///
    /// # Errors
    /// [`CacheError::Config`] when the address cannot be read or a field is out of range.
    pub fn new(url: &str, config: &RedisConfig) -> Result<Self, CacheError> {
        config.validate()?;
        Ok(Self::at(Address::Single(Box::new(client(url)?)), config))
    }

    /// A level over a client of your own, with the TLS settings it has.
    ///
    /// # Errors
    /// [`CacheError::Config`] when a field is out of range.
    pub fn with_client(client: Client, config: &RedisConfig) -> Result<Self, CacheError> {
        config.validate()?;
        Ok(Self::at(Address::Single(Box::new(client)), config))
    }

    /// A level in a cluster, of which `urls` are some nodes.
    ///
    /// # Errors
    /// [`CacheError::Config`] when an address cannot be read or a field is out of range.
    #[cfg(feature = "redis-cluster")]
    pub fn cluster(urls: &[&str], config: &RedisConfig) -> Result<Self, CacheError> {
        config.validate()?;
        for url in urls {
            super::connection::check_tls(url)?;
        }
        let client = redis::cluster::ClusterClient::builder(urls.iter().copied())
            .connection_timeout(config.connect_timeout)
            .build()
            .map_err(|_unread| super::connection::unreadable())?;
        Ok(Self::at(Address::Cluster(Box::new(client)), config))
    }

    fn at(address: Address, config: &RedisConfig) -> Self {
        Self {
            lazy: Lazy::new(address, config),
            names: Names(config.prefix.clone()),
            max_ttl: config.max_ttl,
            set: Arc::new(commands::set_script()),
            delete_members: Arc::new(commands::delete_members_script()),
        }
    }

    async fn set_on(&self, mut link: ConnectionManager, key: &str, entry: &Entry, set: &Set) -> Result<(), LevelError> {
        let mut call = self.set.key(self.names.entry(key));
        call.key(self.names.deleted_key(key));
        for tag in entry.tags() {
            call.key(self.names.members(tag)).key(self.names.deleted_tag(tag));
        }
        call.arg(&set.value[..])
            .arg(set.ttl)
            .arg(set.age)
            .arg(millis(DELETES_KEPT))
            .arg(millis(self.max_ttl))
            .arg(key)
            .arg(self.names.entry(""));
        let _stored: i64 = backend(call.invoke_async(&mut link)).await?;
        Ok(())
    }

    /// The same on several nodes: checked before and after, and taken back if a delete came in between. The members are
    /// written before (so that a crash leaves no entry without its tag) and after (a delete may have removed them).
    #[cfg(feature = "redis-cluster")]
    async fn set_over(&self, link: &Link, key: &str, entry: &Entry, set: &Set) -> Result<(), LevelError> {
        use super::commands::cluster;

        let mut deletes = vec![commands::pttl(&self.names.deleted_key(key))];
        deletes.extend(entry.tags().map(|tag| commands::pttl(&self.names.deleted_tag(tag))));
        let mut members = Vec::new();
        for name in entry.tags().map(|tag| self.names.members(tag)) {
            members.push(cluster::add_member(&name, key));
            members.push(cluster::expire(&name, millis(self.max_ttl)));
        }
        let deleted = async || {
            let left = backend(link.run(deletes.clone())).await?;
            let left: Vec<i64> = redis::from_redis_value(redis::Value::Array(left)).map_err(LevelError::backend)?;
            Ok::<_, LevelError>(left.into_iter().any(|left| commands::deleted_since(left, set.age)))
        };
        if deleted().await? {
            return Ok(());
        }
        backend(link.run(members.clone())).await?;
        backend(link.run(vec![cluster::set(&self.names.entry(key), &set.value, set.ttl)])).await?;
        backend(link.run(members)).await?;
        if deleted().await? {
            backend(link.run(vec![commands::unlink(&self.names.entry(key))])).await?;
        }
        Ok(())
    }

    /// The entries first and their membership after, so that a delete that is cut short finds them again; and that right
    /// after each portion, so that it does not find the same ones each time.
    #[cfg(feature = "redis-cluster")]
    async fn delete_members_over(&self, link: &Link, tag: &str) -> Result<(), LevelError> {
        use super::commands::cluster;

        let name = self.names.members(tag);
        let mut cursor = 0;
        loop {
            let replies = backend(link.run(vec![cluster::scan_members(&name, cursor, BATCH)])).await?;
            let reply = replies.into_iter().next().unwrap_or(redis::Value::Nil);
            let (next, members): (u64, Vec<String>) = redis::from_redis_value(reply).map_err(LevelError::backend)?;
            for members in members.chunks(cluster::PORTION) {
                let unlink = members.iter().map(|member| commands::unlink(&self.names.entry(member)));
                let unlink: Vec<_> = unlink.collect();
                backend(link.run_at_once(unlink.clone())).await?;
                backend(link.run(vec![cluster::remove_members(&name, members)])).await?;
                // What was written in between would live without its tag.
                backend(link.run_at_once(unlink)).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// A write in Redis' terms.
struct Set {
    value: Bytes,
    ttl: i64,
    age: i64,
}

#[async_trait]
impl CacheLevel for RedisLevel {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        let name = self.names.entry(key);
        let link = self.lazy.link().await?;
        // As one: else the value could be an old one and the time left a new one's.
        let (value, left): (Option<Vec<u8>>, i64) =
            backend(link.run_as_one([commands::get(&name), commands::pttl(&name)])).await?;
        let (Some(value), Ok(left)) = (value, u64::try_from(left)) else { return Ok(None) };
        let remaining = Duration::from_millis(left);
        let entry = Entry::from_bytes(&Bytes::from(value), remaining).ok_or(LevelError::Unreadable)?;
        Ok(Some(Found { entry, remaining }))
    }

    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        let link = self.lazy.link().await?;
        let ttl = write.ttl.min(self.max_ttl);
        let Some(age) = remembered::age(&write) else { return Ok(()) };
        // Redis refuses a TTL of 0.
        let set = Set { value: entry.to_bytes(ttl), ttl: millis(ttl).max(1), age };
        match &link {
            Link::Single(manager) => self.set_on(manager.clone(), key, entry, &set).await,
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(_) => self.set_over(&link, key, entry, &set).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        let link = self.lazy.link().await?;
        // Remembered first: a write that comes in between sees it, or is removed.
        let commands =
            vec![commands::remember_delete(&self.names.deleted_key(key)), commands::unlink(&self.names.entry(key))];
        backend(link.run(commands)).await?;
        Ok(())
    }

    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        let link = self.lazy.link().await?;
        backend(link.run(vec![commands::remember_delete(&self.names.deleted_tag(tag))])).await?;
        match &link {
            Link::Single(manager) => {
                let mut call = self.delete_members.key(self.names.members(tag));
                call.arg(self.names.entry("")).arg(BATCH);
                loop {
                    let left: u64 = backend(call.invoke_async(&mut manager.clone())).await?;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
            #[cfg(feature = "redis-cluster")]
            Link::Cluster(_) => self.delete_members_over(&link, tag).await,
        }
    }
}

impl fmt::Debug for RedisLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: it may hold a password.
        f.debug_struct("RedisLevel").field("names", &self.names).finish_non_exhaustive()
    }
}
