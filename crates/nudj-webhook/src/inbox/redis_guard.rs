//! [`RedisGuard`]: ids seen by any of several receivers, in Redis.

use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo};

use super::{ReplayGuard, Reservation};
use crate::Error;

/// A reservation whose holder died is given up after this; until then a repeat is answered 503.
const RESERVATION: Duration = Duration::from_secs(30);

/// The value of a confirmed id. Tokens are 32 hex digits, so never this.
const CONFIRMED: &str = "seen";

/// Keeps the ids in Redis, one key each with an expiry. Connects when first used, and again by itself; a command that
/// takes longer than 500 ms has failed, and the delivery is answered 503.
///
/// Needs Redis 7.0 or later, or a server that knows as much (`SET` with `NX` and `GET` at once); an older one refuses the
/// command, and every delivery is answered 503. Redis must keep what it was told: with an eviction policy that drops such
/// keys, repeats are handled twice.
#[derive(Clone)]
pub struct RedisGuard {
    connection: ConnectionManager,
    prefix: String,
}

impl RedisGuard {
    /// Uses the server at `url` (`redis://…`), and keys beginning with `prefix`, such as `nudj:webhook:`. Does not
    /// connect yet.
    ///
    /// # Errors
    /// [`Error::Store`] when the address cannot be read.
    pub fn new(url: impl IntoConnectionInfo, prefix: impl Into<String>) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_millis(500)))
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_number_of_retries(1);
        let client = Client::open(url).map_err(Error::store)?;
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(Error::store)?;
        Ok(Self { connection, prefix: prefix.into() })
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }
}

impl std::fmt::Debug for RedisGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisGuard").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl ReplayGuard for RedisGuard {
    async fn reserve(&self, id: &str, token: &str) -> Result<Reservation, Error> {
        // Set, or the value that is there; one step, so that an expiry in between cannot confuse.
        let held: Option<String> = redis::cmd("SET")
            .arg(self.key(id))
            .arg(token)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(RESERVATION.as_millis() as u64)
            .query_async(&mut self.connection.clone())
            .await
            .map_err(Error::store)?;
        Ok(match held.as_deref() {
            None => Reservation::Fresh,
            Some(CONFIRMED) => Reservation::Seen,
            // The command was sent twice by a reconnect: the reservation is ours.
            Some(held) if held == token => Reservation::Fresh,
            Some(_) => Reservation::Reserved,
        })
    }

    async fn confirm(&self, id: &str, _token: &str, retention: Duration) -> Result<(), Error> {
        // Whoever holds it by now: the delivery is in our queue.
        redis::cmd("SET")
            .arg(self.key(id))
            .arg(CONFIRMED)
            .arg("PX")
            .arg(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX).max(1))
            .query_async(&mut self.connection.clone())
            .await
            .map_err(Error::store)
    }

    async fn release(&self, id: &str, token: &str) -> Result<(), Error> {
        // Sent whole, not by its digest: a server that hangs must find all of it when it comes back.
        redis::cmd("EVAL")
            .arg("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1")
            .arg(1)
            .arg(self.key(id))
            .arg(token)
            .query_async::<i64>(&mut self.connection.clone())
            .await
            .map(drop)
            .map_err(Error::store)
    }
}
