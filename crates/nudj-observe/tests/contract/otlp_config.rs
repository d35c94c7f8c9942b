//! What may be configured.

use std::time::Duration;

use nudj_observe::otlp::{Headers, Otlp, OtlpConfig, OtlpError};

#[test]
fn what_makes_no_sense_is_refused() {
    let with = |change: fn(&mut OtlpConfig)| {
        let mut config = OtlpConfig::default();
        change(&mut config);
        config.validate().unwrap_err().field().to_owned()
    };
    assert_eq!(with(|config| config.endpoint = "collector:4318".into()), "endpoint");
    assert_eq!(with(|config| config.interval = Duration::ZERO), "interval");
    assert_eq!(with(|config| config.timeout = Duration::ZERO), "timeout");
    assert_eq!(with(|config| config.queue = 1), "queue");
    assert_eq!(with(|config| config.sample = 1.1), "sample");
    assert_eq!(with(|config| config.sample = f64::NAN), "sample");
    assert_eq!(with(|config| config.headers = Headers::new([("a b".to_owned(), "x".into())])), "headers.a b");
    let plain = |config: &mut OtlpConfig| {
        config.endpoint = "http://collector.example:4318".into();
        config.headers = Headers::new([("x-key".to_owned(), "canary".into())]);
    };
    assert_eq!(with(plain), "endpoint");
    let mut allowed = OtlpConfig { allow_http: true, ..OtlpConfig::default() };
    plain(&mut allowed);
    allowed.validate().unwrap();
    OtlpConfig { allow_http: false, headers: Headers::default(), ..allowed }.validate().expect("there is no secret");
    assert!(matches!(Otlp::start(OtlpConfig::default()), Err(OtlpError::NoRuntime)));
    let config: OtlpConfig = serde_json::from_str(r#"{"headers": {"x-key": "canary"}, "interval": "5s"}"#).unwrap();
    assert_eq!(config.interval, Duration::from_secs(5));
    assert!(!format!("{config:?}").contains("canary"));
}
