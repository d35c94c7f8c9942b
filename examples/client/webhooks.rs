//! `client webhooks listen`: receives deliveries and prints one line per verified event.

use std::{io::Write, sync::Arc, time::Duration};

use nudj::{
    client::Error,
    webhook::{Delivery, Receiver, Scheme, WebhookConfig},
};
use serde::Serialize;
use tokio::{net::TcpListener, signal::unix, sync::Notify};

use crate::args::{Listen, SchemeName};

/// Between a signal and the end: requests under way are answered, what is accepted is printed.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct EventLine<'d> {
    event: &'d str,
    delivery_id: &'d str,
    data: &'d serde_json::Value,
}

pub(crate) async fn listen(args: &Listen) -> Result<bool, Error> {
    let secret = std::env::var(&args.secret_env)
        .map_err(|_| Error::usage("--secret-env", format!("the environment has no readable {}", args.secret_env)))?;
    let scheme = match args.scheme {
        SchemeName::Nudj => Scheme::Nudj,
        SchemeName::Standard => Scheme::Standard,
    };
    let config = WebhookConfig { path: args.path.clone(), scheme, ..WebhookConfig::default() };
    let json = args.json;
    let unheard = Arc::new(Notify::new());
    let tells = Arc::clone(&unheard);
    let receiver = Receiver::builder()
        .config(config)
        .secret(secret)
        .on_any(move |delivery: Delivery| {
            // What is accepted from here on would be seen by nobody, and the sender would not send it again.
            let printed = print(&delivery, json).inspect_err(|_| tells.notify_one());
            async move { printed }
        })
        .build()
        .map_err(|error| Error::usage("webhooks listen", error.to_string()))?;
    let listener = TcpListener::bind(&args.bind)
        .await
        .map_err(|error| Error::usage("--bind", format!("{} cannot be listened on: {error}", args.bind)))?;
    let address = listener.local_addr().map_err(|error| Error::usage("--bind", error.to_string()))?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())
        .map_err(|error| Error::usage("SIGTERM", format!("cannot be waited for: {error}")))?;
    tell!("listening on http://{address}{}", args.path);
    let stop = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            () = unheard.notified() => tell!("the output was closed; no more is accepted"),
        }
    };
    let report = receiver.serve(listener, stop, DRAIN).await;
    let counts = receiver.snapshot();
    tell!("stopped: {report:?}");
    tracing::info!(?counts, "webhooks received");
    let none_is_dead = receiver.dead_letters(1).await.is_ok_and(|letters| letters.is_empty());
    Ok(none_is_dead && report.cut_off == 0 && (report.kept || report.left == 0))
}

fn print(delivery: &Delivery, json: bool) -> std::io::Result<()> {
    let line = EventLine { event: delivery.event.name(), delivery_id: &delivery.id, data: delivery.event.data() };
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(out, "{}  {}  {}", line.event, line.delivery_id, line.data)?;
    }
    out.flush()
}
