//! Keys that SQLite takes and JSON has no way to write.

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
