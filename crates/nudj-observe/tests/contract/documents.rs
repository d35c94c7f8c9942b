//! The alert rules and the Grafana dashboard in `docs/`: every query asks for what is exported.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use nudj_observe::metrics::{ALL, Kind};
use serde_json::Value;

use crate::{needs, promtool::promtool};

fn docs(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(docs(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every string below `value` that is a query.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(query) if ["expr", "query"].contains(&name.as_str()) => found.push(query.clone()),
                    _ => queries(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn grafana() -> Vec<String> {
    let mut found = Vec::new();
    queries(&serde_json::from_str(&read("grafana/nudj.json")).unwrap(), &mut found);
    found.retain(|query| query.contains('_'));
    assert!(found.len() > 40, "{found:?}");
    found
}

fn alerts() -> Vec<String> {
    let rules = read("alerts/nudj.rules.yml");
    let found: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect();
    assert_eq!(found.len(), rules.matches("- alert: ").count());
    assert!(found.len() > 10);
    found
}

/// What Prometheus calls a metric's series.
fn exported() -> BTreeSet<String> {
    let series = |metric: &nudj_observe::metrics::Metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)).to_vec(),
        _ => vec![metric.name.to_owned()],
    };
    ALL.iter().flat_map(|metric| series(metric)).collect()
}

/// The metrics of a query, each with the text of its label matchers.
fn metrics_of(query: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = ["nudj_", "http_client_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |end| start + end);
        let matchers = rest[end..].strip_prefix('{').and_then(|tail| tail.split('}').next()).unwrap_or_default();
        found.push((rest[start..end].to_owned(), matchers.to_owned()));
        rest = &rest[end..];
    }
    found
}

#[test]
fn every_query_asks_for_a_metric_that_is_exported_by_labels_that_it_has() {
    let exported = exported();
    let mut asked = BTreeSet::new();
    for query in grafana().iter().chain(&alerts()) {
        let metrics = metrics_of(query);
        assert!(!metrics.is_empty(), "no metric in {query}");
        for (name, matchers) in metrics {
            assert!(exported.contains(&name), "{name} is not exported: {query}");
            let metric = ALL.iter().find(|metric| name.starts_with(metric.name)).unwrap();
            for label in matchers.split(',').filter_map(|matcher| matcher.split(['=', '!']).next()) {
                assert!(
                    ["", "job"].contains(&label) || metric.labels.contains(&label),
                    "{name} has no {label}: {query}"
                );
            }
            asked.insert(metric.name);
        }
    }
    let unseen: Vec<_> = ALL.iter().map(|metric| metric.name).filter(|name| !asked.contains(name)).collect();
    assert!(unseen.is_empty(), "on no panel and in no alert: {unseen:?}");
}

#[test]
fn grouping_is_by_labels_that_exist() {
    let labels: BTreeSet<_> =
        ALL.iter().flat_map(|metric| metric.labels).copied().chain(["job", "instance", "le"]).collect();
    for query in grafana().iter().chain(&alerts()) {
        for group in query.split(" by (").skip(1).filter_map(|tail| tail.split(')').next()) {
            for label in group.split(", ") {
                assert!(labels.contains(label), "{label} in {query}");
            }
        }
    }
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should() {
    const TEST: &str = "promtool_accepts_the_alerts_and_they_fire_when_they_should";
    let Some(tool) = needs(TEST, "NUDJ_TEST_PROMTOOL") else { return };
    let [rules, tests] =
        ["alerts/nudj.rules.yml", "alerts/nudj.rules.test.yml"].map(|name| docs(name).display().to_string());
    promtool(&tool, &["check", "rules", &rules], "").unwrap_or_else(|words| panic!("{words}"));
    promtool(&tool, &["test", "rules", &tests], "").unwrap_or_else(|words| panic!("{words}"));
    for alert in read("alerts/nudj.rules.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let tested = read("alerts/nudj.rules.test.yml").matches(&format!("alertname: {alert}\n")).count();
        assert!(tested >= 2, "{alert} is not tested quiet and firing");
    }
}

#[test]
fn promtool_can_read_every_query_of_the_dashboard() {
    let Some(tool) = needs("promtool_can_read_every_query_of_the_dashboard", "NUDJ_TEST_PROMTOOL") else { return };
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let asked = grafana().into_iter().filter(|query| !query.starts_with("label_values("));
    for (number, query) in asked.enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace('\'', "''");
        let _ = writeln!(rules, "      - record: query:{number}\n        expr: '{query}'");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    std::fs::write(&file, &rules).unwrap();
    promtool(&tool, &["check", "rules", "--lint=none", file.to_str().unwrap()], "")
        .unwrap_or_else(|words| panic!("{words}\n{rules}"));
}
