//! Calls per second on the wire: loopback, the server in a process of its own, many short rounds in turn.
//!
//! `cargo bench -p nudj-benches --bench wire -- [--rounds N] [--calls N] [--only NAME] [--setting START] [--threads N] [--csv FILE]`.
//!
//! In each round every contender makes the same number of calls, in an order that moves on by one from round to round; what is shown is the median over the rounds of its rate divided by raw
//! hyper-util's in the same round, with its 95 % interval (by rank), and the same for the time the client had a processor. Raw stands there
//! twice: where the second one lies outside 0.98 to 1.02, the setting does not count, and the program says so and ends with 1.

mod contenders;
mod statistics;

use std::{error::Error, fs, process::ExitCode, time::Duration};

use clap::Parser;
use nudj_benches::count::Server;
use rustix::time::{ClockId, clock_gettime};
use tokio::{runtime::Builder, task::JoinSet, time::Instant};

use self::{
    contenders::{Call, Contender, Protocol, contenders},
    statistics::Interval,
};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Args {
    /// Rounds per setting.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Calls per contender and round.
    #[arg(long, default_value_t = 1600)]
    calls: usize,
    /// Only contenders with this in their name, beside raw and its control; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Only settings that begin like this: "HTTP/1.1, 16".
    #[arg(long, default_value = "")]
    setting: String,
    /// Calls run on so many worker threads; on the main one alone without.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the figures to this file too.
    #[arg(long)]
    csv: Option<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn wants(&self, contender: &Contender) -> bool {
        let is_named = || self.only.iter().any(|part| contender.name.contains(part.as_str()));
        contender.is_baseline() || self.only.is_empty() || is_named()
    }
}

/// What one contender did in one round.
#[derive(Clone, Copy)]
struct Round {
    /// Calls per second.
    rate: f64,
    /// Seconds on a processor per call.
    cpu: f64,
}

fn main() -> Result<ExitCode, BoxError> {
    let args = Args::parse();
    let runtime = match args.threads {
        None => Builder::new_current_thread().enable_all().build()?,
        Some(threads) => Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    let mut csv = String::from("setting,contender,calls,low,high,cpu,cpu_low,cpu_high\n");
    let mut valid = true;
    let mut settings = Vec::from(
        [(Protocol::Http1, 16), (Protocol::Http1, 64), (Protocol::Http2, 64)]
            .map(|(protocol, in_flight)| (format!("{protocol}, {in_flight} in flight"), protocol, in_flight)),
    );
    settings.retain(|(name, ..)| name.starts_with(&args.setting));
    if settings.is_empty() {
        return Err(format!("no setting begins with {:?}", args.setting).into());
    }
    for (setting, protocol, in_flight) in settings {
        let server = Server::start()?;
        let rounds = runtime.block_on(async {
            let mut contenders = contenders(protocol, server.address())?;
            contenders.retain(|contender| args.wants(contender));
            measure(&args, &contenders, in_flight).await.map(|rounds| (contenders, rounds))
        });
        let (contenders, rounds) = rounds?;
        valid &= show(&setting, &contenders, &rounds, &mut csv);
    }
    if let Some(path) = args.csv {
        fs::write(path, csv)?;
    }
    Ok(ExitCode::from(u8::from(!valid)))
}

async fn measure(args: &Args, contenders: &[Contender], in_flight: usize) -> Result<Vec<Vec<Round>>, BoxError> {
    let mut rounds = vec![Vec::with_capacity(args.rounds); contenders.len()];
    for contender in contenders {
        run(&contender.call, args.calls, in_flight).await.map_err(|error| format!("{}: {error}", contender.name))?;
    }
    for number in 0..args.rounds {
        for place in 0..contenders.len() {
            let turn = (place + number) % contenders.len();
            let (start, before) = (Instant::now(), cpu_time(args));
            run(&contenders[turn].call, args.calls, in_flight).await?;
            let (took, cpu) = (start.elapsed(), cpu_time(args).saturating_sub(before));
            let calls = (args.calls / in_flight * in_flight) as f64;
            rounds[turn].push(Round { rate: calls / took.as_secs_f64(), cpu: cpu.as_secs_f64() / calls });
        }
    }
    Ok(rounds)
}

async fn run(call: &Call, calls: usize, in_flight: usize) -> Result<(), BoxError> {
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        let call = call.clone();
        workers.spawn(async move {
            for _ in 0..calls / in_flight {
                call().await?;
            }
            Ok::<_, BoxError>(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

/// How long the threads that make the calls have had a processor.
fn cpu_time(args: &Args) -> Duration {
    let clock = if args.threads.is_some() { ClockId::ProcessCPUTime } else { ClockId::ThreadCPUTime };
    // Not the scheduler's own statistics, which move on with its tick only: a fourth of a round.
    clock_gettime(clock).try_into().unwrap_or_default()
}

fn show(setting: &str, contenders: &[Contender], rounds: &[Vec<Round>], csv: &mut String) -> bool {
    let raw = &rounds[0];
    let rate = Interval::of(raw.iter().map(|round| round.rate)).median;
    let cpu = Interval::of(raw.iter().map(|round| round.cpu)).median;
    println!("\n{setting}: {rate:.0} calls/s raw, {:.1} µs of processor a call", cpu * 1e6);
    println!("{:40} {:>24} {:>24}", "against raw", "calls/s", "processor time");
    let mut control = true;
    for (contender, rounds) in contenders.iter().zip(rounds).skip(1) {
        let calls = Interval::of(raw.iter().zip(rounds).map(|(raw, own)| own.rate / raw.rate));
        let cpu = Interval::of(raw.iter().zip(rounds).map(|(raw, own)| own.cpu / raw.cpu));
        println!("{:40} {:>24} {:>24}", contender.name, calls.to_string(), cpu.to_string());
        csv.push_str(&format!("{setting:?},{:?},{},{}\n", contender.name, calls.fields(), cpu.fields()));
        if contender.is_control {
            control = (0.98..=1.02).contains(&calls.median);
        }
    }
    if !control {
        println!("does not count: raw against itself lies outside 0.98 to 1.02; the machine was busy");
    }
    control
}
