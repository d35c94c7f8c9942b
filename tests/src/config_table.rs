//! The README's table of the configuration: names from serde, values from `Config::default()`, words from the fields' own docs.

use std::collections::BTreeMap;

use nudj_client::Config;
use serde_json::Value;

use crate::file;

const BEGIN: &str = "<!-- the configuration: written by the tests, see tests/README.md -->\n";
const END: &str = "<!-- the configuration ends -->";

/// Where the docs of a section's fields stand: file and struct.
const SECTIONS: [(&str, &str, &str); 11] = [
    ("", "crates/nudj-client/src/config/mod.rs", "Config"),
    ("auth", "crates/nudj-client/src/config/mod.rs", "AuthConfig"),
    ("auth.renewal", "crates/nudj-tower/src/credentials/config.rs", "CredentialsConfig"),
    ("retry", "crates/nudj-tower/src/retry/config.rs", "RetryConfig"),
    ("retry.budget", "crates/nudj-tower/src/retry/config.rs", "BudgetConfig"),
    ("circuit_breaker", "crates/nudj-tower/src/circuit_breaker/config.rs", "CircuitBreakerConfig"),
    ("round_robin", "crates/nudj-tower/src/round_robin/config.rs", "RoundRobinConfig"),
    ("round_robin.outlier", "crates/nudj-tower/src/round_robin/config.rs", "OutlierConfig"),
    ("rate_limit", "crates/nudj-tower/src/rate_limit/config.rs", "RateLimitConfig"),
    ("timeout", "crates/nudj-client/src/config/timeout.rs", "TimeoutConfig"),
    ("http", "crates/nudj-client/src/config/http.rs", "HttpConfig"),
];

/// The fields of a section as serde knows them, or `None` for what is no section.
fn fields(section: &str) -> Option<Vec<String>> {
    let text = if section.is_empty() { "no_such = 1".to_owned() } else { format!("[{section}]\nno_such = 1") };
    let error = Config::from_toml(&text).unwrap_err().to_string();
    let (_, expected) = error.split_once("unknown field `no_such`, expected ")?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn join(section: &str, field: &str) -> String {
    if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") }
}

/// All sections with their fields, outermost first.
fn sections(section: &str, found: &mut Vec<(String, Vec<String>)>) {
    if let Some(fields) = fields(section) {
        found.push((section.to_owned(), fields.clone()));
        for field in fields {
            sections(&join(section, &field), found);
        }
    }
}

/// The value of a field where its section is given and nothing in it is set.
fn default(section: &str, field: &str) -> Value {
    let given =
        if section.is_empty() { Config::default() } else { Config::from_toml(&format!("[{section}]")).unwrap() };
    let mut value = serde_json::to_value(given).unwrap();
    for name in section.split('.').filter(|name| !name.is_empty()).chain([field]) {
        value = value.get_mut(name).map_or(Value::Null, Value::take);
    }
    value
}

/// Type and first sentence of each field of a struct, read from its source.
fn docs(path: &str, name: &str) -> BTreeMap<String, (String, String)> {
    let source = file(path);
    let (_, body) = source.split_once(&format!("pub struct {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let (mut words, mut found) = (String::new(), BTreeMap::new());
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            words = format!("{words} {text}");
        } else if let Some((field, kind)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
            found.insert(field.to_owned(), (kind.trim_end_matches(',').to_owned(), std::mem::take(&mut words)));
        }
    }
    found
}

/// The names that a field takes, if it takes only some.
fn names(section: &str, field: &str) -> Option<String> {
    let text = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    let error = Config::from_toml(&format!("{text}{field} = 'no_such'")).err()?.to_string();
    let (_, expected) = error.split_once("unknown variant `no_such`, expected ")?;
    let names: Vec<String> = expected.split('`').skip(1).step_by(2).map(|name| format!("`\"{name}\"`")).collect();
    Some(names.join(", "))
}

fn kind(field: &str, kind: &str) -> &'static str {
    let kind = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(kind);
    match kind {
        "Duration" => "time",
        "bool" => "true or false",
        "f64" => "number",
        "usize" | "u64" if field.ends_with("_bytes") => "bytes",
        "u32" | "usize" | "u64" => "count",
        "PathBuf" => "path",
        "Vec<String>" => "list",
        _ => "section",
    }
}

fn row(section: &str, field: &str, kind_of: &str, words: &str) -> String {
    let sentences: Vec<&str> = words.trim().split_inclusive(". ").map(str::trim).collect();
    let default = match default(section, field) {
        // What holds then is in the words.
        Value::Null => {
            let then = sentences.iter().find_map(|sentence| sentence.strip_prefix("Default: "));
            then.map_or("none".to_owned(), |then| then.trim_end_matches('.').to_owned())
        }
        Value::String(text) => format!("`\"{text}\"`"),
        value => format!("`{value}`"),
    };
    let meaning = without_links(sentences.first().map_or("", |first| first.trim_end_matches('.')));
    let kind = names(section, field).unwrap_or_else(|| kind(field, kind_of).to_owned());
    format!("| `{}` | {kind} | {default} | {meaning} |\n", join(section, field))
}

/// `[words](address)` without the address.
fn without_links(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().replace('[', "");
    for part in parts {
        plain += &part.split_once(')').map_or(part, |(_, after)| after).replace('[', "");
    }
    plain
}

fn table() -> String {
    let mut found = Vec::new();
    sections("", &mut found);
    let mut table = "| field | is a | default | what it means |\n|---|---|---|---|\n".to_owned();
    for (section, fields) in &found {
        let home = SECTIONS.iter().find(|(name, ..)| name == section);
        let (_, path, name) = home.unwrap_or_else(|| panic!("say in SECTIONS where [{section}] is documented"));
        let docs = docs(path, name);
        for field in fields {
            let (kind, words) = docs.get(field).unwrap_or_else(|| panic!("{name} has no field {field} with words"));
            // A section has a row of its own when it is off unless it is given.
            let is_section = found.iter().any(|(name, _)| *name == join(section, field));
            if !is_section || default(section, field).is_null() {
                table += &row(section, field, kind, words);
            }
        }
    }
    table
}

#[test]
fn the_readmes_table_is_the_configuration() {
    let readme = file("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README has no place for the table");
    let (now, after) = rest.split_once(END).unwrap();
    let table = table();
    if now != table && std::env::var_os("NUDJ_WRITE_README").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        now == table,
        "the README's table is old; NUDJ_WRITE_README=1 cargo test -p nudj-tests writes this:\n{table}"
    );
}

#[test]
fn every_field_can_be_set_by_the_environment() {
    let mut found = Vec::new();
    sections("", &mut found);
    let leaves = found.iter().flat_map(|(section, fields)| fields.iter().map(move |field| join(section, field)));
    for path in leaves.filter(|path| !found.iter().any(|(section, _)| section == path)) {
        let variable = format!("NUDJ_{}", path.replace('.', "__").to_uppercase());
        let read = Config::load_from(None, [(variable.clone(), "no such value".to_owned())]);
        let unknown = read.map(|loaded| loaded.unknown_variables).unwrap_or_default();
        assert!(unknown.is_empty(), "{variable} is not read");
    }
}
