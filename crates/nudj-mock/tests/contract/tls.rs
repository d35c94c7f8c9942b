//! TLS with a certificate authority of the mock's own.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nudj_mock::MockNudj;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::client::request;

async fn connect(mock: &MockNudj, trusted: Option<&str>, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(mock.addrs()[0]).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn http2_and_http1_are_agreed_on_by_alpn() {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    assert!(mock.url().starts_with("https://127.0.0.1:"));
    let asked = || request(Method::GET, "/api/v2/integration/me", mock.token(), None);
    let stream = connect(&mock, mock.ca_pem(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut over_h2 = asked();
    *over_h2.uri_mut() = format!("{}/api/v2/integration/me", mock.url()).parse().unwrap();
    assert_eq!(sender.send_request(over_h2).await.unwrap().status(), 200);

    let stream = connect(&mock, mock.ca_pem(), &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(asked()).await.unwrap().status(), 200);
    assert_eq!(mock.request_count(), 2);
}

#[tokio::test]
async fn nobody_else_trusts_the_certificate() {
    let (mock, other) =
        (MockNudj::builder().tls_alpn(["h2"]).start().await.unwrap(), MockNudj::builder().tls().start().await.unwrap());
    assert!(connect(&mock, None, &[]).await.is_err());
    assert!(connect(&mock, other.ca_pem(), &[]).await.is_err());
    // Only what was offered.
    assert!(connect(&mock, mock.ca_pem(), &["http/1.1"]).await.is_err());
    assert!(MockNudj::start().await.unwrap().ca_pem().is_none());
}

#[tokio::test]
async fn a_link_is_made_for_the_protocol_it_is_to_be_opened_by() {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    let link = serde_json::json!({"eventName": "e", "payload": {}});
    let asked = request(Method::POST, "/api/v2/admin/events/custom/link", mock.token(), Some(&link));
    let (host, path) = (mock.addrs()[0].to_string(), asked.uri().path().to_owned());

    let stream = connect(&mock, mock.ca_pem(), &["http/1.1"]).await.unwrap();
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut over_h1 = asked.clone();
    over_h1.headers_mut().insert("host", host.parse().unwrap());
    let made = sender.send_request(over_h1).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    assert!(made["url"].as_str().unwrap().starts_with(&format!("{}/", mock.url())), "{made}");

    let stream = connect(&mock, mock.ca_pem(), &["h2"]).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut over_h2 = asked;
    *over_h2.uri_mut() = format!("{}{path}", mock.url()).parse().unwrap();
    let made = sender.send_request(over_h2).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    assert!(made["url"].as_str().unwrap().starts_with(&format!("{}/", mock.url())), "{made}");
}

#[tokio::test]
async fn the_certificate_and_its_authority_have_names_of_their_own() {
    let mock = MockNudj::builder().tls().start().await.unwrap();
    let authority = CertificateDer::from_pem_slice(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let stream = connect(&mock, mock.ca_pem(), &[]).await.unwrap();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let count = |der: &[u8], name: &str| der.windows(name.len()).filter(|text| *text == name.as_bytes()).count();
    // Issuer and subject of the one, issuer of the other.
    assert_eq!((count(&authority, "nudj-mock CA"), count(&leaf, "nudj-mock CA")), (2, 1));
    // An authority and a server with one name between them are a self-signed server to OpenSSL.
    assert_eq!((count(&authority, "nudj-mock server"), count(&leaf, "nudj-mock server")), (0, 1));
}
