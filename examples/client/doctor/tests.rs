use std::sync::Arc;

use nudj::client::credentials::{EnvironmentCredential, StaticCredential};
use nudj::mock::{Fault, MockNudj};

use super::*;

fn args(secret_env: Option<&str>) -> Doctor {
    Doctor {
        path: "/api/v2/integration/me".to_owned(),
        secret_env: secret_env.map(str::to_owned),
        scheme: SchemeName::Nudj,
        json: false,
    }
}

/// Those of `status`, by name.
fn of(findings: &Findings, status: Verdict) -> Vec<&'static str> {
    findings.checks.iter().filter(|check| check.status == status).map(|check| check.name).collect()
}

fn quick(urls: Vec<String>) -> Config {
    let mut config = Config::with_endpoints(urls);
    config.retry.base_delay = std::time::Duration::from_millis(1);
    config
}

#[tokio::test]
async fn a_healthy_host_on_this_machine_gives_two_warnings() {
    let mock = MockNudj::start().await.unwrap();
    let found = examine(&quick(mock.urls()), Some(mock.token().into()), &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), [""; 0], "{found:?}");
    assert_eq!(of(&found, Verdict::Warning), ["webhook secret", "tls"], "{found:?}");
    assert!(found.checks.iter().all(|check| (check.status == Verdict::Ok) == check.fix.is_none()));
}

#[tokio::test]
async fn a_vault_that_has_no_token_is_named_and_fails_unless_the_next_source_has_one() {
    let missing = || -> Named { ("vault", Ok(Arc::new(EnvironmentCredential::new(["NUDJ_TEST_NO_SUCH_VARIABLE"])))) };
    let good = || -> Named { ("other vault", Ok(Arc::new(StaticCredential::new("canary")))) };
    let mut findings = Findings::default();
    assert!(token(vec![missing()], None, &mut findings).await.is_none());
    assert_eq!(of(&findings, Verdict::Failed), ["vault"]);
    for (vaults, environment) in [(vec![missing(), good()], None), (vec![missing()], Some("canary".into()))] {
        let mut findings = Findings::default();
        assert!(token(vaults, environment, &mut findings).await.is_some());
        assert_eq!(of(&findings, Verdict::Failed), [""; 0]);
        assert_eq!(of(&findings, Verdict::Warning), ["vault"]);
        assert!(format!("{findings:?}").contains("NUDJ_TEST_NO_SUCH_VARIABLE"), "{findings:?}");
        assert!(!format!("{findings:?}").contains("canary"));
    }
    let refused = || -> Named { ("vault", Err(Error::usage("VAULT_ADDR", "plain http"))) };
    let mut findings = Findings::default();
    assert!(token(vec![refused()], None, &mut findings).await.is_none(), "a failed check, not an end without a report");
    assert_eq!(of(&findings, Verdict::Failed), ["vault"]);
    // The other commands make all of them before they ask any.
    for (vaults, environment) in [(vec![good(), refused()], None), (vec![refused()], Some("canary".into()))] {
        let mut findings = Findings::default();
        assert!(token(vaults, environment, &mut findings).await.is_some());
        assert_eq!(of(&findings, Verdict::Failed), ["vault"], "{findings:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_of_a_certificate_that_was_not_shown() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = quick(vec![format!("https://{}", silent.local_addr().unwrap())]);
    config.retry.max_retries = 0;
    config.timeout.attempt = std::time::Duration::from_millis(50);
    let found = examine(&config, Some("t".into()), &args(None), Findings::default()).await;
    assert!(of(&found, Verdict::Warning).contains(&"tls"), "{found:?}");
    assert!(!of(&found, Verdict::Ok).contains(&"tls"), "{found:?}");
}

#[tokio::test]
async fn each_fault_is_laid_at_its_own_door() {
    let mock = MockNudj::start().await.unwrap();
    let config = quick(mock.urls());
    let token = || Some(SecretString::from(mock.token().to_owned()));
    let found = examine(&config, None, &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["credentials"]);
    let found = examine(&config, Some("canary-wrong".into()), &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["credentials"]);
    assert!(!format!("{found:?}").contains("canary"));
    let found = examine(&config, token(), &args(Some("NO_SUCH_VARIABLE")), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["webhook secret"]);
    let found = examine(&quick(vec![]), token(), &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["configuration"]);
    mock.inject(Fault::status(503));
    let found = examine(&config, token(), &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["health"], "{found:?}");
    drop(mock);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let found =
        examine(&quick(vec![format!("http://{free}")]), Some("t".into()), &args(None), Findings::default()).await;
    assert_eq!(of(&found, Verdict::Failed), ["health"], "{found:?}");
}
