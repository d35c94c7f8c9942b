//! From PostgreSQL, by a cursor: whose rights do what, which rows are seen, and which table a name is.

use std::time::Duration;

use nudj_sync::cdc::{ChangeSource as _, PostgresSource, Resumed};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};

use super::{
    postgres::{Database, cursor, run},
    postgres_anew::drain,
};

/// A role of its own; removed by [`Role::remove`].
struct Role(String);

impl Role {
    async fn new(database: &Database, rights: &str) -> Self {
        let name = format!("nudj_role_{:016x}", fastrand::u64(..));
        run(&database.pool, &format!("CREATE ROLE {name}; {}", rights.replace("{role}", &name))).await;
        Self(name)
    }

    async fn remove(self, database: &Database) {
        run(&database.pool, &format!("DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.0)).await;
    }
}

/// As one who may do no more than write the table, which is enough to have a temporary table.
async fn attack(database: &Database, id: u64) -> Vec<String> {
    let role = Role::new(database, "GRANT INSERT ON users TO {role}").await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let prepare = format!(
        "SET ROLE {0}; CREATE TEMP TABLE nudj_changes (tbl TEXT, op TEXT, record_key JSONB, old JSONB, new JSONB); CREATE TEMP TABLE was (who TEXT);
        CREATE FUNCTION pg_temp.take() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO pg_temp.was VALUES (current_user); RETURN NULL; END $$;
        CREATE TRIGGER take AFTER INSERT ON pg_temp.nudj_changes FOR EACH ROW EXECUTE FUNCTION pg_temp.take();
        GRANT ALL ON nudj_changes, was TO PUBLIC; INSERT INTO users VALUES ({id})",
        role.0
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
    let was = sqlx::query_scalar("SELECT who FROM pg_temp.was").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    role.remove(database).await;
    was
}

#[tokio::test]
async fn who_may_write_a_table_gets_no_rights_of_who_captures_it() {
    let Some(database) = Database::new("cdc::postgres_rights::temporary").await else { return };
    let mut source = cursor(&database.url).await.0;
    source.begin_snapshot().await.unwrap();
    drain(&mut source).await;
    assert_eq!(attack(&database, 7).await, [""; 0], "who ran the writer's own function");
    assert_eq!(drain(&mut source).await.0.len(), 1, "and its change is told");
    database.remove().await;
}

/// With notes of his own he would have any record deleted.
#[tokio::test]
async fn nobody_else_makes_a_trigger_of_our_function() {
    let Some(database) = Database::new("cdc::postgres_rights::function").await else { return };
    cursor(&database.url).await.0.begin_snapshot().await.unwrap();
    let role = Role::new(&database, "GRANT USAGE ON SCHEMA public TO {role}").await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let functions = "SELECT proname::text FROM pg_proc WHERE proname LIKE 'nudj\\_cdc\\_note%'";
    let functions: Vec<String> = sqlx::query_scalar(functions).fetch_all(&mut connection).await.unwrap();
    assert_eq!(functions.len(), 1, "{functions:?}");
    let make = format!(
        "SET ROLE {}; CREATE TEMP TABLE own (id INT PRIMARY KEY);
        CREATE TRIGGER forge AFTER DELETE ON own FOR EACH ROW EXECUTE FUNCTION {}('users', '1')",
        role.0, functions[0]
    );
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await;
    let error = made.unwrap_err().to_string();
    assert!(error.contains("permission denied for function"), "{error}");
    connection.close().await.unwrap();
    role.remove(&database).await;
    database.remove().await;
}

/// Its trigger is cloned by whoever makes the partition.
#[tokio::test]
async fn the_owner_of_a_captured_table_makes_partitions_of_it_and_their_rows_are_told() {
    let Some(database) = Database::new("cdc::postgres_rights::partition").await else { return };
    let role = Role::new(&database, "GRANT USAGE, CREATE ON SCHEMA public TO {role}").await;
    let make = format!(
        "CREATE TABLE visits (day INT, id INT, PRIMARY KEY (id, day)) PARTITION BY RANGE (day); ALTER TABLE visits OWNER TO {}",
        role.0
    );
    run(&database.pool, &make).await;
    let mut source =
        PostgresSource::with_pool(database.pool.clone(), ["visits"]).poll_interval(Duration::from_millis(5));
    source.begin_snapshot().await.unwrap();
    drain(&mut source).await;
    let partition = format!(
        "SET ROLE {}; CREATE TABLE first PARTITION OF visits FOR VALUES FROM (1) TO (2); INSERT INTO visits VALUES (1, 7); RESET ROLE",
        role.0
    );
    run(&database.pool, &partition).await;
    let told: Vec<_> = drain(&mut source).await.0.into_iter().map(|change| change.record.key).collect();
    assert_eq!(told, ["[7,1]"]);
    role.remove(&database).await;
    database.remove().await;
}

/// What it had read before is the state of then, in which there is no trigger.
#[tokio::test]
async fn a_change_of_a_transaction_that_began_before_the_trigger_was_made_is_told() {
    let Some(database) = Database::new("cdc::postgres_rights::began_before").await else { return };
    let mut writer = PgConnection::connect(&database.url).await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    sqlx::raw_sql(begin).execute(&mut writer).await.unwrap();
    let mut source = cursor(&database.url).await.0;
    source.begin_snapshot().await.unwrap();
    sqlx::raw_sql("INSERT INTO users VALUES (7); COMMIT").execute(&mut writer).await.unwrap();
    let told: Vec<_> = drain(&mut source).await.0.into_iter().map(|change| change.record.key).collect();
    assert_eq!(told, ["7"]);
    writer.close().await.unwrap();
    database.remove().await;
}

/// Its trigger stays, and says of each change that the key is another: no snapshot of the others would ever change that.
#[tokio::test]
async fn another_key_of_a_table_that_is_no_longer_captured_is_nothing_to_the_others() {
    let Some(database) = Database::new("cdc::postgres_rights::left_out").await else { return };
    cursor(&database.url).await.0.begin_snapshot().await.unwrap();
    let mut source =
        PostgresSource::with_pool(database.pool.clone(), ["users"]).poll_interval(Duration::from_millis(5));
    source.begin_snapshot().await.unwrap();
    drain(&mut source).await;
    let another = "ALTER TABLE challenges DROP CONSTRAINT challenges_pkey, ADD COLUMN number INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
        INSERT INTO challenges (id) VALUES ('c'); INSERT INTO users VALUES (7)";
    run(&database.pool, another).await;
    let told: Vec<_> = drain(&mut source).await.0.into_iter().map(|change| change.record.table).collect();
    assert_eq!(told, ["users"]);
    database.remove().await;
}

/// What the version before made, with the trigger of `users` as it was named there.
const EARLIER: &str = r#"CREATE TABLE nudj_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), tbl TEXT NOT NULL, op TEXT NOT NULL,
    record_key JSONB NOT NULL, old JSONB, new JSONB, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp());
CREATE INDEX nudj_changes_xid ON nudj_changes (xid, id);
CREATE INDEX nudj_changes_record ON nudj_changes (tbl, record_key, id);
CREATE FUNCTION nudj_cdc_note_2() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
BEGIN
    INSERT INTO nudj_changes (tbl, op, record_key, new) VALUES (TG_ARGV[0], 'I', jsonb_build_array(NEW.id), to_jsonb(NEW));
    RETURN NULL;
END $body$;
CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION nudj_cdc_note_2('users', 'id');
INSERT INTO nudj_changes (tbl, op, record_key) VALUES ('', 'E', '[]')"#;

#[tokio::test]
async fn triggers_of_the_version_before_are_replaced_without_a_snapshot_or_a_lost_change() {
    let Some(database) = Database::new("cdc::postgres_rights::earlier").await else { return };
    // The name depends on the table and the key alone.
    cursor(&database.url).await.0.begin_snapshot().await.unwrap();
    let name = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal";
    let trigger: String = sqlx::query_scalar(name).fetch_one(&database.pool).await.unwrap();
    run(&database.pool, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE TABLE users (id BIGINT PRIMARY KEY)")
        .await;
    run(&database.pool, &EARLIER.replace("{trigger}", &trigger)).await;
    assert_eq!(attack(&database, 1).await, ["postgres"], "this is what it could do");
    let mut reader = source(&database.pool);
    let at = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text";
    let xmin: String = sqlx::query_scalar(at).fetch_one(&database.pool).await.unwrap();
    run(&database.pool, "INSERT INTO users VALUES (2)").await;
    let position = nudj_sync::cdc::Position::new(format!("{xmin}:{xmin}:0"));
    assert_eq!(reader.resume(&position).await.unwrap(), Resumed::Yes);
    run(&database.pool, "INSERT INTO users VALUES (3); DELETE FROM users WHERE id = 2").await;
    let told: Vec<String> = drain(&mut reader).await.0.iter().map(|change| change.record.to_string()).collect();
    assert_eq!(told, ["users/2", "users/3", "users/2"]);
    assert_eq!(attack(&database, 4).await, [""; 0]);
    let function = "SELECT to_regprocedure('nudj_cdc_note_2()') IS NOT NULL";
    assert!(!sqlx::query_scalar::<_, bool>(function).fetch_one(&database.pool).await.unwrap(), "its function is gone");
    database.remove().await;
}

fn source(pool: &PgPool) -> PostgresSource {
    PostgresSource::with_pool(pool.clone(), ["users"]).poll_interval(Duration::from_millis(5))
}

/// Each connection begins with this.
async fn pool(database: &Database, begin: String) -> PgPool {
    let options = PgPoolOptions::new().max_connections(2).after_connect(move |connection, _| {
        let begin = begin.clone();
        Box::pin(async move { sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(connection).await.map(drop) })
    });
    options.connect(&database.url).await.unwrap()
}

/// It would take the others for gone.
#[tokio::test]
async fn a_snapshot_of_rows_that_are_hidden_is_refused() {
    let Some(database) = Database::new("cdc::postgres_rights::hidden").await else { return };
    let rights = "GRANT USAGE, CREATE ON SCHEMA public TO {role}; ALTER TABLE users OWNER TO {role};
        ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY one ON users USING (id = 1)";
    let role = Role::new(&database, rights).await;
    database.user(1).await;
    database.user(2).await;
    let hidden = pool(&database, format!("SET ROLE {}", role.0)).await;
    let mut source = source(&hidden);
    let error = source.begin_snapshot().await.expect_err("half of it is hidden");
    assert!(format!("{error:?}").contains("row-level security"), "{error:?}");
    run(&database.pool, "ALTER TABLE users NO FORCE ROW LEVEL SECURITY").await;
    source.begin_snapshot().await.unwrap();
    assert_eq!(drain(&mut source).await.0.len(), 2);
    hidden.close().await;
    role.remove(&database).await;
    database.remove().await;
}

/// With its snapshot fixed before the lock, it would not see what is committed while it waits for that, and no trigger notes it.
#[tokio::test]
async fn a_snapshot_shows_what_is_committed_while_it_waits_for_its_lock() {
    let Some(database) = Database::new("cdc::postgres_rights::repeatable_read").await else { return };
    let strict = pool(&database, "SET default_transaction_isolation = 'repeatable read'".into()).await;
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass)";
    let mut rows = 0;
    // It waits for a tenth of a second only, and the machine may be slow.
    let told = loop {
        let mut writer = database.pool.begin().await.unwrap();
        rows += 1;
        let insert = format!("INSERT INTO users VALUES ({rows})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut *writer).await.unwrap();
        let mut source = source(&strict);
        let snapshot = tokio::spawn(async move { source.begin_snapshot().await.map(|()| source) });
        while !snapshot.is_finished() && !sqlx::query_scalar::<_, bool>(waits).fetch_one(&database.pool).await.unwrap()
        {
            tokio::task::yield_now().await;
        }
        writer.commit().await.unwrap();
        if let Ok(mut source) = snapshot.await.unwrap() {
            break drain(&mut source).await.0;
        }
        assert!(rows < 200, "the lock is never had");
    };
    assert_eq!(told.len(), rows);
    strict.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_name_is_the_table_that_is_called_so_and_no_other() {
    let Some(database) = Database::new("cdc::postgres_rights::names").await else { return };
    run(
        &database.pool,
        r#"CREATE TABLE "Users" ("Id" INT PRIMARY KEY); CREATE TABLE "Odd""Name" (id INT PRIMARY KEY); CREATE SCHEMA "S";
        CREATE TABLE "S"."T" (id INT PRIMARY KEY)"#,
    )
    .await;
    let names = ["Users", r#"Odd"Name"#, "S.T", "Challenges"];
    let mut source = PostgresSource::with_pool(database.pool.clone(), names).poll_interval(Duration::from_millis(5));
    source.begin_snapshot().await.unwrap();
    let mut missing = Vec::new();
    let ended = async {
        while missing.is_empty() {
            missing = source.next(10).await.unwrap().missing;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the snapshot ends");
    assert_eq!(missing, ["Challenges"]);
    run(
        &database.pool,
        r#"INSERT INTO "Users" VALUES (1); INSERT INTO "Odd""Name" VALUES (2); INSERT INTO "S"."T" VALUES (3)"#,
    )
    .await;
    let told: Vec<String> = drain(&mut source).await.0.iter().map(|change| change.record.to_string()).collect();
    assert_eq!(told, ["Users/1", r#"Odd"Name/2"#, "S.T/3"]);
    database.remove().await;
}

#[tokio::test]
async fn very_many_changes_wait_as_many_as_they_are_numbered() {
    let Some(database) = Database::new("cdc::postgres_rights::very_many").await else { return };
    let mut source = cursor(&database.url).await.0;
    source.begin_snapshot().await.unwrap();
    let (_, position) = drain(&mut source).await;
    source.acknowledge(&position.unwrap()).await.unwrap();
    assert_eq!(source.lag().await.unwrap().changes, Some(0));
    for (more, all) in [(9_999, 9_999), (2_001, 12_000)] {
        let insert =
            format!("INSERT INTO challenges SELECT gen_random_uuid()::text, 'x' FROM generate_series(1, {more})");
        run(&database.pool, &insert).await;
        let lag = source.lag().await.unwrap();
        assert!(lag.changes == Some(all) && lag.seconds.is_some_and(|seconds| seconds > 0.0), "{lag:?}");
    }
    database.remove().await;
}
