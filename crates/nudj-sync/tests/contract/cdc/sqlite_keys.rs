//! Keys that SQLite takes and JSON has no way to write.

use nudj_sync::cdc::ChangeSource as _;

use super::{
    fixture::{builder, caught_up, users},
    sqlite::{Database, mock, named, settled},
};

/// A column of any type but STRICT ones may hold bytes: what an application writes must not fail because somebody listens.
#[tokio::test]
async fn key_of_bytes_is_written_as_before_and_is_hex_at_nudj() {
    let (database, mock) = (Database::new().await, mock().await);
    database.run("CREATE TABLE late (id UUID PRIMARY KEY, email TEXT, display_name TEXT)").await;
    let insert =
        |id: &str| format!("INSERT INTO late VALUES ({id}, 'u' || lower(hex({id})) || '@example.org', 'first')");
    database.run(insert("x'00FF10'")).await;
    let mapping = nudj_sync::cdc::UserMapping::new();
    let pipeline =
        builder(database.source().await, database.state().await, &mock).map("late", mapping).start().unwrap();
    caught_up(&pipeline).await;
    database.run(insert("x'ABCDEF'")).await;
    database.run(insert("x'07'")).await;
    database.run(insert("'text'")).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("00ff10", "first"), ("abcdef", "first"), ("07", "first"), ("text", "first")]));
    database
        .run("UPDATE late SET display_name = 'second' WHERE id = x'ABCDEF'; DELETE FROM late WHERE id = x'07'")
        .await;
    database.run("UPDATE late SET id = x'01' WHERE id = x'00FF10'").await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("01", "first"), ("abcdef", "second"), ("text", "first")]));
    assert_eq!(pipeline.status().buried, 0, "{:?}", pipeline.status());
}

/// Text that is no UTF-8, and numbers that 15 digits do not tell apart.
#[tokio::test]
async fn key_that_json_does_not_write_as_it_is_names_its_row_and_stops_nothing() {
    let (database, mock) = (Database::new().await, mock().await);
    database.run("CREATE TABLE late (id PRIMARY KEY, email TEXT, display_name TEXT)").await;
    let insert = |id: &str, name: &str| {
        format!("INSERT INTO late VALUES ({id}, 'u{}@example.org', '{name}')", name.replace(' ', ""))
    };
    let keys = ["0.1 + 0.2", "0.3", "CAST(x'ff' AS TEXT)", "CAST(x'fe' AS TEXT)", "9e999", "NULL"];
    for (number, id) in keys.iter().enumerate() {
        database.run(insert(id, &format!("row {number}"))).await;
    }
    let mapping = nudj_sync::cdc::UserMapping::new();
    let pipeline =
        builder(database.source().await, database.state().await, &mock).map("late", mapping).start().unwrap();
    caught_up(&pipeline).await;
    let (exact, ff, fe) = ("0.30000000000000004", "\u{fffd}ff", "\u{fffd}fe");
    let all = [(exact, "row 0"), ("0.3", "row 1"), (ff, "row 2"), (fe, "row 3"), ("9e999", "row 4")];
    assert_eq!(users(&mock), named(&all));

    database.run("UPDATE late SET display_name = 'second' WHERE id IN (0.1 + 0.2, CAST(x'ff' AS TEXT))").await;
    database.run("DELETE FROM late WHERE id IN (0.3, CAST(x'fe' AS TEXT), 9e999)").await;
    database.run(insert("NULL", "row 6")).await;
    database.run("DELETE FROM late WHERE id IS NULL").await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[(exact, "second"), (ff, "second")]));
    assert_eq!((pipeline.status().buried, pipeline.status().stream_failures), (0, 0), "{:?}", pipeline.status());
    // The place behind such a note is known again.
    database.run("UPDATE late SET display_name = 'third' WHERE id = CAST(x'ff' AS TEXT)").await;
    settled(&database, &pipeline).await;
    assert!(pipeline.stop(std::time::Duration::from_secs(5)).await);
    let mapping = nudj_sync::cdc::UserMapping::new();
    let pipeline =
        builder(database.source().await, database.state().await, &mock).map("late", mapping).start().unwrap();
    caught_up(&pipeline).await;
    assert_eq!((users(&mock)[ff].as_str(), pipeline.status().snapshots), ("third", 0));
}

#[tokio::test]
async fn every_number_with_a_fraction_is_a_key_of_its_own() {
    let database = Database::new().await;
    database.run("CREATE TABLE late (id REAL PRIMARY KEY, exact TEXT)").await;
    let mut rng = fastrand::Rng::with_seed(7);
    let numbers: Vec<f64> = (0..3000)
        .map(|number| match number % 3 {
            0 => rng.f64(),
            1 => (rng.f64() - 0.5) * 1e6,
            _ => (rng.f64() - 0.5) * 10_f64.powi(rng.i32(-50..50)),
        })
        .collect();
    let rows: Vec<String> = numbers.iter().map(|number| format!("({number:e}, '')")).collect();
    database.run(format!("INSERT INTO late VALUES {}", rows.join(", "))).await;
    let mut source = database.source().await;
    source.begin_snapshot().await.unwrap();
    let changes = source.next(10_000).await.unwrap().changes;
    let names: std::collections::BTreeSet<&str> = changes.iter().map(|change| change.record.key.as_str()).collect();
    assert_eq!((changes.len(), names.len()), (numbers.len(), numbers.len()));
    for change in &changes {
        let there = change.column("id").unwrap().as_f64().unwrap();
        assert_eq!(change.record.key.parse::<f64>().unwrap().to_bits(), there.to_bits(), "{}", change.record);
    }
}
