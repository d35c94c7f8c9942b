//! Users, at the mock, through the real client.

use std::time::Duration;

use futures_util::stream;
use http::Method;
use nudj_client::{Client, Config, model::NewUser};
use nudj_mock::{Fault, MockNudj, MockService};
use nudj_sync::{
    Remote,
    batch::{Batch, BatchConfig, Totals, Users},
};

use super::*;
use crate::nudj::client;

const USERS: &str = "/api/v2/admin/users";
const BULK: &str = "/api/v2/admin/users/bulk";

fn user(number: u64) -> NewUser {
    let (email, id) = (format!("user{number}@example.com"), format!("ext-{number}"));
    NewUser { email: Some(email), external_user_id: Some(id), ..NewUser::default() }
}

async fn import<N: Remote>(users: Users<N>, count: u64) -> Totals {
    let config = BatchConfig { base_delay: Duration::from_millis(1), max_retries: 20, ..BatchConfig::default() };
    let rows = stream::iter((0..count).map(|number| Ok(Row::new(number + 1, user(number)))));
    Batch::new(users, config).unwrap().run(rows, |_| Ok(())).await.unwrap().totals
}

/// A client of a mock in memory, which takes the same user twice: what is created twice shows.
fn in_memory(faults: impl IntoIterator<Item = Fault>) -> (MockService, Client) {
    let mock = MockNudj::builder().duplicate_users(true).request_log(0).service().unwrap();
    faults.into_iter().for_each(|fault| _ = mock.inject(fault));
    let mut config = Config { endpoints: vec!["http://127.0.0.1:1".to_owned()], ..Config::default() };
    config.circuit_breaker.failure_threshold = 0;
    let client = Client::builder().config(config).token(mock.token()).build_over(mock.clone()).unwrap();
    (mock, client)
}

/// Effects are the calls asked for, though every third answer is lost and every tenth call fails: 0 duplicates, 0 missing.
#[tokio::test(start_paused = true)]
async fn users_are_created_once_each_though_a_third_of_the_answers_is_lost() {
    for bulk in [false, true] {
        let faults = [Fault::lost_answer().probability(0.3, 1), Fault::status(500).probability(0.10, 2)];
        let (mock, client) = in_memory(faults);
        let users = if bulk { Users::bulk(client) } else { Users::new(client) };
        let totals = import(users, 1_000).await;
        assert_eq!((totals.records(), totals.created + totals.found), (1_000, 1_000), "bulk: {bulk}");
        let mut ids: Vec<_> = mock.users().iter().map(|user| user["externalUserId"].to_string()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), mock.users_count()), (1_000, 1_000), "bulk: {bulk}");
    }
}

#[tokio::test]
async fn bulk_sends_a_chunk_in_one_call_and_single_one_post_per_user() {
    let mock = MockNudj::start().await.unwrap();
    assert_eq!(import(Users::bulk(client(&mock)), 250).await.created, 250);
    assert_eq!(mock.received().count(Method::POST, BULK), 3);
    assert_eq!(mock.received().count(Method::POST, USERS), 0);
    let mock = MockNudj::start().await.unwrap();
    assert_eq!(import(Users::new(client(&mock)), 250).await.created, 250);
    assert_eq!(mock.received().count(Method::POST, BULK), 0);
    assert_eq!(mock.received().count(Method::POST, USERS), 250);
}

#[tokio::test]
async fn an_api_without_bulk_gets_a_post_per_user() {
    for answer in [Fault::status(404), Fault::status(405), Fault::html(404)] {
        let mock = MockNudj::start().await.unwrap();
        let text = format!("{answer:?}");
        mock.inject(answer.on(Method::POST, BULK));
        assert_eq!(import(Users::bulk(client(&mock)), 1_000).await.created, 1_000, "{text}");
        assert!(mock.received().count(Method::POST, BULK) <= 8, "those in flight before the first answer");
    }
}

#[tokio::test]
async fn in_bulk_each_user_stands_alone() {
    let mock = MockNudj::start().await.unwrap();
    mock.add_user(&serde_json::json!({"email": "user3@example.com", "externalUserId": "ext-3"})).unwrap();
    mock.add_user(&serde_json::json!({"email": "user5@example.com", "externalUserId": "somebody else"})).unwrap();
    let totals = import(Users::bulk(client(&mock)), 10).await;
    assert_eq!((totals.created, totals.found, totals.failed), (8, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_is_used_up_and_nothing_else_slows_the_import() {
    const USERS: u64 = 5_000;
    let (_, client) = in_memory([Fault::latency(Duration::from_millis(300))]);
    let limit = Config::default().rate_limit;
    let (quota, window) = (limit.max_requests, limit.window);
    let rows = stream::iter((0..USERS).map(|number| Ok(Row::new(number + 1, user(number)))));
    let start = tokio::time::Instant::now();
    let batch = Batch::new(Users::new(client), BatchConfig::default()).unwrap();
    let summary = batch.run(rows, |_| Ok(())).await.unwrap();
    assert_eq!(summary.totals.created, USERS);
    let allowed = f64::from(quota) / window.as_secs_f64();
    let reached = USERS as f64 / start.elapsed().as_secs_f64();
    assert!(reached >= 0.95 * allowed, "{reached:.1} users per second of {allowed}");
}
