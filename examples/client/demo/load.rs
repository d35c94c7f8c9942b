//! Load from many callers while one endpoint is killed and revived.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use nudj::mock::MockNudj;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    scenario::Scenario,
    tally::{Tally, read},
};

const CALLERS: usize = 16;
/// Between two calls of one caller.
const PACE: Duration = Duration::from_millis(90);
/// From the start to the kill.
const WELL: Duration = Duration::from_millis(1000);
/// From the kill to the revival.
const DEAD: Duration = Duration::from_millis(2500);
/// From the revival until the circuit has closed again, at the most.
const RECOVERY: Duration = Duration::from_secs(6);

pub(crate) async fn kill_and_revive(scenario: &mut Scenario<'_>, mock: &MockNudj, tally: &Tally) {
    let victim = 1;
    if !scenario.begins(&format!("{CALLERS} callers while {} is killed and revived", mock.urls()[victim])) {
        return;
    }
    let (stop, done, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, stop, done, failed) =
            (scenario.client().clone(), Arc::clone(&stop), Arc::clone(&done), Arc::clone(&failed));
        callers.spawn(async move {
            while !stop.load(Relaxed) {
                match client.integration().me().get().await {
                    Ok(_) => done.fetch_add(1, Relaxed),
                    Err(error) => {
                        tell!("  failed: {error}");
                        failed.fetch_add(1, Relaxed)
                    }
                };
                sleep(PACE).await;
            }
        });
    }
    sleep(WELL).await;
    let before = (read(&tally.breaker_opened), read(&tally.breaker_closed));
    if let Err(error) = mock.kill(victim).await {
        say!("  not killed: {error}");
    }
    say!("  killed after {} calls", done.load(Relaxed));
    sleep(DEAD).await;
    say!("  dead for {DEAD:?}: circuit opened {} time(s)", read(&tally.breaker_opened) - before.0);
    if let Err(error) = mock.revive(victim).await {
        say!("  not revived: {error}");
    }
    let revived = Instant::now();
    while read(&tally.breaker_closed) == before.1 && revived.elapsed() < RECOVERY {
        sleep(Duration::from_millis(20)).await;
    }
    match read(&tally.breaker_closed) - before.1 {
        0 => say!("  the circuit has not closed again within {RECOVERY:?}"),
        _ => say!("  revived: circuit closed again after {:.1} s", revived.elapsed().as_secs_f64()),
    }
    stop.store(true, Relaxed);
    while callers.join_next().await.is_some() {}
    say!("  {} calls succeeded, {} failed", done.load(Relaxed), failed.load(Relaxed));
    scenario.count_failures(failed.load(Relaxed));
}
