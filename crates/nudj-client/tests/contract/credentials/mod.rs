//! Providers under the whole client: what changes is noticed, what fails leaves what worked, what is secret stays so.

#[cfg(feature = "aws-secrets")]
mod aws;
#[cfg(feature = "vault")]
mod fake_vault;
#[cfg(feature = "vault")]
mod vault;

use std::{
    fs,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http::{Request, Response};
use nudj_client::{
    Client,
    config::HttpConfig,
    credentials::{
        Chain, ClientCredentials, Credential, CredentialProvider, EnvironmentCredential, FileCredential,
        StaticCredential,
    },
};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::{
    BoxError,
    credentials::{Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme},
};
use tower::{Layer, ServiceExt, service_fn};

use super::{quick, secrets::Captured};

/// What a request would carry now.
async fn sent(credentials: &Credentials) -> Result<String, BoxError> {
    let seen = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    let service = CredentialsLayer::new(credentials.clone()).layer(service_fn(move |request: Request<()>| {
        *noted.lock().unwrap() = request.headers()["authorization"].to_str().unwrap().to_owned();
        std::future::ready(Ok::<_, BoxError>(Response::new(())))
    }));
    service.oneshot(Request::new(())).await?;
    let seen = seen.lock().unwrap().clone();
    Ok(seen)
}

/// Virtual time passes until requests carry `expected`.
async fn until_sent(credentials: &Credentials, expected: &str) {
    for _ in 0..120 {
        if sent(credentials).await.unwrap() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("two minutes later requests still carry {}", sent(credentials).await.unwrap());
}

fn bearer(provider: impl CredentialProvider) -> Credentials {
    Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap()
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_secret_swapped_as_kubernetes_does_is_used_and_a_bad_one_is_not() {
    use std::os::unix::fs::symlink;

    // key -> ..data/key, ..data -> ..1; an update makes ..2 and renames a new ..data over the old.
    let volume = tempfile::tempdir().unwrap();
    let at = |name: &str| volume.path().join(name);
    let publish = |version: &str, content: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("key"), content).unwrap();
        symlink(version, at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
    };
    publish("..1", "one\n");
    symlink("..data/key", at("key")).unwrap();
    let credentials = bearer(FileCredential::new(at("key")));
    assert_eq!(sent(&credentials).await.unwrap(), "Bearer one");

    publish("..2", "two\n");
    until_sent(&credentials, "Bearer two").await;

    for (version, bad) in [("..3", ""), ("..4", "tw\no\n")] {
        publish(version, bad);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(sent(&credentials).await.unwrap(), "Bearer two", "the last good one serves on");
    }
    fs::remove_file(at("..data")).unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(sent(&credentials).await.unwrap(), "Bearer two");

    publish("..5", "five\n");
    until_sent(&credentials, "Bearer five").await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_asks_in_order_leaves_who_hangs_and_names_all_who_failed() {
    let hanging: Arc<dyn CredentialProvider> = Arc::new(FromFn::new("vault", pending));
    let missing: Arc<dyn CredentialProvider> = Arc::new(EnvironmentCredential::new(["NUDJ_TEST_NO_SUCH_VARIABLE"]));
    let fixed: Arc<dyn CredentialProvider> = Arc::new(StaticCredential::new("fixed"));

    let chain = Chain::new([hanging.clone(), missing.clone(), fixed.clone()]);
    assert_eq!(chain.name(), "vault or environment or static");
    let before = tokio::time::Instant::now();
    assert_eq!(sent(&bearer(chain)).await.unwrap(), "Bearer fixed");
    assert_eq!(before.elapsed(), Duration::from_secs(3), "the one that hung was left in time");
    assert!(!Chain::new([missing.clone(), fixed]).renews(), "nothing of these can change");

    let failing = Chain::new([hanging, missing]);
    assert!(failing.renews());
    let error = failing.fetch().await.unwrap_err().to_string();
    assert!(error.contains("vault: no answer within 3s; environment: none of"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_chain_sees_the_change_of_a_provider_behind_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("key"), folder.path().join("next"));
    fs::write(&path, "one").unwrap();
    let missing: Arc<dyn CredentialProvider> = Arc::new(EnvironmentCredential::new(["NUDJ_TEST_NO_SUCH_VARIABLE"]));
    let credentials = bearer(Chain::new([missing, Arc::new(FileCredential::new(&path)) as _]));
    assert_eq!(sent(&credentials).await.unwrap(), "Bearer one");
    fs::write(&next, "two").unwrap();
    fs::rename(&next, &path).unwrap();
    until_sent(&credentials, "Bearer two").await;
}

/// The vault failed once, and the file helped. Since the vault answers again, what changes in the file is told once, and not at every look.
#[tokio::test(start_paused = true)]
async fn a_file_behind_a_provider_that_recovered_has_it_asked_once_more_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("key"), folder.path().join("next"));
    fs::write(&path, "file").unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let vault = FromFn::new("vault", move || {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if is_first { Err("sealed".into()) } else { Ok(Credential::new("vault".to_owned())) } }
    });
    let credentials = bearer(Chain::new([Arc::new(vault) as _, Arc::new(FileCredential::new(&path)) as _]));
    assert_eq!(sent(&credentials).await.unwrap(), "Bearer file");
    fs::write(&next, "another").unwrap();
    fs::rename(&next, &path).unwrap();
    until_sent(&credentials, "Bearer vault").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(credentials.snapshot().generation, 2);
}

fn token_url(mock: &MockNudj) -> String {
    format!("{}/oauth/token", mock.url())
}

fn token_requests(mock: &MockNudj) -> usize {
    mock.requests().iter().filter(|request| request.path == "/oauth/token").count()
}

#[tokio::test]
async fn a_hundred_calls_with_a_revoked_token_ask_for_exactly_one_other() {
    let mock = MockNudj::builder().oauth_client("the id", "se cret&+=").start().await.unwrap();
    let http = HttpConfig::default();
    let provider = ClientCredentials::new(&token_url(&mock), "the id", "se cret&+=".to_owned(), &http).unwrap();
    let client = Client::builder().config(quick(&mock)).credentials(Arc::new(provider)).build().unwrap();
    client.integration().me().get().await.unwrap();
    let requests = mock.requests();
    let token = requests.iter().find_map(|request| request.header("x-api-token")).unwrap();
    assert!(mock.revoke_token(token));

    // So long that all hundred are refused before the other token is there.
    mock.inject(Fault::latency(Duration::from_millis(300)).path("/oauth/token"));
    for answer in join_all((0..100).map(|_| client.integration().me().get())).await {
        answer.unwrap();
    }
    assert_eq!(token_requests(&mock), 2);
    let refused = mock.requests().iter().filter(|request| request.header("x-api-token") == Some(token)).count();
    assert!(refused > 2, "several calls met the refusal: {refused}");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_slow_or_answers_garbage_is_named() {
    let mock = MockNudj::builder().oauth_client("id", "canary-secret").start().await.unwrap();
    // How often it is asked for one call of ours: by the endpoint's own retries, and not by the call's as well.
    let faults = [
        (Fault::close(), "could not be had", 3),
        (Fault::hang(), "did not come within the fetch timeout", 3),
        (Fault::html(200), "could not be had", 1),
        (Fault::status(503), "could not be had", 3),
        (Fault::huge_body(100_000), "could not be had", 1),
    ];
    for (fault, expected, tries) in faults {
        let id = mock.inject(fault.path("/oauth/token"));
        let mut config = quick(&mock);
        config.auth.renewal.fetch_timeout = Duration::from_millis(500);
        config.auth.renewal.backoff = Duration::from_nanos(1);
        let provider =
            ClientCredentials::new(&token_url(&mock), "id", "canary-secret".to_owned(), &config.http).unwrap();
        let client = Client::builder().config(config).credentials(Arc::new(provider)).build().unwrap();
        let before = mock.requests().len();
        let error = client.integration().me().get().await.unwrap_err();
        assert_eq!(error.kind().name(), "auth", "{error:?}");
        assert!(!error.was_sent() && !error.is_in_doubt(), "{error:?}");
        let asked = mock.requests()[before..].iter().filter(|request| request.path == "/oauth/token").count();
        assert!(asked <= tries, "{asked} requests for one token: {error:?}");
        let text = error.to_string();
        assert!(text.contains("credentials from oauth2") && text.contains(expected), "{text}");
        mock.remove_fault(id);
        // A failure is remembered for the backoff.
        client.integration().me().get().await.unwrap();
    }
    let wrong = ClientCredentials::new(&token_url(&mock), "id", "wrong".to_owned(), &HttpConfig::default()).unwrap();
    let error = wrong.fetch().await.unwrap_err().to_string();
    assert!(error.ends_with("answered 401 invalid_client; are client id and secret right?"), "{error}");
}

/// What a call says that had no credential to send with, and whether it may be made again as it is.
#[tokio::test]
async fn a_source_that_is_away_may_be_back_later_and_what_only_a_person_can_mend_may_not() {
    let mock = MockNudj::builder().oauth_client("id", "secret").start().await.unwrap();
    let oauth = |secret: &str| {
        ClientCredentials::new(&token_url(&mock), "id", secret.to_owned(), &HttpConfig::default()).unwrap()
    };
    let missing = || EnvironmentCredential::new(["NUDJ_TEST_NO_SUCH_VARIABLE"]);
    let away = || FromFn::new("away", || async { Err("connection refused".into()) });
    let rows: [(Arc<dyn CredentialProvider>, bool); 7] = [
        (Arc::new(away()), true),
        (Arc::new(FromFn::new("silent", pending)), true),
        (Arc::new(Chain::new([Arc::new(away()) as _, Arc::new(missing()) as _])), true),
        (Arc::new(FileCredential::new("/no/such/file")), true),
        (Arc::new(missing()), false),
        (Arc::new(oauth("wrong")), false),
        (Arc::new(FromFn::new("garbage", || async { Ok(Credential::new("a\nb".to_owned())) })), false),
    ];
    for (provider, expected) in rows {
        let mut config = quick(&mock);
        config.auth.renewal.fetch_timeout = Duration::from_secs(2);
        let client = Client::builder().config(config).credentials(provider).build().unwrap();
        let error = client.integration().me().get().await.unwrap_err();
        assert_eq!((error.kind().name(), error.is_retryable()), ("auth", expected), "{error:?}");
        assert!(!error.was_sent(), "{error:?}");
    }
    mock.inject(Fault::statuses([503]).path("/oauth/token"));
    let client = Client::builder().config(quick(&mock)).credentials(Arc::new(oauth("secret"))).build().unwrap();
    assert!(client.integration().me().get().await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_secret_follows_no_redirect() {
    let mock = MockNudj::builder().oauth_client("id", "secret").start().await.unwrap();
    let elsewhere = MockNudj::start().await.unwrap();
    mock.inject(Fault::redirect(307, token_url(&elsewhere).parse().unwrap()).path("/oauth/token"));
    let provider =
        ClientCredentials::new(&token_url(&mock), "id", "secret".to_owned(), &HttpConfig::default()).unwrap();
    let error = provider.fetch().await.unwrap_err().to_string();
    assert!(error.contains("307"), "{error}");
    assert_eq!(elsewhere.request_count(), 0);
}

#[cfg(all(feature = "aws-secrets", feature = "vault"))]
#[test]
fn secrets_go_to_other_machines_over_tls_alone_unless_told_otherwise() {
    use nudj_client::credentials::{AwsKeys, AwsSecret, VaultSecret};

    let allowed = HttpConfig { allow_http: true, ..HttpConfig::default() };
    let strict = HttpConfig::default();
    let made = |url: &str, http: &HttpConfig| {
        let keys = AwsKeys::new("id", "secret".to_owned());
        [
            ClientCredentials::new(&format!("{url}/token"), "id", "secret".to_owned(), http).is_ok(),
            VaultSecret::new(url, "secret", "path", Arc::new(StaticCredential::new("token")), http).is_ok(),
            AwsSecret::at(url, "eu-west-1", "id", keys, http).is_ok(),
        ]
    };
    for url in ["https://secrets.example", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
        assert_eq!(made(url, &strict), [true; 3], "{url}");
    }
    for url in ["http://secrets.example", "http://10.0.0.1:8200", "https://user:pass@secrets.example", "secrets", ""] {
        assert_eq!(made(url, &strict), [false; 3], "{url}");
    }
    assert_eq!(made("http://secrets.example", &allowed), [true; 3]);
}

#[tokio::test]
async fn no_provider_shows_its_secret_at_trace() {
    const CANARY: &str = "canary-7c02";
    let (captured, _guard) = Captured::start();
    let mock = MockNudj::builder().token(CANARY).oauth_client("id", CANARY).start().await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{CANARY}\n")).unwrap();
    let mut printed = String::new();
    let oauth = |secret: &str| {
        ClientCredentials::new(&token_url(&mock), "id", secret.to_owned(), &HttpConfig::default()).unwrap()
    };
    printed += &format!("{:?} {:?}", oauth(CANARY), FileCredential::new(file.path()));
    let chain =
        Chain::new([Arc::new(oauth("canary-7c02-wrong")) as _, Arc::new(FileCredential::new(file.path())) as _]);
    printed += &format!("{chain:?}");
    let providers: [Arc<dyn CredentialProvider>; 4] = [
        Arc::new(oauth(CANARY)),
        Arc::new(oauth(CANARY).basic()),
        Arc::new(FileCredential::new(file.path())),
        Arc::new(chain),
    ];
    for provider in providers {
        let client = Client::builder().config(quick(&mock)).credentials(Arc::clone(&provider)).build().unwrap();
        client.integration().me().get().await.unwrap();
        printed += &format!("{client:?} {:?} {:?}", client.handles().credentials(), provider.fetch().await.unwrap());
        // What a bad file or a wrong secret says, through every layer.
        fs::write(file.path(), format!("{CANARY}\n{CANARY}")).unwrap();
        mock.inject(Fault::status(401).path("/api/v2/integration/me").times(1));
        if let Err(error) = client.integration().me().get().await {
            printed += &format!("{error} {error:?}");
        }
        fs::write(file.path(), format!("{CANARY}\n")).unwrap();
    }
    let log = String::from_utf8(captured.bytes()).unwrap();
    assert!(log.contains("credential renewed"), "the log was captured: {log}");
    assert!(!log.contains(CANARY), "{log}");
    assert!(!printed.contains(CANARY), "{printed}");
}

/// A server that nobody here wrote: npm's `oauth2-mock-server`.
#[tokio::test]
async fn a_foreign_token_server_gives_a_token_by_form_and_by_basic() {
    let Ok(url) = std::env::var("NUDJ_TEST_OAUTH_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI must set NUDJ_TEST_OAUTH_URL");
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: a foreign token server: set NUDJ_TEST_OAUTH_URL or run cargo xtask test\n"),
        );
        return;
    };
    let url = format!("{}/token", url.trim_end_matches('/'));
    let provider = ClientCredentials::new(&url, "id", "secret".to_owned(), &HttpConfig::default()).unwrap();
    for provider in [provider.clone(), provider.clone().basic(), provider.scope("read write")] {
        let lifetime = provider.fetch().await.unwrap().lifetime();
        assert!(lifetime.is_some_and(|lifetime| lifetime > Duration::from_secs(60)), "{lifetime:?}");
        assert!(sent(&bearer(provider)).await.unwrap().starts_with("Bearer ey"), "a JWT");
    }
}
