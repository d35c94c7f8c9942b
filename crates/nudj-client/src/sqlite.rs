//! For the crates of this project that keep something in an SQLite file.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// Of two that put a new file into write-ahead mode at once, SQLite refuses one without waiting, whatever its busy timeout: that one
/// tries again here, for 5 s, as long as the busy timeout of ours. May be dropped at any time.
///
/// # Errors
/// What the last attempt ended in.
pub async fn while_busy<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match attempt().await {
            Err(error) if is_busy(&error) && Instant::now() < until => sleep(Duration::from_millis(20)).await,
            done => return done,
        }
    }
}

/// SQLITE_BUSY in one of its forms: the low byte is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}
