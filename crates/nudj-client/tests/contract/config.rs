//! Configuration from files, the environment and code.

use std::{io::Write, time::Duration};

use nudj_client::{Client, Config, config::AuthHeader};

fn load(file: &str, variables: &[(&str, &str)]) -> Result<nudj_client::config::Loaded, nudj_client::Error> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    Config::load_from(
        Some(path.path()),
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let documented = r#"
endpoints = []
[retry]
max_retries = 3
base_delay = "1s"
max_delay = "60s"
jitter = "equal"
max_retry_after = "60s"
idempotency_keys = false
[retry.budget]
ratio = 0.2
min_per_second = 10
[circuit_breaker]
failure_threshold = 5
open_for = "60s"
open_growth = 1.0
half_open_probes = 1
[rate_limit]
max_requests = 100
window = "1s"
algorithm = "sliding_window"
max_wait = "30s"
max_queue = 1024
[timeout]
attempt = "10s"
total = "60s"
[http]
max_response_bytes = 10485760
"#;
    assert_eq!(Config::from_toml(documented).unwrap(), Config::default());
}

#[test]
fn the_environment_goes_over_the_file() {
    let loaded = load(
        "endpoints = ['https://a.example']\n[retry]\nmax_retries = 1\nbase_delay = '2s'",
        &[
            ("NUDJ_RETRY__MAX_RETRIES", "7"),
            ("NUDJ_RETRY__BUDGET__RATIO", "0.5"),
            ("NUDJ_CIRCUIT_BREAKER__OPEN_FOR", "250ms"),
            ("NUDJ_ENDPOINTS", "https://b.example,https://c.example"),
            ("NUDJ_AUTH__HEADER", "bearer"),
            ("NUDJ_API_TOKEN", "secret"),
            ("NUDJ_TEST_BASE_URL", "x"),
            ("NUDJ_RETRY__MAX_RETRYS", "9"),
            ("NUDJ_COLOUR", "red"),
            ("OTHER", "x"),
        ],
    )
    .unwrap();
    let config = loaded.config;
    assert_eq!((config.retry.max_retries, config.retry.base_delay), (7, Duration::from_secs(2)));
    assert!((config.retry.budget.ratio - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.circuit_breaker.open_for, Duration::from_millis(250));
    assert_eq!(config.endpoints, ["https://b.example", "https://c.example"]);
    assert_eq!(config.auth.header, AuthHeader::Bearer);
    assert_eq!(loaded.unknown_variables, ["NUDJ_COLOUR", "NUDJ_RETRY__MAX_RETRYS"]);
}

/// All fields as their variables are named, but for the table's sections.
fn variables(prefix: &str, value: &serde_json::Value, names: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            let join =
                |name: &String| format!("{prefix}{}{}", if prefix == "NUDJ_" { "" } else { "__" }, name.to_uppercase());
            fields.iter().for_each(|(name, value)| variables(&join(name), value, names));
        }
        _ => names.push(prefix.to_owned()),
    }
}

#[test]
fn a_bare_0_is_a_time_in_the_environment() {
    let mut config = Config::default();
    config.round_robin.outlier = Some(nudj_tower::round_robin::OutlierConfig::default());
    let mut names = Vec::new();
    variables("NUDJ_", &serde_json::to_value(config).unwrap(), &mut names);
    // What takes a time, and not any text.
    let takes = |name: &str, value: &str| load("", &[(name, value)]).is_ok();
    let times: Vec<_> = names.iter().filter(|name| takes(name, "7s") && !takes(name, "no time")).collect();
    assert!(times.len() > 20, "{times:?}");
    for name in &times {
        for zero in ["0", " 0 "] {
            let loaded = load("", &[(name, zero)]);
            let as_usual = load("", &[(name, "0s")]).unwrap().config;
            assert_eq!(loaded.unwrap_or_else(|error| panic!("{name}: {error}")).config, as_usual, "{name}");
        }
        assert!(!takes(name, "5"), "of what, seconds? {name}");
    }
    for name in ["NUDJ_HTTP__POOL_IDLE_TIMEOUT", "NUDJ_RETRY__BASE_DELAY", "NUDJ_CIRCUIT_BREAKER__SLOW_CALL"] {
        assert!(times.iter().any(|time| *time == name), "{name}: {times:?}");
    }
}

#[test]
fn one_endpoint_in_the_environment_is_a_list_of_one() {
    let loaded = load("", &[("NUDJ_ENDPOINTS", "https://b.example")]).unwrap();
    assert_eq!(loaded.config.endpoints, ["https://b.example"]);
}

#[test]
fn spaces_and_a_comma_at_the_end_of_a_list_mean_nothing() {
    for text in ["https://b.example, https://c.example", " https://b.example ,,https://c.example,"] {
        let loaded = load("", &[("NUDJ_ENDPOINTS", text)]).unwrap();
        assert_eq!(loaded.config.endpoints, ["https://b.example", "https://c.example"]);
    }
    let loaded = load("endpoints = ['https://a.example']", &[("NUDJ_ENDPOINTS", " ,")]).unwrap();
    assert_eq!(loaded.config.endpoints, ["https://a.example"]);
}

