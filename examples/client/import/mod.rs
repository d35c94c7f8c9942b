//! `client users import`: a file of users, created at Nudj as fast as the rate limit allows.

mod records;
mod rows;
mod show;

use futures_util::stream;
use nudj::{
    client::{Config, Error},
    sync::batch::{Batch, BatchConfig, CheckpointFile, Stop, Summary, Target, Users},
};

use self::{rows::Input, show::Show};
use crate::{
    args::{Global, Import},
    connect,
    interrupts::interrupts,
};

pub(crate) async fn run(global: &Global, args: &Import) -> Result<bool, Error> {
    let config = connect::config(global)?;
    let (batch, destination) = (batch_config(&config), destination(&config)?);
    let client = connect::remote(config, None)?.build()?;
    let input = Input::open(&args.file)?;
    let source = format!("{} to {destination}", input.fingerprint);
    let is_resumed = args.checkpoint.as_ref().is_some_and(|path| path.exists());
    let checkpoint = args.checkpoint.as_ref().map(|path| CheckpointFile::open(path, source));
    let checkpoint = checkpoint.transpose().map_err(|error| Error::usage("--checkpoint", describe(&error)))?;
    let users = if args.bulk { Users::bulk(client) } else { Users::new(client) };
    let mut batch = Batch::new(users, batch).map_err(|error| Error::usage("batch", error.to_string()))?;
    if let Some(checkpoint) = checkpoint {
        batch = batch.checkpoint(checkpoint);
    }
    let stop = Stop::new();
    let show = Show::new(args.json, input.about);
    let interrupted = interrupts(stop.clone())?;
    let ended = tokio::select! {
        ended = import(batch.stop(stop), input, &show) => ended,
        () = interrupted => {
            show.note("interrupted twice: the calls under way are dropped");
            show.ended_early(is_resumed);
            tell!("{}", how_to_resume(args));
            return Ok(false);
        }
    }?;
    match ended {
        Ok(summary) => {
            show.totals(&summary);
            if !summary.finished {
                tell!("interrupted after {} rows; {}", summary.totals.records(), how_to_resume(args));
            }
            Ok(summary.finished && summary.totals.failed == 0 && summary.totals.invalid == 0)
        }
        // Before the first call: the checkpoint is another input's.
        Err(error @ nudj::sync::Error::Corrupt { .. }) => {
            let problem = format!(
                "{}; it goes with one file and the endpoints that its users were sent to, and one of an earlier version names none",
                describe(&error)
            );
            Err(Error::usage("--checkpoint", problem))
        }
        Err(error) => {
            show.note(&format!("error: {}", describe(&error)));
            show.ended_early(is_resumed);
            tell!("the import ended early; {}", how_to_resume(args));
            Ok(false)
        }
    }
}

/// Where the users go, whatever the order: what is done there is not done anywhere else.
fn destination(config: &Config) -> Result<String, Error> {
    let mut names: Vec<_> = config.origins()?.iter().map(|origin| origin.name().to_string()).collect();
    names.sort();
    Ok(names.join(" "))
}

/// The outer error is about arguments, the inner one about the run.
async fn import<T>(batch: Batch<T>, input: Input, show: &Show) -> Result<Result<Summary, nudj::sync::Error>, Error>
where
    T: Target<Record = nudj::client::model::NewUser>,
{
    let rows = stream::iter(input.rows()?);
    let ended = batch.run(rows, |report| {
        show.record(&report);
        Ok(())
    });
    Ok(ended.await)
}

/// Repeats as the client's calls are; as many calls at once as a second's quota, since an answer seldom takes longer.
fn batch_config(config: &Config) -> BatchConfig {
    let quota = f64::from(config.rate_limit.max_requests) / config.rate_limit.window.as_secs_f64().max(1e-3);
    BatchConfig {
        max_retries: config.retry.max_retries,
        base_delay: config.retry.base_delay.min(config.retry.max_delay),
        max_delay: config.retry.max_delay,
        calls_in_flight: (quota as usize).clamp(32, 512),
        ..BatchConfig::default()
    }
}

fn how_to_resume(args: &Import) -> String {
    match &args.checkpoint {
        Some(path) => format!("run the same command again to go on from {}", path.display()),
        None => {
            "to go on from where it ended, give --checkpoint FILE; without one, rows that are there are found by the \
                 conflict that the API answers"
                .to_owned()
        }
    }
}

/// With its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
