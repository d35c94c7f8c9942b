//! `client call`: one request through the whole stack, or many.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nudj::{
    client::{Client, Error},
    tower::CallContext,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    args::{Call, Global, Header},
    connect,
    report::CallLine,
};

pub(crate) async fn run(global: &Global, args: &Call) -> Result<bool, Error> {
    once_each(&args.headers)?;
    let client = connect::remote(connect::config(global)?, None)?.build()?;
    let args = Arc::new(args.clone());
    let failed = Arc::new(AtomicU64::new(0));
    let places = Arc::new(Semaphore::new(args.concurrency as usize));
    let mut starts = (!args.interval.is_zero()).then(|| {
        let mut starts = interval(args.interval);
        starts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        starts
    });
    let mut running = JoinSet::new();
    let mut started = 0;
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    let interrupted = loop {
        if started == args.repeat {
            break false;
        }
        let place = async {
            let place = Arc::clone(&places).acquire_owned().await;
            if let Some(starts) = &mut starts {
                starts.tick().await;
            }
            place
        };
        tokio::select! {
            place = place => {
                let (client, args, failed) = (client.clone(), Arc::clone(&args), Arc::clone(&failed));
                running.spawn(async move {
                    if !one(&client, &args, started).await {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    drop(place);
                });
                started += 1;
            }
            _ = &mut stop => break true,
        }
        // Calls that ended need not be kept: with a million of them that would be all the memory there is.
        while running.try_join_next().is_some() {}
    };
    let drained = async { while running.join_next().await.is_some() {} };
    if interrupted {
        tell!("interrupted: {started} of {} calls begun; waiting for those under way", args.repeat);
        let _ = tokio::time::timeout(Duration::from_secs(10), drained).await;
    } else {
        tokio::select! {
            () = drained => {}
            _ = &mut stop => tell!("interrupted: dropping the calls under way"),
        }
    }
    Ok(!interrupted && failed.load(Ordering::Relaxed) == 0)
}

/// Of two of one name, only the last would be sent.
fn once_each(headers: &[Header]) -> Result<(), Error> {
    let mut later = headers.iter();
    while let Some(header) = later.next() {
        if later.as_slice().iter().any(|other| other.name == header.name) {
            let problem = format!("`{}` is given twice; give its values in one, with commas between them", header.name);
            return Err(Error::usage("--header", problem));
        }
    }
    Ok(())
}

/// Makes one call and prints its line; whether it succeeded.
async fn one(client: &Client, args: &Call, number: u64) -> bool {
    let mut request = client.request(args.method.clone(), args.path.clone());
    if let Some(body) = &args.body {
        request = request.body_json(body);
    }
    for header in &args.headers {
        request = request.header(header.name.clone(), header.value.clone());
    }
    let context = CallContext::new();
    let start = Instant::now();
    let result = request.send_in(context.clone()).await;
    let elapsed = start.elapsed();
    let ok = result.is_ok();
    if args.json {
        let line = CallLine::new(number, &result, &context, elapsed);
        say!("{}", serde_json::to_string(&line).unwrap_or_default());
    } else {
        match result {
            Ok(answer) => {
                // As it came, which need not be text. A closed pipe is the reader's decision, not a failure of the call.
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(answer.body()).and_then(|()| out.write_all(b"\n"));
            }
            Err(error) => tell!(
                "call {number} failed ({}): {error} [correlation id {}]",
                error.kind().name(),
                error.correlation_id().unwrap_or("none"),
            ),
        }
    }
    ok
}