#[test]
fn a_path_that_looks_like_a_number_is_a_path() {
    for text in ["2026", "true"] {
        let loaded = load("[http]\nca_file = 'other.pem'", &[("NUDJ_HTTP__CA_FILE", text)]).unwrap();
        assert_eq!(loaded.config.http.ca_file.unwrap().as_os_str(), text);
        assert!(loaded.unknown_variables.is_empty());
    }
}

#[test]
fn a_password_in_an_endpoint_is_printed_nowhere() {
    for endpoint in ["https://user:hunter2@a.example", "user:hun/ter2?@a.example", "https://b.example/hunter2@x"] {
        let printed = format!("{:?}", Client::builder().endpoint(endpoint));
        assert!(!printed.contains("ter2") && printed.contains("[REDACTED]@"), "{printed}");
    }
    for text in ["endpoints = 'https://user:hunter2@a.example'", "endpoints = [\n 'https://user:hunter2@a.example"] {
        let error = Config::from_toml(text).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("[REDACTED]@a.example"), "{error}");
    }
    let config = Config::with_endpoints(["https://a.example"]);
    assert!(format!("{config:?}").contains("endpoints: [\"https://a.example\"], auth: AuthConfig"), "{config:?}");
}

#[test]
fn every_mistake_names_its_field() {
    for (text, field) in [
        ("endpoint = 'x'", "endpoint"),
        ("endpoints = 'https://a.example'", "endpoints"),
        ("[retry]\nmax_retrys = 1", "retry.max_retrys"),
        ("[retry]\nmax_retries = -1", "retry.max_retries"),
        ("[retry]\nmax_retries = 'three'", "retry.max_retries"),
        ("[retry]\nbase_delay = 5", "retry.base_delay"),
        ("[retry]\nbase_delay = '5 parsecs'", "retry.base_delay"),
        ("[retry]\njitter = 'some'", "retry.jitter"),
        ("[retry.budget]\nratio = 'x'", "retry.budget.ratio"),
        ("[circuit_breaker]\nopen_fr = '1s'", "circuit_breaker.open_fr"),
        ("[rate_limit]\nalgorithm = 'leaky'", "rate_limit.algorithm"),
        ("[timeout]\nattempt = true", "timeout.attempt"),
        ("[http]\nmax_response_bytes = 1.5", "http.max_response_bytes"),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{field}: ")), "{text}: {error}");
    }
    let error = Config::from_toml("endpoints = [").unwrap_err();
    assert!(error.to_string().starts_with("config: "), "{error}");
}

#[test]
fn every_value_out_of_range_names_its_field() {
    let origin = "endpoints = ['https://a.example']\n";
    for (text, field) in [
        ("", "endpoints"),
        ("endpoints = ['a.example']", "endpoints[0]"),
        ("endpoints = ['ftp://a.example']", "endpoints[0]"),
        ("endpoints = ['https://a.example', 'https://user:pw@b.example']", "endpoints[1]"),
        ("endpoints = ['https://a.example/?q']", "endpoints[0]"),
        ("endpoints = ['http://a.example']", "endpoints[0]"),
        ("endpoints = ['https://a.example', 'https://a.example']", "endpoints[1]"),
        (&format!("{origin}[timeout]\nattempt = '0s'"), "timeout.attempt"),
        (&format!("{origin}[circuit_breaker]\nhalf_open_for = '10s'"), "circuit_breaker.half_open_for"),
        (&format!("{origin}[timeout]\ntotal = '0s'"), "timeout.total"),
        (&format!("{origin}[rate_limit]\nmax_requests = 0"), "rate_limit.max_requests"),
        (&format!("{origin}[retry]\nmax_delay = '0s'"), "retry.max_delay"),
        (&format!("{origin}[retry.budget]\nratio = -0.1"), "retry.budget.ratio"),
        (&format!("{origin}[retry.budget]\nratio = nan"), "retry.budget.ratio"),
        (&format!("{origin}[circuit_breaker]\nhalf_open_probes = 0"), "circuit_breaker.half_open_probes"),
        (&format!("{origin}[http]\nmax_response_bytes = 0"), "http.max_response_bytes"),
    ] {
        let error = Config::from_toml(text).and_then(|config| config.validate()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{field}: ")), "{text}: {error}");
    }
}

#[test]
fn plain_http_to_this_machine_is_allowed_and_elsewhere_by_consent() {
    for url in ["http://localhost:1", "http://127.0.0.1:1", "http://127.8.8.8", "http://[::1]:1"] {
        Config::with_endpoints([url]).validate().unwrap();
    }
    let mut config = Config::with_endpoints(["http://nudj.internal"]);
    assert!(config.validate().is_err());
    config.http.allow_http = true;
    config.validate().unwrap();
}

#[tokio::test]
async fn a_client_without_a_token_is_not_built() {
    let error = Client::builder().endpoint("https://a.example").build().unwrap_err();
    assert_eq!(error.kind().name(), "auth");
    assert!(error.to_string().contains("NUDJ_API_TOKEN"), "{error}");
}
