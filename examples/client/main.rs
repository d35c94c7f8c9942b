//! The standalone client: curl with resilience, a demonstration on an embedded API, and what operators need.
//!
//! `cargo run --release --example client -- --help`
//!
//! Exit code: 0 all calls succeeded, 1 some failed, 2 bad arguments or configuration, before the first call.

#[macro_use]
mod say;

mod args;
mod call;
mod connect;
mod dashboard;
mod demo;
mod doctor;
mod import;
mod interrupts;
mod report;
mod vaults;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;
use nudj::client::Error;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, Users, Webhooks};

/// Whether all calls succeeded.
async fn run(cli: &Cli) -> Result<bool, Error> {
    tracing_subscriber::fmt().with_env_filter(logged()?).with_writer(std::io::stderr).init();
    match &cli.command {
        Command::Demo(args) => demo::run(&cli.global, args).await,
        Command::Call(args) => call::run(&cli.global, args).await,
        Command::Doctor(args) => doctor::run(&cli.global, args).await,
        Command::Webhooks(Webhooks::Listen(args)) => webhooks::listen(args).await,
        Command::Users(Users::Import(args)) => import::run(&cli.global, args).await,
    }
}

/// What `RUST_LOG` asks for, warnings where it is not set.
fn logged() -> Result<EnvFilter, Error> {
    const NAME: &str = "RUST_LOG";
    match connect::variable(NAME)? {
        Some(filter) => filter.parse().map_err(|error| Error::usage(NAME, format!("is no filter of logs: {error}"))),
        None => Ok(EnvFilter::new("warn")),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(refusal) => {
            tell!("error: {refusal}");
            ExitCode::from(2)
        }
    }
}
