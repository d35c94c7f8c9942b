//! AWS Secrets Manager, over the server of moto, which nobody here wrote.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use nudj_client::{
    Client,
    config::HttpConfig,
    credentials::{
        AwsKeys, AwsSecret, CredentialProvider, ProviderError,
        rotation::{ApiRotator, Rotation, SecretStore, StoredKey, StoredKeys},
    },
    transport::Hyper,
};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::credentials::{Credentials, CredentialsConfig, Scheme};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::super::{quick, secrets::Captured};

const CANARY: &str = "canary-aws-secret";

fn keys() -> AwsKeys {
    AwsKeys::new("AKIDEXAMPLE", CANARY.to_owned()).session_token("canary-session".to_owned())
}

fn secret(address: &str, id: &str) -> AwsSecret {
    AwsSecret::at(address, "eu-west-1", id, keys(), &HttpConfig::default()).unwrap()
}

/// moto's address, and a new secret there; `None` when there is no moto.
async fn made(what: &str, text: &str) -> Option<(String, String)> {
    let Ok(address) = std::env::var("NUDJ_TEST_AWS_ENDPOINT") else {
        assert!(std::env::var_os("CI").is_none(), "CI must set NUDJ_TEST_AWS_ENDPOINT");
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: {what}: set NUDJ_TEST_AWS_ENDPOINT or run cargo xtask test\n"),
        );
        return None;
    };
    let id = format!("nudj/{:016x}", fastrand::u64(..));
    ask(&address, "CreateSecret", &json!({"Name": id, "SecretString": text})).await;
    Some((address, id))
}

/// Asks moto, which checks no signatures unless told to.
async fn ask(address: &str, action: &str, body: &Value) -> Value {
    let request = Request::post(format!("{address}/"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("secretsmanager.{action}"))
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0",
        )
        .body(Full::from(Bytes::from(body.to_string())))
        .unwrap();
    let answer = Hyper::new(&HttpConfig::default()).unwrap().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn delete(address: &str, id: &str) {
    ask(address, "DeleteSecret", &json!({"SecretId": id, "ForceDeleteWithoutRecovery": true})).await;
}

#[tokio::test]
async fn a_secret_is_read_whole_or_by_field_from_a_foreign_server() {
    let Some((address, id)) = made("a foreign Secrets Manager", r#"{"api_key":"k","n":5}"#).await else { return };
    let whole = secret(&address, &id).fetch().await.unwrap();
    assert_eq!(whole.secret().expose_secret(), r#"{"api_key":"k","n":5}"#);
    let field = |field: &str| secret(&address, &id).field(field);
    assert_eq!(field("api_key").fetch().await.unwrap().secret().expose_secret(), "k");
    for name in ["n", "missing"] {
        let error = field(name).fetch().await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(ProviderError::Garbage { .. })), "{error:?}");
    }
    let error = secret(&address, "nudj/no-such-secret").fetch().await.unwrap_err().to_string();
    assert!(
        error.ends_with("ResourceNotFoundException; are region and name right, and has the secret a value?"),
        "{error}"
    );
    delete(&address, &id).await;
}

#[tokio::test]
async fn a_key_rotates_in_a_foreign_secrets_manager_and_a_late_writer_is_refused() {
    let mock = MockNudj::start().await.unwrap();
    let first = json!({"current": mock.token()}).to_string();
    let Some((address, id)) = made("rotation in a foreign Secrets Manager", &first).await else { return };
    let store: Arc<dyn SecretStore> = Arc::new(secret(&address, &id));
    let provider = Arc::new(StoredKey::new(Arc::clone(&store)));
    let client = Client::builder().config(quick(&mock)).credentials(provider).build().unwrap();
    let rotator = Arc::new(ApiRotator::new(client.clone()));
    let rotation = Rotation::new(client.handles().credentials().clone(), rotator, Arc::clone(&store));
    client.integration().me().get().await.unwrap();

    let read = store.load().await.unwrap();
    for _ in 0..2 {
        rotation.rotate().await.unwrap();
        client.integration().me().get().await.unwrap();
    }
    let kept = store.load().await.unwrap();
    assert!(kept.begun.is_none() && kept.rotated_at.is_some() && kept.previous.is_some());
    let last = mock.requests().last().unwrap().header("x-api-token").unwrap().to_owned();
    assert_eq!(kept.current.expose_secret(), last);

    for late in [read, StoredKeys::new("blind".to_owned())] {
        let error = store.store(late).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(ProviderError::Conflict { .. })), "{error:?}");
    }
    assert_eq!(store.load().await.unwrap().current.expose_secret(), last, "nothing was changed");
    delete(&address, &id).await;
}

