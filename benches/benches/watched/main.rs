//! What does it cost on the wire to be watched? Loopback, 16 calls in flight, the server in a process of its own and each contender in
//! one too, since a subscriber and a recorder are a whole process's.
//!
//! `cargo bench -p nudj-benches --bench watched -- [--rounds N] [--calls N] [--csv FILE]`. As in `wire`: many short rounds in turn; what is
//! shown is the median over the rounds of a contender's rate divided by that of the same stack with nobody watching in the same round, with
//! its 95 % interval, and the same for processor time, all threads of the process together. Nobody stands there twice: where the second
//! one lies outside 0.98 to 1.02, or a span was not exported, the figures do not count, and the program ends with 1.

#[path = "../wire/statistics.rs"]
mod statistics;
mod worker;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;
use nudj_benches::count::Server;

use self::{
    statistics::Interval,
    worker::{Round, Who, Worker},
};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Args {
    /// Rounds.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// How often the contenders are started anew: how a process happens to lie in memory makes up to 2 % of difference.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// Calls per contender and round.
    #[arg(long, default_value_t = 1600)]
    calls: usize,
    /// Write the figures to this file too.
    #[arg(long)]
    csv: Option<String>,
    /// Be this contender, against the server at `--address`.
    #[arg(long, hide = true, requires = "address")]
    be: Option<Who>,
    #[arg(long, hide = true)]
    address: Option<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode, BoxError> {
    let args = Args::parse();
    if let (Some(who), Some(address)) = (args.be, &args.address) {
        worker::serve(who, address)?;
        return Ok(ExitCode::SUCCESS);
    }
    // The collector is not the server: what it takes in must not slow the answers down more than by its share of the machine.
    let (server, collector) = (Server::start()?, Server::start()?);
    let addresses = format!("{},{}", server.address(), collector.address());
    let mut rounds: Vec<Vec<Round>> = vec![Vec::with_capacity(args.rounds); Who::ALL.len()];
    for _ in 0..args.starts {
        let mut workers =
            Who::ALL.into_iter().map(|who| Worker::start(who, &addresses)).collect::<Result<Vec<_>, _>>()?;
        for worker in &mut workers {
            worker.round(args.calls)?;
        }
        for number in 0..args.rounds.div_ceil(args.starts) {
            for place in 0..workers.len() {
                let turn = (place + number) % workers.len();
                rounds[turn].push(workers[turn].round(args.calls)?);
            }
        }
    }
    let (counts, csv) = show(&rounds);
    if let Some(path) = args.csv {
        fs::write(path, csv)?;
    }
    Ok(ExitCode::from(u8::from(!counts)))
}

/// Prints the table; says whether the figures count, and gives them for a file.
fn show(rounds: &[Vec<Round>]) -> (bool, String) {
    let nobody = &rounds[0];
    let rate = Interval::of(nobody.iter().map(|round| round.rate)).median;
    let cpu = Interval::of(nobody.iter().map(|round| round.cpu)).median;
    println!("HTTP/1.1, 16 in flight: {rate:.0} calls/s with nobody watching, {:.1} µs of processor a call", cpu * 1e6);
    println!("{:36} {:>24} {:>24}", "against nobody", "calls/s", "processor time");
    let (mut counts, mut csv) = (true, String::from("contender,calls,low,high,cpu,cpu_low,cpu_high\n"));
    for (who, rounds) in Who::ALL.iter().zip(rounds).skip(1) {
        let calls = Interval::of(nobody.iter().zip(rounds).map(|(nobody, own)| own.rate / nobody.rate));
        let cpu = Interval::of(nobody.iter().zip(rounds).map(|(nobody, own)| own.cpu / nobody.cpu));
        println!("{:36} {:>24} {:>24}", who.to_string(), calls.to_string(), cpu.to_string());
        csv.push_str(&format!("\"{who}\",{},{}\n", calls.fields(), cpu.fields()));
        if *who == Who::NobodyAgain {
            counts = (0.98..=1.02).contains(&calls.median);
        }
    }
    if !counts {
        println!("does not count: nobody against itself lies outside 0.98 to 1.02; the machine was busy");
    }
    let lost = rounds.iter().flatten().map(|round| round.lost).max().unwrap_or(0);
    if lost > 0 {
        println!("does not count: {lost} spans were lost");
        counts = false;
    }
    (counts, csv)
}
