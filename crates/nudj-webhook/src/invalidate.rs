//! [`InvalidateUser`]: the cache forgets a user whom a webhook says has changed.

use std::future::Future;
use std::pin::Pin;

use nudj_cache::{CacheStats, Invalidation, LevelStats, MultiLevelCache};

use crate::{BoxError, Delivery, Handler, Permanent};

/// Removes everything tagged `user:{id}` from all levels of all processes: the keys `user:{id}`, `user:profile:{id}`,
/// `user:challenges:{id}` and `user:rewards:{id}`, and whatever else has the tag.
///
/// ```
/// use nudj_cache::{CacheConfig, MultiLevelCache};
/// use nudj_webhook::{InvalidateUser, Receiver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = MultiLevelCache::builder(CacheConfig::default()).build()?;
/// let receiver = Receiver::builder()
///     .secret("it's a secret to everybody")
///     .on("user.updated", InvalidateUser::new(cache.clone()))
///     .on("challenge.completed", InvalidateUser::new(cache))
///     .build()?;
/// # drop(receiver);
/// # Ok(())
/// # }
/// ```
///
/// Fits every event that names a user ([`Event::user_id`](crate::event::Event::user_id)); one that names none becomes a
/// dead letter at once. Doing it twice does no harm.
///
/// While a shared level is down the attempt fails, so that the inbox repeats it: this process keeps the delete and makes
/// up for it, but only for as long as it lives. An outage longer than all attempts (about 15 s unless set, see
/// [`RetryConfig`](crate::RetryConfig)) leaves a dead letter, to be replayed once the level is back.
#[derive(Clone)]
pub struct InvalidateUser {
    cache: MultiLevelCache,
}

impl InvalidateUser {
    /// For this cache, which tells the other processes by its own channel.
    pub fn new(cache: MultiLevelCache) -> Self {
        Self { cache }
    }
}

impl Handler for InvalidateUser {
    fn handle(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> {
        let cache = self.cache.clone();
        Box::pin(async move {
            let user = delivery.event.user_id().ok_or_else(|| Permanent::new("the event names no user"))?;
            let before = cache.stats();
            cache.invalidate(&Invalidation::user(user)).await;
            if let Some(level) = behind(&before, &cache.stats()) {
                return Err(format!("the cache level {level} did not take the delete").into());
            }
            tracing::debug!(delivery_id = %delivery.id, "a user's cache entries were removed");
            Ok(())
        })
    }
}

/// A level that failed in between and has not caught up. Deletes that wait while nothing fails are those of other tasks,
/// just begun.
fn behind(before: &CacheStats, now: &CacheStats) -> Option<&'static str> {
    let failures = |level: &LevelStats| {
        [level.errors, level.timeouts, level.skipped, level.lost_deletes].into_iter().fold(0, u64::saturating_add)
    };
    let mut levels = before.levels.iter().zip(&now.levels);
    let behind = levels.find(|(before, now)| now.pending_deletes > 0 && failures(now) > failures(before));
    behind.map(|(_, level)| level.name)
}

impl std::fmt::Debug for InvalidateUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvalidateUser").finish_non_exhaustive()
    }
}
