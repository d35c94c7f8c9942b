//! Lists, by the page and as streams.

use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use nudj_client::model::NewUser;
use nudj_mock::Fault;

use super::start;

async fn with_users(count: usize) -> (nudj_mock::MockNudj, nudj_client::Client) {
    let (mock, client) = start().await;
    for number in 0..count {
        mock.add_user(
            &serde_json::json!({ "email": format!("u{number}@example.org"), "username": format!("u{number}") }),
        )
        .unwrap();
    }
    mock.clear_requests();
    (mock, client)
}

#[tokio::test]
async fn a_stream_fetches_as_it_goes_and_yields_each_item_once() {
    let (mock, client) = with_users(250).await;
    let mut users = client.admin().users().list().filter("sort", "createdAt").stream();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        assert!(seen.insert(users.try_next().await.unwrap().unwrap().id));
    }
    assert_eq!(
        mock.received().count(Method::GET, "/api/v2/admin/users"),
        1,
        "the second page is not fetched before it is needed"
    );
    while let Some(user) = users.try_next().await.unwrap() {
        assert!(seen.insert(user.id));
    }
    assert!(seen.len() >= 250);
    assert_eq!(mock.received().count(Method::GET, "/api/v2/admin/users"), 3);
}

#[tokio::test]
async fn a_page_that_is_empty_ends_the_stream_whatever_the_count_says() {
    let (mock, client) = start().await;
    let lie = r#"{"totalCount": 1000000, "edges": []}"#;
    mock.inject(Fault::answer(200, "application/json".parse().unwrap(), lie).on(Method::GET, "/api/v2/admin/users"));
    assert_eq!(client.admin().users().list().stream().count().await, 0);
}

#[tokio::test]
async fn a_server_that_takes_no_skip_or_no_limit_ends_the_stream() {
    let (mock, client) = start().await;
    let logs = |count: u32| {
        let logs: Vec<_> = (0..count).map(|number| serde_json::json!({ "id": number.to_string() })).collect();
        serde_json::to_string(&logs).unwrap()
    };
    for (count, errors, requests) in [(250, 0, 1), (100, 1, 2), (99, 0, 1)] {
        let answer = Fault::answer(200, "application/json".parse().unwrap(), logs(count));
        // Should it be asked again and again, the mock's own list, which is empty, ends it.
        let fault = mock.inject(answer.on(Method::GET, "/api/v2/admin/webhooks/logs").times(5));
        mock.clear_requests();
        let results: Vec<_> = client.admin().webhooks().logs().stream().collect().await;
        let (logs, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((logs.len() as u32, failed.len(), mock.requests().len()), (count, errors, requests));
        assert!(failed.iter().flat_map(|result| result.as_ref().err()).all(|error| error.kind().name() == "decode"));
        mock.remove_fault(fault);
    }
}

#[tokio::test]
async fn an_error_ends_the_stream() {
    let (mock, client) = with_users(150).await;
    mock.inject(Fault::status(404).on(Method::GET, "/api/v2/admin/users").after(1));
    let results: Vec<_> = client.admin().users().list().stream().collect().await;
    assert_eq!((results.len(), results.iter().filter(|result| result.is_err()).count()), (101, 1));
    assert!(results[100].is_err());
}

#[tokio::test]
async fn a_user_is_found_by_text() {
    let (_mock, client) = with_users(20).await;
    let new = NewUser {
        email: Some("grace@example.org".into()),
        username: Some("grace hopper".into()),
        ..NewUser::default()
    };
    let grace = client.admin().users().create(&new).await.unwrap();
    let page = client.admin().users().list().search("GRACE H").limit(5).page().await.unwrap();
    assert_eq!(page.edges.iter().map(|user| &user.id).collect::<Vec<_>>(), [&grace.id]);
}

#[tokio::test]
async fn a_limit_out_of_range_is_refused_before_anything_is_sent() {
    let (mock, client) = start().await;
    for limit in [0, 101] {
        let error = client.admin().users().list().limit(limit).page().await.unwrap_err();
        assert!(error.to_string().starts_with("limit: "), "{error}");
    }
    assert_eq!(mock.request_count(), 0);
}
