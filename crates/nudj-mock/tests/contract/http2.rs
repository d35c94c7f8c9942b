//! What differs when many calls share one connection, and the address stands in the request itself.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nudj_mock::{BoxError, Fault, MockNudj};
use serde_json::json;
use tokio::net::TcpStream;

use crate::client::{Http, request};

const USERS: &str = "/api/v2/admin/users";

#[tokio::test]
async fn a_keyed_repeat_at_another_instance_is_given_the_first_answer() {
    let mock = MockNudj::builder().idempotency(true).instances(2).start().await.unwrap();
    let http = Http::with(true);
    mock.inject(Fault::lost_answer().instance(0));
    let create = |url: &str| {
        let mut asked = request(Method::POST, &format!("{url}{USERS}"), mock.token(), Some(&json!({"email": "a@b"})));
        asked.headers_mut().insert("idempotency-key", HeaderValue::from_static("k"));
        http.send(asked)
    };
    let urls = mock.urls();
    assert!(create(&urls[0]).await.is_err());
    let repeated = create(&urls[1]).await.unwrap();
    assert_eq!((repeated.status, repeated.json["email"].as_str()), (StatusCode::OK, Some("a@b")));
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(mock.users_count(), 1);
}

#[tokio::test]
async fn an_upload_given_up_leaves_the_other_calls_their_connection() {
    let mock = MockNudj::start().await.unwrap();
    let stream = TcpStream::connect(mock.addrs()[0]).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("{}{USERS}", mock.url());
    // A body that breaks off makes the client reset its stream.
    let broken: [Result<Frame<Bytes>, BoxError>; 2] = [Ok(Frame::data(Bytes::from_static(b"{"))), Err("gone".into())];
    let upload = Request::post(&uri).header("x-api-token", mock.token());
    let upload = upload.body(StreamBody::new(stream::iter(broken)).boxed_unsync()).unwrap();
    assert!(sender.send_request(upload).await.is_err());
    for _ in 0..3 {
        let (head, body) = request(Method::GET, &uri, mock.token(), None).into_parts();
        let asked = Request::from_parts(head, body.map_err(|never| match never {}).boxed_unsync());
        assert_eq!(sender.send_request(asked).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(mock.accepted_connections(), 1);
}

#[tokio::test]
async fn a_truncated_body_resets_its_stream_and_no_other() {
    let mock = MockNudj::start().await.unwrap();
    let http = Http::with(true);
    mock.inject(Fault::truncated(3).times(1));
    let asked = request(Method::GET, &format!("{}{USERS}", mock.url()), mock.token(), None);
    let cut = http.client.request(asked).await.unwrap();
    assert_ne!(cut.headers()[header::CONTENT_LENGTH], "3");
    let mut body = cut.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 3);
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(http.get(&mock, USERS).await.unwrap().status, StatusCode::OK);
    assert_eq!(mock.accepted_connections(), 1);
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let mock = MockNudj::start().await.unwrap();
    for http2 in [true, false] {
        let http = Http::with(http2);
        let faults = [
            (Fault::status(503), 503, None),
            (Fault::html(502), 502, None),
            (Fault::answer(200, HeaderValue::from_static("text/plain"), "12345"), 200, Some("5")),
            (Fault::huge_body(1 << 40), 200, Some("1099511627776")),
            (
                Fault::answer(200, HeaderValue::from_static("text/plain"), "12345")
                    .header(header::CONTENT_LENGTH, HeaderValue::from_static("7")),
                200,
                Some("7"),
            ),
            (Fault::status(204), 204, None),
        ];
        for (fault, status, length) in faults {
            mock.inject(fault.times(1));
            let asked = request(Method::HEAD, &format!("{}{USERS}", mock.url()), mock.token(), None);
            let answer = http.send(asked).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.bytes.len()), (status, 0), "HTTP/2: {http2}");
            let announced = answer.headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(announced.is_some(), status != 204, "{status}");
            assert!(length.is_none() || announced == length, "{announced:?}");
        }
    }
}

#[tokio::test]
async fn a_link_leads_to_the_mock_that_made_it() {
    let mock = MockNudj::start().await.unwrap();
    for http2 in [true, false] {
        let http = Http::with(http2);
        let link = json!({"eventName": "e", "payload": {}});
        let path = format!("{}/api/v2/admin/events/custom/link", mock.url());
        let made = http.send(request(Method::POST, &path, mock.token(), Some(&link))).await.unwrap();
        let open = Request::get(made.json["url"].as_str().unwrap()).body(Full::default()).unwrap();
        assert_eq!(http.send(open).await.unwrap().status, StatusCode::OK, "HTTP/2: {http2}");
    }
    assert_eq!(mock.events().len(), 2);
}
