//! Which rows of which tables a snapshot tells, whatever is done to them meanwhile.

use std::time::Duration;

use nudj_sync::cdc::{ChangeSource as _, LogicalError, LogicalSource, Position, Resumed};

use super::{super::postgres::run, Replicated, read, snapshot, typed};

/// A snapshot is read for as long as Nudj takes, and to one that is older than a rewriting ALTER TABLE the table is empty.
#[tokio::test]
async fn table_that_is_rewritten_while_others_are_read_is_not_taken_for_an_empty_one() {
    let Some(replicated) = Replicated::new("tables::rewritten").await else { return };
    replicated.run("INSERT INTO challenges VALUES ('a', 'Alpha'), ('b', 'Beta')").await;
    replicated.database.user(1).await;
    let mut source = replicated.source().await;
    source.begin_snapshot().await.unwrap();
    assert_eq!(source.next(1).await.unwrap().changes[0].record.table, "challenges");
    let rewrite = "SET LOCAL lock_timeout = '50ms'; ALTER TABLE users ALTER display_name TYPE CHAR(40)";
    let is_rewritten = sqlx::raw_sql(rewrite).execute(&replicated.database.pool).await.is_ok();
    let rest = read(&mut source, 100, |_, batch| batch.snapshot_complete).await;
    let tables: Vec<_> = rest.iter().map(|change| change.record.table.as_str()).collect();
    assert_eq!((tables, is_rewritten), (vec!["challenges", "users"], false));
    // Nobody waits for it any longer than that.
    replicated.run(rewrite).await;
    drop(source);
    replicated.remove().await;
}

/// Else they would never come, or count as gone; the stream tells them all.
#[tokio::test]
async fn rows_that_are_hidden_from_the_role_are_not_taken_for_none() {
    let Some(replicated) = Replicated::new("tables::hidden").await else { return };
    let role = format!("r_{}", replicated.slot);
    run(&replicated.database.admin, &format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'hush'")).await;
    replicated.run(&format!("GRANT SELECT ON users TO {role}; CREATE PUBLICATION of_users FOR TABLE users")).await;
    for id in [1, 2] {
        replicated.database.user(id).await;
    }
    let (front, back) = replicated.database.url.split_once("postgres@").unwrap();
    let theirs = format!("{front}{role}:hush@{back}");
    let source = LogicalSource::connect(&theirs, replicated.slot.as_str(), ["users"]).await.unwrap();
    let mut source = source.publication("of_users").unwrap().poll_interval(Duration::from_millis(20));
    assert_eq!(snapshot(&mut source).await.len(), 2);
    replicated.run("CREATE POLICY one ON users USING (id = 1); ALTER TABLE users ENABLE ROW LEVEL SECURITY").await;
    let error = source.begin_snapshot().await.unwrap_err();
    assert!(matches!(typed(&error), LogicalError::Table { table, .. } if table == "users"), "{error:?}");
    assert!(error.to_string().contains("BYPASSRLS"), "{error}");
    run(&replicated.database.admin, &format!("ALTER ROLE {role} BYPASSRLS")).await;
    assert_eq!(snapshot(&mut source).await.len(), 2);
    drop(source);
    replicated.run(&format!("DROP OWNED BY {role}")).await;
    run(&replicated.database.admin, &format!("DROP ROLE {role}")).await;
    replicated.remove().await;
}

/// The place is forgotten behind that answer; a process may die in between, or the state be out of reach.
#[tokio::test]
async fn table_that_came_into_being_is_told_anew_by_whoever_opens_the_stream_next() {
    let Some(replicated) = Replicated::new("tables::came").await else { return };
    replicated.run("ALTER TABLE challenges RENAME TO not_yet").await;
    let mut first = replicated.source().await;
    first.begin_snapshot().await.unwrap();
    let place = first.next(100).await.unwrap().position.unwrap();
    drop(first);
    replicated.run("ALTER TABLE not_yet RENAME TO challenges; INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    for _ in 0..3 {
        assert_eq!(replicated.source().await.resume(&place).await.unwrap(), Resumed::Lost);
    }
    let mut last = replicated.source().await;
    assert_eq!(snapshot(&mut last).await.len(), 1);
    drop(last);
    replicated.remove().await;
}

/// The publication has the table already: of one that was made by hand, or from an earlier time.
#[tokio::test]
async fn table_that_is_configured_anew_is_told_though_it_is_published() {
    let Some(replicated) = Replicated::new("tables::anew").await else { return };
    replicated.run("INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    replicated.run(&format!("CREATE PUBLICATION {} FOR ALL TABLES", replicated.slot)).await;
    let of = async |tables: &[&str]| {
        LogicalSource::connect(&replicated.database.url, replicated.slot.as_str(), tables.to_vec()).await.unwrap()
    };
    let mut first = of(&["users"]).await;
    first.begin_snapshot().await.unwrap();
    let place: Position = first.next(100).await.unwrap().position.unwrap();
    drop(first);
    assert_eq!(of(&["users", "challenges"]).await.resume(&place).await.unwrap(), Resumed::Lost);
    let mut both = of(&["users", "challenges"]).await;
    both.begin_snapshot().await.unwrap();
    let place = loop {
        if let Some(place) = both.next(100).await.unwrap().position {
            break place;
        }
    };
    drop(both);
    // One fewer is no reason.
    assert_eq!(of(&["challenges"]).await.resume(&place).await.unwrap(), Resumed::Yes);
    replicated.remove().await;
}
