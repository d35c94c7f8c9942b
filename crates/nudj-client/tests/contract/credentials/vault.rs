//! HashiCorp Vault, over a fake of its KV 2 engine.

use std::{sync::Arc, time::Duration};

use nudj_client::{
    Client,
    config::HttpConfig,
    credentials::{
        CredentialProvider, FileCredential, ProviderError, StaticCredential, VaultSecret,
        rotation::{ApiRotator, Rotation, SecretStore, StoredKey, StoredKeys},
    },
};
use nudj_mock::MockNudj;
use nudj_tower::{
    BoxError,
    credentials::{Credentials, CredentialsConfig, Scheme},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    super::{quick, secrets::Captured},
    fake_vault::{FakeVault, Mood},
    sent,
};

const TOKEN: &str = "canary-vault-token";

fn fixed(token: &str) -> Arc<dyn CredentialProvider> {
    Arc::new(StaticCredential::new(token))
}

async fn vault(data: serde_json::Value) -> FakeVault {
    FakeVault::start("secret/data/nudj/production", TOKEN, None, data).await
}

fn secret(vault: &FakeVault) -> VaultSecret {
    VaultSecret::new(&vault.address, "secret", "nudj/production", fixed(TOKEN), &HttpConfig::default()).unwrap()
}

fn conflict(error: &BoxError) -> bool {
    matches!(error.downcast_ref(), Some(ProviderError::Conflict { .. }))
}

#[tokio::test]
async fn a_field_is_read_with_token_and_namespace_from_an_encoded_path() {
    let fake =
        FakeVault::start("team%20kv/data/a%3Fb/c%23", TOKEN, Some("marketing/"), json!({"api_key": "k", "n": 5})).await;
    let make = |field: &str| {
        VaultSecret::new(&fake.address, "/team kv", "a?b/c#/", fixed(TOKEN), &HttpConfig::default())
            .unwrap()
            .namespace("marketing/")
            .unwrap()
            .field(field)
    };
    assert_eq!(make("api_key").fetch().await.unwrap().secret().expose_secret(), "k");
    for field in ["n", "current"] {
        let error = make(field).fetch().await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(ProviderError::Garbage { .. })), "{error:?}");
    }
    for (mount, path) in [("", "x"), ("secret", ""), ("secret", "a/../b"), ("..", "x"), ("secret", "a//b")] {
        assert!(VaultSecret::new(&fake.address, mount, path, fixed("t"), &HttpConfig::default()).is_err());
    }
    assert!(make("api_key").namespace("a\nb").is_err());
}

