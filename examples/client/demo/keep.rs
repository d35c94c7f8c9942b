//! Traffic that goes on until Ctrl-C, with an endpoint that is sick now and then, so that the dashboard has something to show.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::Method;
use nudj::{
    client::{Client, Error},
    mock::{Fault, MockNudj},
    observe::dashboard::Dashboard,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

const CALLERS: usize = 12;
/// Between two calls of one caller; against a real API slower, since nobody asked for load there.
const PACE: Duration = Duration::from_millis(80);
const REAL_PACE: Duration = Duration::from_secs(3);
/// How long the endpoints are well, and how long one of them is dead.
const WELL: Duration = Duration::from_secs(20);
const DEAD: Duration = Duration::from_secs(8);

/// Only reads. Calls that fail here are something to look at, and no failure of the demo.
pub(super) async fn until_interrupted(client: &Client, mock: Option<&MockNudj>, dashboard: &Dashboard) {
    say!("calling on; Ctrl-C ends it");
    let pace = if mock.is_some() { PACE } else { REAL_PACE };
    let callers = stream::iter(0..CALLERS).for_each_concurrent(None, |caller| call(client, caller, pace));
    tokio::select! {
        () = callers => {}
        () = trouble(mock) => {}
        () = interrupted() => {}
    }
    dashboard.close();
}

async fn call(client: &Client, caller: usize, pace: Duration) {
    loop {
        let result: Result<(), Error> = match caller % 4 {
            0 => client.integration().rewards().list().page().await.map(drop),
            1 => client.admin().users().list().page().await.map(drop),
            _ => client.integration().me().get().await.map(drop),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a call failed");
        }
        sleep(pace.mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// One endpoint after the other dies and comes back; between, the server is busy or slow for some calls.
async fn trouble(mock: Option<&MockNudj>) {
    let Some(mock) = mock else { return std::future::pending().await };
    for victim in (0..mock.urls().len()).cycle() {
        sleep(WELL / 2).await;
        mock.inject(Fault::statuses([503, 500, 503, 502]).on(Method::GET, "/api/v2/admin/users"));
        sleep(WELL / 2).await;
        // Both fail only for an endpoint that is not there, and for a port that another program took meanwhile.
        if mock.kill(victim).await.is_ok() {
            sleep(DEAD).await;
            drop(mock.revive(victim).await);
        }
    }
}

async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
