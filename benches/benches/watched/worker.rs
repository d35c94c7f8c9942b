//! One contender in a process of its own: makes so many calls for each line it reads, and answers with what they took.

use std::{
    env, fmt,
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use clap::ValueEnum;
use http_body_util::BodyExt;
use nudj_benches::{Watch, free_quota, request};
use nudj_client::{Client, Config};
use nudj_observe::otlp::OtlpConfig;
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, task::JoinSet, time::Instant};
use tower::Service;
use tracing::dispatcher;

use crate::BoxError;

const IN_FLIGHT: usize = 16;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    Nobody,
    NobodyAgain,
    NoRecorder,
    Prometheus,
    Otlp,
    OtlpAll,
    SpansKept,
}

impl Who {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nobody,
        Self::NobodyAgain,
        Self::NoRecorder,
        Self::Prometheus,
        Self::Otlp,
        Self::OtlpAll,
        Self::SpansKept,
    ];

    fn watch(self, collector: &str) -> Result<Option<Watch>, BoxError> {
        let origin = format!("http://{collector}");
        Ok(Some(match self {
            Self::Nobody | Self::NobodyAgain => return Ok(None),
            Self::NoRecorder => Watch::no_recorder(),
            Self::Prometheus => Watch::prometheus()?,
            Self::Otlp => Watch::otlp(origin, OtlpConfig::default())?,
            Self::OtlpAll => Watch::otlp(origin, OtlpConfig { spans_per_second: 0, ..OtlpConfig::default() })?,
            Self::SpansKept => Watch::spans(),
        }))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::NobodyAgain => "nobody again",
            Self::NoRecorder => "an observer, no recorder",
            Self::Prometheus => "metrics for Prometheus",
            Self::Otlp => "metrics and spans by OTLP",
            Self::OtlpAll => "metrics and all spans by OTLP, however many",
            Self::SpansKept => "spans kept by tracing-subscriber",
        })
    }
}

/// What one contender did in one round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Calls per second.
    pub(crate) rate: f64,
    /// Seconds on a processor per call, of all threads together.
    pub(crate) cpu: f64,
    /// Spans that were not exported, so far.
    pub(crate) lost: u64,
}

/// A contender's process, which ends with its standard input.
pub(crate) struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(who: Who, addresses: &str) -> Result<Self, BoxError> {
        let name = who.to_possible_value().ok_or("no such contender")?;
        let mut process = Command::new(env::current_exe()?)
            .args(["--be", name.get_name(), "--address", addresses])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take().ok_or("no input")?, process.stdout.take().ok_or("no output")?);
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    pub(crate) fn round(&mut self, calls: usize) -> Result<Round, BoxError> {
        writeln!(self.input, "{calls}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut fields = line.split_whitespace();
        let mut field = || fields.next().ok_or("a contender ended");
        Ok(Round { rate: field()?.parse()?, cpu: field()?.parse()?, lost: field()?.parse()? })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Is a contender until its standard input ends. `addresses` are the server's and the collector's.
pub(crate) fn serve(who: Who, addresses: &str) -> Result<(), BoxError> {
    let (server, collector) = addresses.split_once(',').ok_or("two addresses are needed")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let watch = who.watch(collector)?;
    if let Some(subscriber) = watch.as_ref().and_then(|watch| watch.subscriber.clone()) {
        dispatcher::set_global_default(subscriber)?;
    }
    let mut config = Config::with_endpoints([format!("http://{server}")]);
    config.rate_limit = free_quota();
    let builder = watch.as_ref().map_or_else(Client::builder, Watch::client);
    let client = builder.config(config).token("token").build()?;
    drop(entered);
    for line in stdin().lines() {
        let calls: usize = line?.parse()?;
        let (start, before) = (Instant::now(), cpu_time());
        runtime.block_on(run(&client, calls))?;
        let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(before));
        let calls = (calls / IN_FLIGHT * IN_FLIGHT) as f64;
        let lost = watch.as_ref().map_or(0, Watch::lost_spans);
        println!("{} {} {lost}", calls / took.as_secs_f64(), cpu.as_secs_f64() / calls);
    }
    Ok(())
}

async fn run(client: &Client, calls: usize) -> Result<(), BoxError> {
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let client = client.clone();
        tasks.spawn(async move {
            let template = request();
            for _ in 0..calls / IN_FLIGHT {
                let (parts, body) = client.service().call(template.clone()).await?.into_parts();
                body.collect().await?;
                if !parts.status.is_success() {
                    return Err(format!("answered {}", parts.status).into());
                }
            }
            Ok::<_, BoxError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// How long this process's threads have had a processor.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
