use std::{collections::HashMap, ffi::OsString, path::Path, time::Duration};

use config::{Environment, File, FileFormat};
use humantime_serde::re::humantime::parse_duration;
use nudj_tower::round_robin::OutlierConfig;
use serde_json::Value;

use super::{Config, without_password};
use crate::Error;

/// A configuration and what was odd about where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, not yet validated: endpoints may still come from arguments.
    pub config: Config,
    /// Names of `NUDJ_…` variables that are no field: probably misspelt, unless the program has variables of its own.
    pub unknown_variables: Vec<String>,
}

/// Variables that begin with `NUDJ_` and are no field of the configuration.
const OTHER_VARIABLES: [&str; 2] = ["NUDJ_API_TOKEN", "NUDJ_API_KEY"];

impl Config {
    /// Reads a TOML text over the defaults.
    ///
    /// # Errors
    /// Of kind `config`, naming the field, or `config` itself when the text is not TOML.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        read(config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)))
    }

    /// Reads `file`, if one is given, and the process's environment over it.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml), and when the file cannot be read, or a field's variable is no text.
    pub fn load(file: Option<&Path>) -> Result<Loaded, Error> {
        // Not `vars()`, which panics on a variable of somebody else's that is not UTF-8.
        Self::load_from(file, texts(std::env::vars_os())?)
    }

    /// As [`load`](Self::load), from these variables instead of the process's.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_from(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Error> {
        let (fields, times) = (field_names(), time_names());
        let mut unknown_variables = Vec::new();
        let mut known = HashMap::new();
        let mut ca_file = None;
        for (name, value) in variables {
            let Some(field) = field_of(&name) else { continue };
            if field == "http__ca_file" {
                ca_file = Some(value);
            } else if field == "endpoints" {
                let listed: Vec<_> = value.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
                // One that lists nothing is as good as none.
                if !listed.is_empty() {
                    known.insert(name, listed.join(","));
                }
            } else if fields.contains(&field) {
                // A number would be none of a time, but 0 is the same in every unit.
                let is_none = value.trim() == "0" && times.contains(&field);
                known.insert(name, if is_none { "0s".to_owned() } else { value });
            } else if !OTHER_VARIABLES.contains(&name.as_str()) && !name.starts_with("NUDJ_TEST_") {
                unknown_variables.push(name);
            }
        }
        unknown_variables.sort();
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::config("config", format!("{} cannot be read: {error}", path.display())))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let environment = Environment::with_prefix("NUDJ")
            .prefix_separator("_")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("endpoints")
            .try_parsing(true)
            .source(Some(known));
        // A path stays what it is, also where it looks like a number. Nothing stands over it.
        let builder = builder
            .add_source(environment)
            .set_override_option("http.ca_file", ca_file)
            .map_err(|error| Error::config("http.ca_file", error.to_string()))?;
        Ok(Loaded { config: read(builder)?, unknown_variables })
    }
}

fn read(builder: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Config, Error> {
    let value: Value = builder
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Error::config("config", without_passwords(error.to_string().trim())))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), without_passwords(&error.inner().to_string()));
        // serde names an unknown field in its text and the table around it in the path.
        let unknown = problem.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let field = match (path.as_str(), unknown) {
            (".", Some(name)) => name.to_owned(),
            (path, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
            (path, _) => path.to_owned(),
        };
        Error::config(field, problem)
    })
}

/// What is wrong with a file may be told by quoting it.
fn without_passwords(text: &str) -> String {
    let lines = text.lines().map(|line| if line.contains("://") { without_password(line) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// The field that a variable would be for, as it stands in [`field_names`].
fn field_of(variable: &str) -> Option<String> {
    variable.strip_prefix("NUDJ_").map(str::to_lowercase)
}

/// The variables that are texts. One of ours that is none is an error, and one of somebody else's nothing to us.
fn texts(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, Error> {
    let fields = field_names();
    let mut texts = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if field_of(&name).is_some_and(|field| fields.contains(&field)) => {
                return Err(Error::config(name, "is not UTF-8; set it to a text, or unset it"));
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

/// The names of all fields as they stand in the environment, lower case: `retry__budget__ratio`.
fn field_names() -> Vec<String> {
    fields().into_iter().map(|(name, _)| name).collect()
}

/// The names of those that are times.
fn time_names() -> Vec<String> {
    let is_time = |value: &Value| value.as_str().is_some_and(|text| parse_duration(text).is_ok());
    fields().into_iter().filter(|(_, value)| is_time(value)).map(|(name, _)| name).collect()
}

/// Every field and a value of it.
fn fields() -> Vec<(String, Value)> {
    fn walk(prefix: &str, value: Value, fields: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    let name = if prefix.is_empty() { name } else { format!("{prefix}__{name}") };
                    walk(&name, value, fields);
                }
            }
            value => fields.push((prefix.to_owned(), value)),
        }
    }
    let mut every = Config::default();
    // A section that is off by default has names too, and a time that is not set is one.
    every.round_robin.outlier = Some(OutlierConfig::default());
    let breaker = &mut every.circuit_breaker;
    for time in [&mut breaker.slow_call, &mut breaker.window, &mut breaker.half_open_for, &mut breaker.abandoned_after]
    {
        *time = Some(Duration::ZERO);
    }
    let mut fields = Vec::new();
    walk("", serde_json::to_value(every).unwrap_or_default(), &mut fields);
    fields
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_of_ours_that_is_no_text_is_named_and_one_of_others_passed_over() {
        let variable = |name: &str| (OsString::from(name), OsString::from_vec(vec![0xff]));
        let others = [variable("OTHER"), variable("NUDJ_TEST_X"), ("NUDJ_X".into(), "y".into())];
        assert_eq!(texts(others).unwrap(), [("NUDJ_X".to_owned(), "y".to_owned())]);
        let error = texts([variable("NUDJ_RETRY__MAX_RETRIES")]).unwrap_err();
        assert!(error.to_string().starts_with("NUDJ_RETRY__MAX_RETRIES: "), "{error}");
    }
}
