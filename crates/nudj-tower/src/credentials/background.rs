//! The task that renews ahead of expiry.

use std::{
    future::Future,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    keeper::{Credentials, Shared},
    renewal,
    rest::LONGEST,
};

/// How often a credential that does not expire is looked at, to end when nobody needs it any more.
const LOOK: Duration = Duration::from_secs(60);

/// Says that the task runs. However that ends, also with its runtime or by a panic of the provider's, the next call starts another.
struct Renewing(Weak<Shared>);

impl Drop for Renewing {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.renewing.store(false, Ordering::Relaxed);
        }
    }
}

/// Renews ahead of expiry, planning anew for each credential that comes, and whenever the source says that it changed, as long as anybody
/// holds the credentials.
pub(super) fn renew(shared: &Arc<Shared>) -> impl Future<Output = ()> + Send + use<> {
    let (renewing, provider) = (Renewing(Arc::downgrade(shared)), Arc::clone(&shared.provider));
    let installed = Arc::clone(&shared.installed);
    async move {
        let Renewing(shared) = &renewing;
        let mut rng = fastrand::Rng::new();
        let mut failures = 0u32;
        let mut planned = None;
        loop {
            let Some(alive) = shared.upgrade() else { return };
            let current = alive.current.load_full();
            let now = Instant::now();
            let number = current.as_ref().map(|current| current.number);
            let due = match (planned, &current) {
                // A plan is for one credential; another one has another life.
                (Some((for_number, at)), _) if for_number == number => Some(at),
                (_, Some(current)) => current.expires.map(|expires| {
                    now + renewal::renew_after(expires.saturating_duration_since(now), &alive.config, rng.f64())
                }),
                (_, None) => None,
            };
            planned = due.map(|at| (number, at));
            let wait = due.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
            drop(alive);
            let changed = tokio::select! {
                () = sleep(wait) => false,
                // The one that was looked at is no longer the one there is, and may live much shorter.
                () = installed.notified() => continue,
                () = provider.changed() => true,
            };
            if !changed && due.is_none_or(|at| Instant::now() < at) {
                continue;
            }
            let Some(alive) = shared.upgrade() else { return };
            let credentials = Credentials(alive);
            let renewed =
                if changed { credentials.renew_anew().await } else { credentials.renewed(number).await.map(drop) };
            match renewed {
                Ok(()) => failures = 0,
                Err(_) => {
                    failures = failures.saturating_add(1);
                    drop(credentials);
                    let Some(alive) = shared.upgrade() else { return };
                    // A fetch that was under way may have brought another one since.
                    let number = alive.current.load().as_ref().map(|current| current.number);
                    let wait = renewal::back_off(failures, &alive.config, &mut rng);
                    planned = Some((number, Instant::now() + wait.min(LONGEST)));
                }
            }
        }
    }
}
