//! Counts what does not depend on how fast a machine is: allocations and user instructions per call.
//!
//! `count show` prints the figures, `count check` compares them with those in `recorded.toml` and ends with 1 when a case allocates once more
//! or takes 5 % more instructions, `count record` writes the file anew. Instructions need valgrind.

mod allocations;
mod instructions;

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};
use nudj_benches::count::Recorded;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every figure.
    Show,
    /// Compare with what is recorded.
    Check,
    /// Write the figures to `recorded.toml`.
    Record,
}

fn main() -> ExitCode {
    match run(&Args::parse().command) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    match command {
        Command::Show => print!("{}", measure()?),
        Command::Record => measure()?.save()?,
        Command::Check => {
            let (recorded, now) = (Recorded::load()?, measure()?);
            print!("{now}");
            let worse = recorded.worse(&now);
            for line in &worse {
                eprintln!("worse: {line}");
            }
            return Ok(ExitCode::from(u8::from(!worse.is_empty())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts every case.
fn measure() -> Result<Recorded, Box<dyn Error + Send + Sync>> {
    let mut figures = allocations::each()?;
    instructions::add(&mut figures)?;
    Ok(Recorded(figures))
}
