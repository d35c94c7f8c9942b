//! The level in a database: SQLite, embedded, or PostgreSQL.
//!
//! Both keep entries, their tags, and for a minute the names of what was deleted, so that a value whose read from the
//! origin began before its delete is refused. Expired rows and those over `max_entries` are removed in the background,
//! every few hundred writes and deletes.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
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
/// Rows removed by one statement of a cleaning, so that none holds others up for long.
const CLEAN_ROWS: i64 = 1000;

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
    running: AtomicBool,
}

/// Ends a cleaning when it is dropped.
struct Cleaner(Arc<Turn>);

impl Cleaning {
    fn due(&self) -> Option<Cleaner> {
        let writes = self.0.writes.fetch_add(1, Ordering::Relaxed);
        let due = writes % CLEAN_EVERY == CLEAN_EVERY - 1 && !self.0.running.swap(true, Ordering::AcqRel);
        due.then(|| Cleaner(Arc::clone(&self.0)))
    }

    /// Counts a write or a delete, and cleans in the background every few hundred of them.
    fn spawn_if_due<F>(&self, clean: impl FnOnce() -> F)
    where
        F: Future<Output = Result<(), sqlx::Error>> + Send + 'static,
    {
        if let Some(turn) = self.due() {
            let cleaning = clean();
            tokio::spawn(async move {
                // Its failure is seen by the next operation; the rows wait for the next cleaning.
                let _ = cleaning.await;
                drop(turn);
            });
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}
