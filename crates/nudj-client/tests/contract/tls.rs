//! TLS: the provider passed explicitly, certificates checked, ALPN choosing the version.
//!
//! The mock brings ring and the client aws-lc into one binary: with a provider taken from the process, this would panic.

use std::{io::Write, time::Duration};

use futures_util::future::join_all;
use nudj_client::{
    Client, Config,
    config::{HttpVersion, Transport},
};
use nudj_mock::MockNudj;
use tempfile::NamedTempFile;

use super::{client_over, quick_over};

over_both! {
    alpn_chooses_http2_and_one_connection_serves_all,
    alpn_chooses_http1_where_the_server_speaks_nothing_else,
    http1_can_be_asked_for,
    a_certificate_nobody_vouches_for_gets_no_request,
    a_ca_file_that_is_none_is_refused_before_the_first_call,
    a_handshake_that_never_ends_is_a_connect_error,
}

fn trusting(mock: &MockNudj, transport: Transport) -> (Config, NamedTempFile) {
    let mut ca = NamedTempFile::new().unwrap();
    ca.write_all(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let mut config = quick_over(mock, transport);
    config.http.ca_file = Some(ca.path().to_owned());
    (config, ca)
}

async fn thirty_two_at_once(client: &Client) {
    client.integration().me().get().await.unwrap();
    for result in join_all((0..32).map(|_| client.integration().me().get())).await {
        result.unwrap();
    }
}

async fn alpn_chooses_http2_and_one_connection_serves_all(transport: Transport) {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    assert!(mock.url().starts_with("https://"));
    let (config, _ca) = trusting(&mock, transport);
    thirty_two_at_once(&client_over(&mock, config)).await;
    assert_eq!(mock.accepted_connections(), 1);
}

async fn alpn_chooses_http1_where_the_server_speaks_nothing_else(transport: Transport) {
    let mock = MockNudj::builder().tls().tls_alpn(["http/1.1"]).start().await.unwrap();
    let (config, _ca) = trusting(&mock, transport);
    thirty_two_at_once(&client_over(&mock, config)).await;
    assert!(mock.accepted_connections() > 1);
}

async fn http1_can_be_asked_for(transport: Transport) {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    let (mut config, _ca) = trusting(&mock, transport);
    config.http.version = HttpVersion::Http1;
    thirty_two_at_once(&client_over(&mock, config)).await;
    assert!(mock.accepted_connections() > 1);
}

async fn a_certificate_nobody_vouches_for_gets_no_request(transport: Transport) {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    let error = client_over(&mock, quick_over(&mock, transport)).integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), mock.request_count()), ("connect", 0));
}

async fn a_handshake_that_never_ends_is_a_connect_error(transport: Transport) {
    // Takes connections, and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::with_endpoints([format!("https://{}", listener.local_addr().unwrap())]);
    config.http.transport = transport;
    config.http.connect_timeout = Duration::from_millis(50);
    config.retry.max_retries = 0;
    let client = Client::builder().config(config).token("t").build().unwrap();
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), error.was_sent()), ("connect", false), "{error:?}");
}

async fn a_ca_file_that_is_none_is_refused_before_the_first_call(transport: Transport) {
    let mut config = Config::with_endpoints(["https://localhost"]);
    config.http.transport = transport;
    config.http.ca_file = Some("does/not/exist.pem".into());
    let error = Client::builder().config(config.clone()).token("t").build().unwrap_err();
    assert!(error.to_string().starts_with("http.ca_file: "), "{error}");
    let mut empty = NamedTempFile::new().unwrap();
    empty.write_all(b"no certificate in here").unwrap();
    config.http.ca_file = Some(empty.path().to_owned());
    let error = Client::builder().config(config).token("t").build().unwrap_err();
    assert!(error.to_string().starts_with("http.ca_file: "), "{error}");
}
