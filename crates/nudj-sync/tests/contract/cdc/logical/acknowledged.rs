//! What the server is told to be done, when the stream breaks off while Nudj takes nothing.

use std::time::Duration;

use nudj_mock::{Fault, MockNudj};

use super::{
    super::{
        fixture::{builder, caught_up, users},
        postgres::{cursor, eventually},
    },
    Replicated,
    proxy::Proxy,
    source,
};

#[tokio::test]
async fn a_stream_that_is_opened_again_acknowledges_nothing_that_nudj_does_not_have() {
    let Some(replicated) = Replicated::new("opened_again").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let proxy = Proxy::new(&replicated.database.url, "never said", "never said").await;
    let (_, state) = cursor(&replicated.database.url).await;
    let pipeline = builder(source(&proxy.url, &replicated.slot).await, state, &mock).start().unwrap();
    caught_up(&pipeline).await;
    mock.inject(Fault::status(503));
    let before: String =
        sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&replicated.database.pool).await.unwrap();
    replicated.database.user(1).await;
    let handed_out = pipeline.wait_for(|status| status.retries > 3 && status.waiting == 1);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), handed_out).await, Ok(true), "{:?}", pipeline.status());
    let first = replicated.slot("active_pid").await;
    proxy.cut();
    let noticed = pipeline.wait_for(|status| status.stream_failures > 0);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), noticed).await, Ok(true), "{:?}", pipeline.status());
    proxy.mend();
    // Told by the new stream, and not by the one before.
    let heard = "SELECT flush_lsn FROM pg_stat_replication WHERE pid = active_pid AND reply_time IS NOT NULL";
    eventually("the server hears of the new stream", &pipeline, async || {
        replicated.slot("active_pid").await != first && replicated.slot(heard).await.is_some()
    })
    .await;
    for told in [format!("({heard}) <= '{before}'"), format!("confirmed_flush_lsn <= '{before}'")] {
        assert_eq!(replicated.slot(&told).await.as_deref(), Some("true"), "{told}");
    }
    mock.clear_faults();
    let is_told =
        async || replicated.slot(&format!("confirmed_flush_lsn > '{before}'")).await.as_deref() == Some("true");
    eventually("the server hears of what is done", &pipeline, is_told).await;
    assert!(users(&mock).contains_key("1"));
    assert_eq!(pipeline.status().snapshots, 1, "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}