#[tokio::test]
async fn every_failure_names_vault_and_says_what_to_do_and_never_the_secret() {
    let fake = vault(json!({"current": "canary-key"})).await;
    for (mood, expected, tries) in [
        (Mood::Sealed, "answered 503 sealed; unseal it", 3),
        (Mood::Failing, "answered 500; it is tried again", 3),
        (
            Mood::Says(403, "{\"errors\":[\"1 error occurred: canary\"]}"),
            "answered 403 permission denied; is the token",
            1,
        ),
        (Mood::Says(404, "canary"), "answered 404; are mount, path and namespace right", 1),
        (Mood::Says(400, "{\"errors\":[\"canary\"]}"), "answered 400; is the mount a KV engine of version 2?", 1),
        (Mood::Says(200, "<html>canary</html>"), "holds no credential", 1),
        (Mood::Says(200, "{\"data\":{\"current\":\"canary\"}}"), "holds no credential", 1),
        (Mood::Says(200, "{\"data\":{\"data\":null,\"metadata\":{\"version\":1}}}"), "holds no credential", 1),
        (
            Mood::Says(200, "{\"data\":{\"data\":{\"current\":[\"canary\"]},\"metadata\":{\"version\":1}}}"),
            "holds no credential",
            1,
        ),
        (Mood::Redirects, "answered 307; give the address it redirects to", 1),
    ] {
        fake.mood(mood);
        let before = fake.requests();
        let error = secret(&fake).fetch().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{mood:?}: {error}");
        assert_eq!(fake.requests() - before, tries, "{mood:?}");
        let wrapped = Credentials::new(secret(&fake), Scheme::Bearer, CredentialsConfig::default()).unwrap();
        let error = wrapped.load().await.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(shown.contains("credentials from vault"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }

    fake.mood(Mood::Slow);
    let config = CredentialsConfig { fetch_timeout: Duration::from_millis(200), ..CredentialsConfig::default() };
    let slow = Credentials::new(secret(&fake), Scheme::Bearer, config).unwrap();
    let error = slow.load().await.unwrap_err().to_string();
    assert_eq!(error, "credentials from vault did not come within the fetch timeout");

    fake.mood(Mood::Well);
    fake.write(json!(null));
    assert!(secret(&fake).fetch().await.unwrap_err().to_string().contains("latest version not deleted"));
    for bad in ["wrong", "can\nary", ""] {
        let error = VaultSecret::new(&fake.address, "secret", "nudj/production", fixed(bad), &HttpConfig::default())
            .unwrap()
            .fetch()
            .await
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("can\\nary"), "{error:?}");
    }

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = VaultSecret::new(&format!("http://{free}"), "secret", "x", fixed(TOKEN), &HttpConfig::default());
    let error = down.unwrap().fetch().await.unwrap_err();
    assert!(error.to_string().ends_with("/v1/secret/data/x could not be asked for a credential"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_hangs_holds_up_a_store_for_no_longer_than_its_tries() {
    let fake = vault(json!({"current": "k"})).await;
    fake.mood(Mood::Slow);
    let before = tokio::time::Instant::now();
    assert!(SecretStore::load(&secret(&fake)).await.is_err());
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
}

#[tokio::test]
async fn the_last_good_secret_serves_while_vault_is_away() {
    let mock = MockNudj::start().await.unwrap();
    let fake = vault(json!({"current": mock.token()})).await;
    let client = Client::builder().config(quick(&mock)).credentials(Arc::new(secret(&fake))).build().unwrap();
    client.integration().me().get().await.unwrap();
    for mood in [Mood::Sealed, Mood::Says(200, "garbage"), Mood::Says(403, "")] {
        fake.mood(mood);
        client.handles().credentials().renew().await.unwrap_err();
        client.integration().me().get().await.unwrap();
    }
    fake.mood(Mood::Well);
    client.handles().credentials().renew().await.unwrap();
}

#[tokio::test]
async fn vaults_own_token_may_come_from_a_file_that_an_agent_renews() {
    let fake = vault(json!({"current": "k"})).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let token = Arc::new(FileCredential::new(file.path()));
    let secret = VaultSecret::new(&fake.address, "secret", "nudj/production", token, &HttpConfig::default()).unwrap();
    secret.fetch().await.unwrap_err();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    assert_eq!(secret.fetch().await.unwrap().secret().expose_secret(), "k");
    let credentials = Credentials::new(secret, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    assert_eq!(sent(&credentials).await.unwrap(), "Bearer k");
}

#[tokio::test]
async fn a_key_rotates_in_vault_and_the_second_of_two_writers_is_refused() {
    let mock = MockNudj::start().await.unwrap();
    let fake = vault(json!({"current": mock.token()})).await;
    let store: Arc<dyn SecretStore> = Arc::new(secret(&fake));
    let provider = Arc::new(StoredKey::new(Arc::clone(&store)));
    let client = Client::builder().config(quick(&mock)).credentials(provider).build().unwrap();
    let rotator = Arc::new(ApiRotator::new(client.clone()));
    let rotation = Rotation::new(client.handles().credentials().clone(), rotator, Arc::clone(&store));
    client.integration().me().get().await.unwrap();

    let read = store.load().await.unwrap();
    rotation.rotate().await.unwrap();
    client.integration().me().get().await.unwrap();
    let kept = fake.latest();
    assert_eq!(kept["previous"], mock.token());
    assert!(kept["rotated_at"].as_u64().is_some() && kept["begun"].is_null());
    let last = mock.requests().last().unwrap().header("x-api-token").unwrap().to_owned();
    assert_eq!(kept["current"], last);
    // And so for a process that starts now, with a provider or with a store.
    assert_eq!(secret(&fake).fetch().await.unwrap().secret().expose_secret(), last);

    let error = store.store(StoredKeys { begun: Some("late".into()), ..read }).await.unwrap_err();
    assert!(conflict(&error), "{error:?}");
    let error = store.store(StoredKeys::new("blind".to_owned())).await.unwrap_err();
    assert!(conflict(&error), "what was not read is not replaced: {error:?}");
    assert_eq!(fake.latest(), kept);

    fake.write(json!({"current": "canary", "a note": "that writing would lose"}));
    let error = store.load().await.unwrap_err();
    assert!(error.to_string().contains("write `current` alone into it"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn nothing_of_vault_is_shown_at_trace() {
    let (captured, _guard) = Captured::start();
    let mock = MockNudj::builder().token("canary-api-key").start().await.unwrap();
    let fake = vault(json!({"current": "canary-api-key"})).await;
    let secret = secret(&fake);
    let client = Client::builder().config(quick(&mock)).credentials(Arc::new(secret.clone())).build().unwrap();
    client.integration().me().get().await.unwrap();
    let mut printed = format!("{secret:?} {client:?} {:?}", secret.fetch().await.unwrap());
    printed += &format!("{:?}", SecretStore::load(&secret).await.unwrap());
    fake.mood(Mood::Says(500, "canary"));
    printed += &format!("{:?}", client.handles().credentials().renew().await.unwrap_err());
    fake.mood(Mood::Says(200, "canary"));
    printed += &format!("{:?}", client.handles().credentials().renew().await.unwrap_err());
    let panic = tokio::spawn(async move {
        let secret = secret;
        panic!("{secret:?}");
    });
    printed += &format!("{:?}", panic.await.unwrap_err());
    let log = String::from_utf8(captured.bytes()).unwrap();
    assert!(log.contains("credential renewed"), "the log was captured: {log}");
    assert!(!log.contains("canary"), "{log}");
    assert!(!printed.contains("canary"), "{printed}");
}
