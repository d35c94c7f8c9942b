//! Connections that are made when they are first needed, in the background.

use std::{future::Future, sync::Arc, time::Duration};

#[cfg(feature = "redis-cluster")]
use futures_util::future::try_join_all;
use redis::{
    Client, Cmd, RedisError, RedisResult, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;

use super::RedisConfig;
use crate::{error::CacheError, level::LevelError};

/// A connection to one server, or to a cluster.
#[derive(Clone)]
pub(super) enum Link {
    Single(ConnectionManager),
    #[cfg(feature = "redis-cluster")]
    Cluster(redis::cluster_async::ClusterConnection),
}

/// Where to connect to.
#[derive(Clone)]
pub(super) enum Address {
    Single(Box<Client>),
    #[cfg(feature = "redis-cluster")]
    Cluster(Box<redis::cluster::ClusterClient>),
}

/// A link that is there, or being made.
#[derive(Clone)]
pub(super) struct Lazy {
    address: Address,
    connect_timeout: Duration,
    link: Arc<OnceCell<Link>>,
}

impl Lazy {
    pub(super) fn new(address: Address, config: &RedisConfig) -> Self {
        Self { address, connect_timeout: config.connect_timeout, link: Arc::default() }
    }

    /// The link. Making it goes on when the caller leaves, so that it gets done even if it takes longer than one
    /// operation may.
    pub(super) async fn link(&self) -> Result<Link, LevelError> {
        if let Some(link) = self.link.get() {
            return Ok(link.clone());
        }
        let lazy = self.clone();
        let task = tokio::spawn(async move { lazy.link.get_or_try_init(|| lazy.connect()).await.cloned() });
        task.await.map_err(LevelError::backend)?.map_err(LevelError::backend)
    }

    async fn connect(&self) -> RedisResult<Link> {
        match &self.address {
            Address::Single(client) => manager(Client::clone(client), self.connect_timeout).await.map(Link::Single),
            #[cfg(feature = "redis-cluster")]
            Address::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }
}

/// A connection that makes itself anew after it broke. One attempt at a time, each when it is asked for: the breaker
/// above says how often.
pub(super) async fn manager(client: Client, connect_timeout: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new().set_connection_timeout(Some(connect_timeout)).set_number_of_retries(0);
    ConnectionManager::new_with_config(client, config).await
}

impl Link {
    /// Runs commands, in order, and gives their replies.
    pub(super) async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(link) => {
                let mut pipeline = redis::pipe();
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.query_async(&mut link.clone()).await
            }
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(link) => {
                let mut replies = Vec::with_capacity(commands.len());
                for command in commands {
                    replies.push(command.query_async(&mut link.clone()).await?);
                }
                Ok(replies)
            }
        }
    }

    /// Runs commands at once, in any order: in a cluster each goes to a node of its own, and they do not wait for each
    /// other.
    #[cfg(feature = "redis-cluster")]
    pub(super) async fn run_at_once(&self, commands: Vec<Cmd>) -> RedisResult<()> {
        match self {
            Self::Single(_) => self.run(commands).await.map(drop),
            Self::Cluster(link) => {
                let runs = commands.into_iter().map(|command| {
                    let mut link = link.clone();
                    async move { command.query_async::<()>(&mut link).await }
                });
                try_join_all(runs).await.map(drop)
            }
        }
    }

    /// Runs commands on one key as one.
    pub(super) async fn run_as_one<T: redis::FromRedisValue>(&self, commands: [Cmd; 2]) -> RedisResult<T> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for command in commands {
            pipeline.add_command(command);
        }
        match self {
            Self::Single(link) => pipeline.query_async(&mut link.clone()).await,
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(link) => pipeline.query_async(&mut link.clone()).await,
        }
    }
}

/// Reads an address. Its text is not repeated in the error: it may hold a password.
pub(super) fn client(url: &str) -> Result<Client, CacheError> {
    let client = Client::open(url).map_err(|_unread| unreadable())?;
    check_tls(url)?;
    Ok(client)
}

pub(super) fn unreadable() -> CacheError {
    CacheError::config("redis.url", "is not of the form redis://user:password@host:port/database (rediss:// for TLS)")
}

/// rustls panics at the first connection when it has no provider to choose, or several.
#[cfg(feature = "redis-tls")]
pub(super) fn check_tls(url: &str) -> Result<(), CacheError> {
    if url.starts_with("rediss:") && rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(CacheError::config(
            "redis.url",
            "rediss:// needs a TLS provider: call rustls' CryptoProvider::install_default at the start of the program",
        ));
    }
    Ok(())
}

#[cfg(not(feature = "redis-tls"))]
#[expect(clippy::unnecessary_wraps, reason = "the same with the feature")]
pub(super) fn check_tls(_: &str) -> Result<(), CacheError> {
    Ok(())
}

/// Turns a reply into what was expected of it.
pub(super) async fn backend<T>(reply: impl Future<Output = Result<T, RedisError>>) -> Result<T, LevelError> {
    reply.await.map_err(LevelError::backend)
}