#[tokio::test]
async fn a_secrets_manager_that_is_down_slow_or_answers_garbage_is_named_and_the_last_good_secret_serves() {
    let mock = MockNudj::start().await.unwrap();
    // Any server will do for what is no answer.
    let fake = MockNudj::start().await.unwrap();
    let good = json!({"SecretString": mock.token(), "VersionId": "1"}).to_string();
    let json = http::HeaderValue::from_static("application/json");
    let fault = fake.inject(Fault::answer(200, json.clone(), good));
    let mut config = quick(&mock);
    config.auth.renewal.fetch_timeout = Duration::from_millis(500);
    let provider = Arc::new(secret(&fake.url(), "nudj"));
    let client = Client::builder().config(config).credentials(provider).build().unwrap();
    client.integration().me().get().await.unwrap();
    fake.remove_fault(fault);
    for (fault, expected) in [
        (Fault::close(), "could not be asked"),
        (Fault::hang(), "did not come within the fetch timeout"),
        (Fault::html(200), "is no answer of AWS Secrets Manager"),
        (Fault::status(503), "answered 503"),
        (Fault::answer(200, json.clone(), r#"{"SecretBinary":"canary"}"#), "holds bytes and no text"),
        (Fault::answer(400, json, r#"{"__type":"ExpiredTokenException","message":"canary"}"#), "ExpiredTokenException"),
        (Fault::huge_body(100_000), "could not be asked"),
    ] {
        let id = fake.inject(fault);
        let error = client.handles().credentials().renew().await.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let shown = format!("{error}: {source} {error:?}");
        assert!(shown.contains("credentials from aws-secrets-manager") && shown.contains(expected), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
        fake.remove_fault(id);
        client.integration().me().get().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_of_aws_is_shown_at_trace() {
    let (captured, _guard) = Captured::start();
    let fake = MockNudj::start().await.unwrap();
    let json = http::HeaderValue::from_static("application/json");
    fake.inject(Fault::answer(200, json, r#"{"SecretString":"canary-api-key","VersionId":"1"}"#));
    let secret = secret(&fake.url(), "nudj");
    let credentials = Credentials::new(secret.clone(), Scheme::Bearer, CredentialsConfig::default()).unwrap();
    credentials.load().await.unwrap();
    let mut printed = format!("{secret:?} {credentials:?} {:?} {:?}", keys(), secret.fetch().await.unwrap());
    let bad = AwsKeys::new("AKID", "s".to_owned()).session_token("canary\n".to_owned());
    let bad = AwsSecret::at(&fake.url(), "eu-west-1", "nudj", bad, &HttpConfig::default()).unwrap();
    printed += &format!("{:?}", bad.fetch().await.unwrap_err());
    let panic = tokio::spawn(async move {
        let secret = secret;
        panic!("{secret:?}");
    });
    printed += &format!("{:?}", panic.await.unwrap_err());
    let log = String::from_utf8(captured.bytes()).unwrap();
    assert!(log.contains("credential renewed"), "the log was captured: {log}");
    assert!(!log.contains("canary"), "{log}");
    assert!(!printed.contains("canary"), "{printed}");
    let request = fake.requests().remove(0);
    assert!(!format!("{request:?}").contains(CANARY), "the secret key is never sent");
    assert_eq!(request.header("x-amz-security-token"), Some("canary-session"));
}
