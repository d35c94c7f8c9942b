//! The level in a database: SQLite, embedded, or PostgreSQL.
//!
//! Both keep entries, their tags, and for a minute the names of what was deleted, so that a value whose read from the
//! origin began before its delete is refused. Expired rows and those over `max_entries` are removed in the background,
//! every few hundred writes and deletes.
//!
//! **Large tags.** A delete of a tag is remembered at once, and removes its entries in portions that are each committed. One
//! that does not get done within the level's timeout goes on with the next operation.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresConfig, PostgresLevel};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteConfig, SqliteLevel};

/// Writes and deletes between two cleanings.
const CLEAN_EVERY: u32 = 256;
/// Entries removed by one statement, so that none holds others up for long: a few milliseconds.
const PORTION: i64 = 100;

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The migrations of one database, with a table of their own, apart from the application's.
fn migrator(scripts: &[&'static str]) -> Migrator {
    let migrations = scripts.iter().zip(1..).map(|(script, version)| {
        Migration::new(version, "nudj cache".into(), MigrationType::Simple, script.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("nudj_cache_migrations");
    migrator
}

/// Says when it is time to clean, one cleaning at a time.
#[derive(Debug, Clone, Default)]
struct Cleaning(Arc<Turn>);

#[derive(Debug, Default)]
struct Turn {
    writes: AtomicU32,
    stage: AtomicU8,
}

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
/// Another one came due while one runs, and may have seen more than that one does.
const AGAIN: u8 = 2;

/// Whoever cleans. One that is dropped in the midst of it, because it panicked or its runtime ended, makes room for the next.
struct Cleaner(Option<Arc<Turn>>);

impl Cleaning {
    /// Counts a write or a delete, and every few hundred of them cleans in the background, by what `make` gives.
    fn spawn_if_due<C, F>(&self, make: impl FnOnce() -> C)
    where
        C: Fn() -> F + Send + 'static,
        F: Future<Output = Result<(), sqlx::Error>> + Send,
    {
        let writes = self.0.writes.fetch_add(1, Ordering::Relaxed);
        if writes % CLEAN_EVERY != CLEAN_EVERY - 1 || self.0.is_running_or_begins() {
            return;
        }
        let (clean, mut cleaner) = (make(), Cleaner(Some(Arc::clone(&self.0))));
        tokio::spawn(async move {
            while let Some(turn) = &cleaner.0 {
                // Its failure is seen by the next operation; the rows wait for the next cleaning.
                let _ = clean().await;
                if !turn.goes_on() {
                    cleaner.0 = None;
                }
            }
        });
    }
}

impl Turn {
    /// Says that one is due; whether one runs that will see to it.
    fn is_running_or_begins(&self) -> bool {
        let next = |stage| Some(if stage == IDLE { RUNNING } else { AGAIN });
        self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) != Ok(IDLE)
    }

    /// Says that one has ended; whether another came due meanwhile.
    fn goes_on(&self) -> bool {
        let next = |stage| Some(if stage == AGAIN { RUNNING } else { IDLE });
        self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(AGAIN)
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        if let Some(turn) = &self.0 {
            turn.stage.store(IDLE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_cleaning_that_comes_due_during_another_follows_it_and_one_that_panics_hinders_none() {
        let (cleaning, may_end) = (Cleaning::default(), Arc::new(Semaphore::new(0)));
        let begun = Arc::new(AtomicUsize::new(0));
        let write = |times| {
            for _ in 0..times * CLEAN_EVERY {
                let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
                cleaning.spawn_if_due(|| {
                    move || {
                        let number = begun.fetch_add(1, Ordering::Relaxed);
                        let may_end = Arc::clone(&may_end);
                        async move {
                            may_end.acquire().await.unwrap().forget();
                            assert_ne!(number, 2, "on purpose");
                            Ok(())
                        }
                    }
                });
            }
        };
        let until = async |count| {
            while begun.load(Ordering::Relaxed) != count {
                tokio::task::yield_now().await;
            }
        };
        write(1);
        until(1).await;
        write(3);
        tokio::task::yield_now().await;
        assert_eq!(begun.load(Ordering::Relaxed), 1, "one at a time");
        may_end.add_permits(1);
        until(2).await;
        may_end.add_permits(1);
        while cleaning.0.stage.load(Ordering::Relaxed) != IDLE {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.load(Ordering::Relaxed), 2, "one for all that came due");
        write(1);
        until(3).await;
        may_end.add_permits(1);
        while cleaning.0.stage.load(Ordering::Relaxed) != IDLE {
            tokio::task::yield_now().await;
        }
        write(1);
        until(4).await;
    }
}
