//! `client demo`: the main job, with every layer at work.
//!
//! Without `--endpoint` it starts three endpoints of an in-process API over the same data, breaks them on purpose, and shows
//! what the layers made of it. At another API it makes users alone, and deletes them. All figures are counted by an observer of the stack.

mod bulk;
mod cache;
mod keep;
mod load;
mod scenario;
mod summary;
mod tally;

use std::{sync::Arc, time::Duration};

use nudj::{
    client::{Config, Error},
    mock::{Fault, MockNudj},
    observe::Fanout,
    sync::batch::Stop,
    tower::{observe::Observer, round_robin::Origin},
};

use self::{scenario::Scenario, tally::Tally};
use crate::{
    args::{Demo, Global},
    connect,
    dashboard::{Board, Served},
    interrupts::interrupts,
};

/// Users imported, and how many at once.
const IMPORT: usize = 400;
/// Users that register, and come to Nudj by an event bus.
const REGISTRATIONS: usize = 40;
/// Requests per second while the demo runs on its own API: low enough that the import has to wait.
const QUOTA: u32 = 250;

pub(crate) async fn run(global: &Global, args: &Demo) -> Result<bool, Error> {
    let mut config = connect::config(global)?;
    let tally = Arc::new(Tally::default());
    let board = match &args.dashboard {
        Some(address) => Some(Board::at(address).await?),
        None => None,
    };
    let mut observers = vec![Arc::clone(&tally) as Arc<dyn Observer>];
    observers.extend(board.iter().flat_map(Board::observers));
    let observer: Arc<dyn Observer> = Arc::new(Fanout::new(observers));
    let cache = cache::in_memory()?;
    let (client, mock) = if config.endpoints.is_empty() {
        let mock = embedded().await?;
        config = small_numbers(config);
        config.endpoints = mock.urls();
        let token = Some(mock.token().to_owned().into());
        (connect::builder(config, token, Some(observer)).cache(cache::layer(&cache)?).build()?, Some(mock))
    } else {
        agreed(&config, args)?;
        (connect::remote(config, Some(observer))?.cache(cache::layer(&cache)?).build()?, None)
    };
    let served = board.map(|board| board.serve(&client, &cache)).transpose()?;
    let stop = Stop::new();
    let mut scenario = Scenario::new(&client, stop.clone());
    let play = play(&mut scenario, mock.as_ref(), &tally, served.as_ref());
    if mock.is_some() {
        play.await;
    } else {
        // What is created at a real API is deleted again; the embedded one ends with this process.
        tokio::select! {
            () = play => {}
            () = interrupts(stop.clone())? => {
                tell!("interrupted twice: users that this demo created may be left there");
                return Ok(false);
            }
        }
    }
    let (failed, interrupted) = (scenario.failed(), stop.is_now());
    if let Some(served) = served.filter(|_| args.keep && !interrupted) {
        keep::until_interrupted(&client, mock.as_ref(), &served.dashboard).await;
    }
    summary::print(&client, &tally, &cache.stats(), failed, args.json);
    Ok(failed == 0 && !interrupted)
}

/// Three endpoints over the same data.
async fn embedded() -> Result<MockNudj, Error> {
    let mock = MockNudj::start_many(3).await;
    mock.map_err(|error| Error::usage("demo", format!("the embedded API could not be started: {error}")))
}

/// The defaults wait for seconds where a demonstration has moments.
fn small_numbers(mut config: Config) -> Config {
    config.retry.base_delay = Duration::from_millis(50);
    config.retry.max_delay = Duration::from_secs(1);
    config.circuit_breaker.open_for = Duration::from_millis(1500);
    config.rate_limit.max_requests = QUOTA;
    config.timeout.attempt = Duration::from_secs(2);
    config.timeout.total = Duration::from_secs(15);
    config
}

/// A real organisation gets users created and deleted only when its operator says so.
fn agreed(config: &Config, args: &Demo) -> Result<(), Error> {
    let local = config.origins()?.iter().all(Origin::is_loopback);
    if local || args.yes {
        return Ok(());
    }
    Err(Error::usage("--yes", "the demo creates and deletes users there; add --yes if that is what you want"))
}

/// Plays all scenes, or those that are begun before the stop, and cleans up.
async fn play(scenario: &mut Scenario<'_>, mock: Option<&MockNudj>, tally: &Tally, served: Option<&Served>) {
    if let Some(mock) = mock {
        // The next reads meet a sick server twice, the next write a busy one once.
        mock.inject(Fault::statuses([503, 500]).on(http::Method::GET, "/api/v2/admin/users/{id}"));
        mock.inject(
            Fault::statuses([429]).retry_after(Duration::from_secs(1)).on(http::Method::POST, "/api/v2/admin/users"),
        );
    }
    scenario.users().await;
    if mock.is_some() {
        // No documented call takes a challenge away, and whoever agreed did so to users.
        scenario.challenge().await;
    }
    scenario.rewards().await;
    scenario.import(if mock.is_some() { IMPORT } else { 20 }, served).await;
    scenario.registrations(if mock.is_some() { REGISTRATIONS } else { 5 }, served).await;
    if let Some(mock) = mock {
        load::kill_and_revive(scenario, mock, tally).await;
    }
    scenario.clean_up().await;
}
