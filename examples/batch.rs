//! A thousand users over an API that fails a tenth of the time; stopped half way, and finished by a second run.
//!
//! `cargo run --example batch`

use std::time::Duration;

use futures_util::stream;
use nudj::{
    client::{Client, Config, model::NewUser},
    mock::{Fault, MockNudj},
    sync::{
        BoxError,
        batch::{Batch, BatchConfig, CheckpointFile, Row, Stop, Summary, Users},
    },
};

const USERS: u64 = 1000;

async fn import(client: &Client, checkpoint: CheckpointFile, stop_at: u64) -> Result<Summary, BoxError> {
    let rows = stream::iter((1..=USERS).map(|number| {
        let (email, id) = (format!("user{number}@example.com"), number.to_string());
        Ok(Row::new(number, NewUser { email: Some(email), external_user_id: Some(id), ..NewUser::default() }))
    }));
    let stop = Stop::new();
    let config = BatchConfig { base_delay: Duration::from_millis(10), ..BatchConfig::default() };
    let batch = Batch::new(Users::new(client.clone()), config)?.checkpoint(checkpoint).stop(stop.clone());
    let summary = batch.run(rows, |report| {
        if !report.outcome.is_success() {
            println!("  line {}: {}", report.line, report.outcome);
        }
        if report.totals.records() == stop_at {
            stop.now(); // As Ctrl-C would; after a kill -9 it is the same.
        }
        Ok(())
    });
    Ok(summary.await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let nudj = MockNudj::start().await?;
    nudj.inject(Fault::lost_answer().probability(0.05, 1));
    nudj.inject(Fault::status(500).probability(0.05, 2));
    let mut config = Config::with_endpoints([nudj.url()]);
    config.rate_limit.max_requests = 500;
    config.circuit_breaker.failure_threshold = 0;
    let client = Client::builder().config(config).token(nudj.token()).build()?;

    let file = std::env::temp_dir().join(format!("nudj-batch-{}.checkpoint", std::process::id()));
    for (run, stop_at) in [("first run, stopped", USERS / 2), ("second run", 0)] {
        println!("{run}");
        let summary = import(&client, CheckpointFile::open(&file, "the example's users")?, stop_at).await?;
        println!("  {:?}; {} users at Nudj", summary.totals, nudj.users_count());
    }
    std::fs::remove_file(&file)?;
    std::fs::remove_file(file.with_extension("checkpoint.lock"))?;
    Ok(())
}
