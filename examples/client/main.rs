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
mod report;
mod vaults;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, Users, Webhooks};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .init();
    let outcome = match &cli.command {
        Command::Demo(args) => demo::run(&cli.global, args).await,
        Command::Call(args) => call::run(&cli.global, args).await,
        Command::Doctor(args) => doctor::run(&cli.global, args).await,
        Command::Webhooks(Webhooks::Listen(args)) => webhooks::listen(args).await,
        Command::Users(Users::Import(args)) => import::run(&cli.global, args).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(refusal) => {
            tell!("error: {refusal}");
            ExitCode::from(2)
        }
    }
}
