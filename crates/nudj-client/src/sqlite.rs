//! For the crates of this project that keep something in an SQLite file.

use std::{future::Future, time::Duration};

/// Of two that put a new file into write-ahead mode at once, SQLite refuses one without waiting, whatever its busy timeout: that one
/// tries again here, for 2 s. May be dropped at any time.
///
/// # Errors
/// What the last attempt ended in.
pub async fn while_busy<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    const AGAIN: u32 = 100;
    let mut refused = 0;
    loop {
        match attempt().await {
            Err(error) if refused < AGAIN && is_busy(&error) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

/// SQLITE_BUSY in one of its forms: the low byte is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}
