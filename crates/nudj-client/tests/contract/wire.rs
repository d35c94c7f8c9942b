//! Connections: kept, counted, closed.

use futures_util::future::join_all;
use http::Method;
use nudj_client::config::{HttpVersion, Transport};
use nudj_mock::{Fault, MockNudj};

use super::{client_over, quick_over, start_over};

over_both! {
    http1_connections_are_used_again,
    http2_shares_one_connection,
    a_connection_with_a_broken_exchange_is_not_used_again,
    a_post_on_a_connection_that_died_idle_is_sent_once,
    an_endpoints_path_is_a_prefix,
}

async fn http1_connections_are_used_again(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    for _ in 0..50 {
        client.integration().me().get().await.unwrap();
    }
    assert_eq!(mock.accepted_connections(), 1);
    join_all((0..8).map(|_| client.integration().me().get()))
        .await
        .into_iter()
        .for_each(|result| drop(result.unwrap()));
    let after_eight = mock.accepted_connections();
    assert!(after_eight <= 8, "{after_eight}");
    for _ in 0..5 {
        join_all((0..8).map(|_| client.integration().me().get()))
            .await
            .into_iter()
            .for_each(|result| drop(result.unwrap()));
    }
    assert!(mock.accepted_connections() <= after_eight.max(8) + 1, "{}", mock.accepted_connections());
}

async fn http2_shares_one_connection(transport: Transport) {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick_over(&mock, transport);
    config.http.version = HttpVersion::Http2;
    let client = client_over(&mock, config);
    client.integration().me().get().await.unwrap();
    join_all((0..32).map(|_| client.integration().me().get()))
        .await
        .into_iter()
        .for_each(|result| drop(result.unwrap()));
    assert_eq!(mock.accepted_connections(), 1);
    assert_eq!(mock.request_count(), 33);
}

async fn a_connection_with_a_broken_exchange_is_not_used_again(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    mock.inject(Fault::truncated(3).times(1));
    client.integration().me().get().await.unwrap();
    client.integration().me().get().await.unwrap();
    assert_eq!(mock.accepted_connections(), 2, "one broke, one serves the rest");
}

async fn a_post_on_a_connection_that_died_idle_is_sent_once(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    client.integration().me().get().await.unwrap();
    mock.kill(0).await.unwrap();
    mock.revive(0).await.unwrap();
    let new = nudj_client::model::NewUser { email: Some("a@example.org".into()), ..Default::default() };
    client.admin().users().create(&new).await.unwrap();
    assert_eq!(mock.received().count(Method::POST, "/api/v2/admin/users"), 1);
}

async fn an_endpoints_path_is_a_prefix(transport: Transport) {
    let (mock, _) = start_over(transport).await;
    let mut config = quick_over(&mock, transport);
    config.endpoints = vec![format!("{}/gateway/", mock.url())];
    let client = client_over(&mock, config);
    let _ = client.request(Method::GET, "/x?y=1").send().await;
    let seen = mock.requests().pop().unwrap();
    assert_eq!((seen.path.as_str(), seen.query.as_deref()), ("/gateway/x", Some("y=1")));
}
