//! Servers that are broken or mean harm: a typed error each time, in bounded time and memory, and the token goes nowhere else.

use std::{io::Write, time::Duration};

use http::{HeaderValue, Method};
use nudj_client::{Client, config::Transport};
use nudj_mock::{Fault, MockNudj};
use tokio::time::Instant;

use super::{client_over, quick_over, start_over};

over_both! {
    redirects_are_not_followed_so_the_token_stays,
    a_gzip_bomb_stops_at_the_limit,
    a_gzip_answer_within_the_limit_is_read,
    all_members_of_a_gzip_answer_are_read,
    a_part_of_what_is_encoded_is_not_asked_for_and_left_as_it_came,
    an_announced_or_endless_body_stops_at_the_limit,
    a_dripping_body_ends_at_the_deadline,
    a_truncated_body_is_a_failed_attempt_and_is_asked_for_again,
    a_lost_answer_to_a_post_is_not_repeated,
    headers_that_frame_the_message_are_not_the_callers,
    nobody_listening_is_a_connect_error_that_names_the_endpoint,
    a_hang_ends_by_the_total_timeout,
}

const ME: &str = "/api/v2/integration/me";

async fn redirects_are_not_followed_so_the_token_stays(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    let foreign = MockNudj::start().await.unwrap();
    for (status, location) in [
        (301, format!("{}/steal", foreign.url())),
        (302, format!("{}/steal", foreign.url())),
        (303, format!("{}/steal", foreign.url())),
        (307, format!("{}/steal", foreign.url())),
        (308, format!("{}/steal", foreign.url())),
        (302, format!("//{}/steal", foreign.addrs()[0])),
        (302, "http://169.254.169.254/latest/meta-data".to_owned()),
        (302, "/api/v2/integration/me?again".to_owned()),
        (302, "ftp://x".to_owned()),
        (302, String::new()),
    ] {
        mock.clear_faults();
        mock.clear_requests();
        mock.inject(Fault::redirect(status, HeaderValue::from_str(&location).unwrap()));
        let error = client.integration().me().get().await.unwrap_err();
        assert_eq!((error.kind().name(), error.status().unwrap().as_u16(), error.attempts()), ("status", status, 1));
        assert_eq!(mock.received().len(), 1, "{location}");
    }
    assert_eq!(foreign.accepted_connections(), 0);
}

