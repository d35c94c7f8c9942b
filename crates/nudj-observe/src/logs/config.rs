use serde::{Deserialize, Serialize};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogFormat {
    /// One line for people, in colour where [`LogConfig::colour`] says so.
    #[default]
    Pretty,
    /// One JSON object per line, for machines.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How lines look. Default `pretty`.
    pub format: LogFormat,
    /// Which lines, in `RUST_LOG`'s words, such as `info,nudj_tower::metrics=debug`. Default `info`.
    pub filter: String,
    /// Whether pretty lines have colour. Default false: logs are mostly read from a file.
    pub colour: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned(), colour: false }
    }
}

/// What can go wrong when logs are set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter cannot be read.
    #[error("filter: must be in RUST_LOG's words, such as `info,nudj_tower=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody has set up the process's logs before.
    #[error("the process's logs have been set up before; add `logs::layer` to that subscriber instead")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}
