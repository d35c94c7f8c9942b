//! Ctrl-C and SIGTERM, for what ends cleanly.

use nudj::{client::Error, sync::batch::Stop};
use tokio::signal::unix;

/// The first signal stops; the future ends at the second.
pub(crate) fn interrupts(stop: Stop) -> Result<impl Future<Output = ()>, Error> {
    let listen = |kind| unix::signal(kind).map_err(|error| Error::usage("signals", format!("no handler: {error}")));
    let (mut interrupt, mut terminate) =
        (listen(unix::SignalKind::interrupt())?, listen(unix::SignalKind::terminate())?);
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.now();
        }
    })
}
