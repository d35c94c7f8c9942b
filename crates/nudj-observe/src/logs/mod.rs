//! Logs by `tracing-subscriber`: for people, or one JSON object per line; without secrets.
//!
//! ```
//! use nudj_observe::logs::{self, LogConfig, LogFormat};
//! use tracing_subscriber::prelude::*;
//! # use std::{io, sync::{Arc, Mutex}};
//! # #[derive(Clone, Default)]
//! # struct Lines(Arc<Mutex<Vec<u8>>>);
//! # impl io::Write for Lines {
//! #     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.0.lock().unwrap().extend(bytes); Ok(bytes.len()) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # let lines = Lines::default();
//! # let writer = lines.clone();
//!
//! let config = LogConfig { format: LogFormat::Json, ..LogConfig::default() };
//! // For the whole process: `logs::init(&config)`, to stderr.
//! let subscriber = tracing_subscriber::registry().with(logs::layer(&config, move || writer.clone())?);
//! tracing::subscriber::with_default(subscriber, || {
//!     tracing::info!(operation = "getUser", token = "abc", "call completed");
//! });
//! let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
//! assert!(line.contains(r#""operation":"getUser""#) && line.contains(r#""token":"[REDACTED]""#));
//! # Ok::<_, logs::LogError>(())
//! ```
//!
//! # Lines
//!
//! What the layers log of a call is described by [`nudj_tower::metrics`]: `call started`, `call completed`, `call failed`, with
//! operation, ids, duration, outcome, attempts, endpoint, and the route's template in place of a path.
//!
//! A line stays one line: in pretty ones control characters are written out, `\n`, `\u{1b}`, in messages and errors too.
//!
//! # Redaction
//!
//! The layers write no secret. For what other code writes: a field whose name holds `authorization`, `token`, `secret`, `password`,
//! `cookie` or `api_key` shows `[REDACTED]`; in any text what follows `Bearer`, `Basic` or `x-api-token` does (with a colon, `=`,
//! blanks and quotes between them or without, as in compact JSON), and of URLs user, query and fragment. That is a net, not a promise: a
//! secret in free text that looks like nothing is not found.
//!
//! # Mistakes to avoid
//!
//! A second formatting layer beside this one: it writes what this one takes out.

mod config;
mod json;
mod redact;
mod text;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{MakeWriter, layer as lines},
    prelude::*,
    registry::LookupSpan,
};

pub use self::config::{LogConfig, LogError, LogFormat};
use self::{
    json::{JsonFields, JsonLine},
    text::TextFields,
};

/// Logs to stderr for the whole process.
///
/// # Errors
/// [`LogError`]: the filter cannot be read, or logs have been set up before.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    Ok(tracing_subscriber::registry().with(layer(config, std::io::stderr)?).try_init()?)
}

/// A layer for a subscriber of your own, writing to `writer`.
///
/// # Errors
/// [`LogError::Filter`].
pub fn layer<S, W>(config: &LogConfig, writer: W) -> Result<Box<dyn Layer<S> + Send + Sync>, LogError>
where
    S: Subscriber + for<'l> LookupSpan<'l> + Send + Sync,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&config.filter)?;
    Ok(match config.format {
        LogFormat::Json => {
            lines().with_writer(writer).fmt_fields(JsonFields).event_format(JsonLine).with_filter(filter).boxed()
        }
        LogFormat::Pretty => {
            lines().with_ansi(config.colour).with_writer(writer).fmt_fields(TextFields).with_filter(filter).boxed()
        }
    })
}
