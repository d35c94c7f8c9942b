//! What may stand on the command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};

/// Calls the Nudj API through the whole stack. The token comes from NUDJ_API_TOKEN, never from an argument.
#[derive(Debug, Parser)]
#[command(name = "client", arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// An origin to call, such as https://acme.nudj.cx; repeat it for several. Replaces the file's list.
    #[arg(long = "endpoint", value_name = "URL", global = true)]
    pub(crate) endpoints: Vec<String>,
    /// A TOML file; every field can also be set as NUDJ_RETRY__MAX_RETRIES and the like.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows every layer at work, on an API inside this process or on the one at --endpoint.
    Demo(Demo),
    /// Sends one request, or many, through the whole stack.
    Call(Call),
    /// Checks configuration, token and endpoints before production; exit code 1 when a check failed.
    Doctor(Doctor),
    /// Receives webhooks.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Works on many users.
    #[command(subcommand)]
    Users(Users),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Creates the users of a file, as fast as the rate limit allows; exit code 1 when a row failed.
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// CSV with a first line of column names, or NDJSON: email, username, externalUserId, displayName.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Writes here what is done, and goes on from there, also after a kill: for this file and these endpoints alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Creates 100 users per call, where the API can; without it, one documented call per user.
    #[arg(long)]
    pub(crate) bulk: bool,
    /// Prints one line of JSON per row, as it is done, and a last one with the totals, also when it ended early.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// What to GET of each endpoint: something that the token may read.
    #[arg(long, default_value = "/api/v2/integration/me", value_parser = path)]
    pub(crate) path: String,
    /// The environment variable that holds the webhook endpoint's secret, if webhooks are received.
    #[arg(long, value_name = "VAR")]
    pub(crate) secret_env: Option<String>,
    /// How webhooks are signed.
    #[arg(long, value_enum, default_value_t = SchemeName::Nudj)]
    pub(crate) scheme: SchemeName,
    /// Prints {"ok":…,"checks":[{"name":…,"status":…,"endpoint":…,"found":…,"fix":…}]}.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Prints one line per verified event, once per delivery; Ctrl-C and SIGTERM drain.
    Listen(Listen),
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen, such as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: String,
    /// The path that deliveries come to.
    #[arg(long, default_value = "/webhooks", value_parser = path)]
    pub(crate) path: String,
    /// The environment variable that holds the endpoint's secret.
    #[arg(long, value_name = "VAR")]
    pub(crate) secret_env: String,
    /// How deliveries are signed.
    #[arg(long, value_enum, default_value_t = SchemeName::Nudj)]
    pub(crate) scheme: SchemeName,
    /// Prints {"event":…,"delivery_id":…,"data":…}.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemeName {
    /// X-Nudj-Signature: sha256=<hex>
    Nudj,
    /// Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature
    Standard,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Ends with one line of JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Agrees to creating and deleting users on an API that is not on this machine.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Serves a live dashboard there, such as 127.0.0.1:8080, with /metrics, /health, /livez and /readyz beside it.
    #[arg(long, value_name = "ADDR")]
    pub(crate) dashboard: Option<String>,
    /// Goes on calling until Ctrl-C, so that there is something to look at.
    #[arg(long, requires = "dashboard")]
    pub(crate) keep: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Call {
    /// GET, POST, …
    #[arg(value_parser = method)]
    pub(crate) method: Method,
    /// What follows the endpoint, percent-encoded: /api/v2/integration/me
    #[arg(value_parser = path)]
    pub(crate) path: String,
    /// The body, as JSON.
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub(crate) body: Option<serde_json::Value>,
    /// A header; may be repeated, for another name.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = Header::from_str)]
    pub(crate) headers: Vec<Header>,
    /// How many calls to make.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) repeat: u64,
    /// How many calls may be under way at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,
    /// Time between the starts of calls, such as 100ms.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// Prints one line of JSON per call, as it ends.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("expected `name: value`")?;
        let name: HeaderName = name.trim().parse().map_err(|_| format!("`{}` is not a header name", name.trim()))?;
        let value = value.trim().parse().map_err(|_| format!("the value of `{name}` cannot stand in a header"))?;
        Ok(Self { name, value })
    }
}

fn method(text: &str) -> Result<Method, String> {
    let method: Method = text.to_uppercase().parse().map_err(|_| "not an HTTP method".to_owned())?;
    if method == Method::CONNECT { Err("CONNECT opens a tunnel and is no API call".to_owned()) } else { Ok(method) }
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with `/`; the endpoint's origin comes from --endpoint".to_owned());
    }
    // A URI drops it with what follows, and so would say nothing of it.
    if text.contains('#') {
        return Err("must not hold a `#`; write it as %23".to_owned());
    }
    let uri: http::Uri = text.parse().map_err(|error| format!("{error}; percent-encode it"))?;
    if uri.path().split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("has a `.` or `..` segment, which servers read as another path".to_owned());
    }
    Ok(text.to_owned())
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}
