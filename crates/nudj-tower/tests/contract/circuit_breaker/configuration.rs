//! Configurations that are refused, and the default one.

use super::*;

#[test]
fn configuration_errors_name_the_field() {
    let bad = [
        ("failure_rate = 0.0", "failure_rate"),
        ("failure_rate = 1.5", "failure_rate"),
        ("failure_rate = nan", "failure_rate"),
        ("slow_call_rate = 0.5", "slow_call"),
        ("slow_call = '0s'", "slow_call"),
        ("slow_call_rate = -1.0\nslow_call = '1s'", "slow_call_rate"),
        ("window = '10s'\nwindow_calls = 10", "window"),
        ("window = '1ms'", "window"),
        ("window_calls = 0", "window_calls"),
        ("window_calls = 2000000", "window_calls"),
        ("minimum_calls = 0", "minimum_calls"),
        ("failure_rate = 0.5\nminimum_calls = 101", "minimum_calls"),
        ("open_for = '0s'", "open_for"),
        ("open_growth = 0.5", "open_growth"),
        ("open_growth = inf", "open_growth"),
        ("open_growth = 2.0\nopen_for = '11m'", "max_open_for"),
        ("half_open_probes = 0", "half_open_probes"),
        ("success_threshold = 2", "success_threshold"),
        ("success_threshold = 0", "success_threshold"),
        ("half_open_for = '0s'", "half_open_for"),
    ];
    for (text, field) in bad {
        let config: CircuitBreakerConfig = toml::from_str(text).unwrap();
        assert_eq!(CircuitBreakerLayer::new(&config).unwrap_err().field(), field, "{text}");
    }
    assert!(toml::from_str::<CircuitBreakerConfig>("treshold = 5").is_err(), "an unknown field");
    let default = CircuitBreakerConfig::default();
    assert_eq!(toml::from_str::<CircuitBreakerConfig>("").unwrap(), default);
    assert_eq!(toml::from_str::<CircuitBreakerConfig>(&toml::to_string(&default).unwrap()).unwrap(), default);
    assert!(default.validate().is_ok());
}