async fn a_gzip_bomb_stops_at_the_limit(transport: Transport) {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick_over(&mock, transport);
    config.http.max_response_bytes = 1024 * 1024;
    let client = client_over(&mock, config);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        bomb.write_all(&vec![0; 1024 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100 * 1024);
    let fault = Fault::answer(200, "application/json".parse().unwrap(), bomb)
        .header(http::header::CONTENT_ENCODING, "gzip".parse().unwrap());
    mock.inject(fault);
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!(
        (error.kind().name(), error.attempts()),
        ("body_too_large", 1),
        "sending again would bring the same body"
    );
}

async fn a_gzip_answer_within_the_limit_is_read(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    body.write_all(br#"{"id":"zipped"}"#).unwrap();
    let fault = Fault::answer(200, "application/json".parse().unwrap(), body.finish().unwrap())
        .header(http::header::CONTENT_ENCODING, "gzip".parse().unwrap());
    mock.inject(fault);
    assert_eq!(client.integration().me().get().await.unwrap().id, "zipped");
}

async fn all_members_of_a_gzip_answer_are_read(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    let mut body = Vec::new();
    for member in [&br#"{"id":"zip"#[..], br#"ped"}"#] {
        let mut encoder = flate2::write::GzEncoder::new(&mut body, flate2::Compression::best());
        encoder.write_all(member).unwrap();
        encoder.finish().unwrap();
    }
    let fault = Fault::answer(200, "application/json".parse().unwrap(), body)
        .header(http::header::CONTENT_ENCODING, "gzip".parse().unwrap());
    mock.inject(fault);
    assert_eq!(client.integration().me().get().await.unwrap().id, "zipped");
}

async fn a_part_of_what_is_encoded_is_not_asked_for_and_left_as_it_came(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    let part = b"[1000, 1019]";
    let fault = Fault::answer(206, "text/csv".parse().unwrap(), &part[..])
        .header(http::header::CONTENT_ENCODING, "gzip".parse().unwrap());
    mock.inject(fault);
    let range = HeaderValue::from_static("bytes=1000-1019");
    let answer = client.request(Method::GET, ME).header(http::header::RANGE, range).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (206, &part[..]));
    mock.clear_faults();
    client.integration().me().get().await.unwrap();
    let received = mock.received();
    let asked = [0, 1].map(|at| received.all()[at].headers.contains_key(http::header::ACCEPT_ENCODING));
    assert_eq!(asked, [false, true]);
}

async fn an_announced_or_endless_body_stops_at_the_limit(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    mock.inject(Fault::huge_body(1 << 40));
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!(error.kind().name(), "body_too_large");
    assert!(error.to_string().contains("max_response_bytes"), "{error}");
}

async fn a_dripping_body_ends_at_the_deadline(transport: Transport) {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick_over(&mock, transport);
    config.timeout.attempt = Duration::from_millis(300);
    config.timeout.total = Duration::from_millis(700);
    let client = client_over(&mock, config);
    mock.inject(Fault::drip(1, Duration::from_millis(200)));
    let start = Instant::now();
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!(error.kind().name(), "timeout");
    assert!(start.elapsed() >= Duration::from_millis(300));
    // The body alone would take half a minute; the bound is wide for slow machines.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

async fn a_truncated_body_is_a_failed_attempt_and_is_asked_for_again(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    mock.inject(Fault::truncated(5).times(2));
    client.integration().me().get().await.unwrap();
    assert_eq!(mock.received().count(Method::GET, ME), 3);
}

async fn a_lost_answer_to_a_post_is_not_repeated(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").times(1));
    let new = nudj_client::model::NewUser { email: Some("a@example.org".into()), ..Default::default() };
    let error = client.admin().users().create(&new).await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts(), error.was_sent()), ("transport", 1, true));
    assert_eq!(mock.users_count(), 1, "it took effect, once");
}

async fn headers_that_frame_the_message_are_not_the_callers(transport: Transport) {
    let (mock, client) = start_over(transport).await;
    for (name, value) in
        [("content-length", "3"), ("content-length", "50"), ("transfer-encoding", "chunked"), ("host", "evil.example")]
    {
        let email = format!("{}@example.org", fastrand::u64(..));
        client
            .request(Method::POST, "/api/v2/admin/users")
            .header(name.parse().unwrap(), value.parse().unwrap())
            .body_json(&serde_json::json!({ "email": email }))
            .send()
            .await
            .unwrap();
        let seen = mock.requests().pop().unwrap();
        assert_eq!(seen.json().unwrap()["email"], email.as_str(), "{name}: {value}");
        assert_ne!(seen.header("host"), Some("evil.example"));
    }
}

async fn nobody_listening_is_a_connect_error_that_names_the_endpoint(transport: Transport) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = nudj_client::Config::with_endpoints([url.clone()]);
    config.http.transport = transport;
    config.retry.base_delay = Duration::from_millis(1);
    let client = Client::builder().config(config).token("t").build().unwrap();
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts()), ("connect", 4));
    assert_eq!((error.endpoint(), error.was_sent(), error.status()), (Some(url.as_str()), false, None));
}

async fn a_hang_ends_by_the_total_timeout(transport: Transport) {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick_over(&mock, transport);
    config.timeout.attempt = Duration::from_millis(200);
    config.timeout.total = Duration::from_millis(500);
    let client = client_over(&mock, config);
    mock.inject(Fault::hang());
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!(error.kind().name(), "timeout");
    assert!(error.attempts() >= 2, "{error:?}");
}
