//! A client's handles, read at each refresh.

use metrics::{Gauge, Label};
use nudj_client::stack::{Handles, WeakHandles};

use super::{
    catalogue::{BUDGET_LEFT, CREDENTIAL_EXPIRES, LIMITER_AVAILABLE, LIMITER_PAUSE_LEFT, LIMITER_QUEUE},
    endpoints::Seen,
    meter::Meter,
    observer::Inner,
    sources::float,
};

/// Not strongly: the client's layers hold the observer that this is part of.
pub(super) struct Watched {
    handles: WeakHandles,
    seen: Seen,
    /// Made at the first reading: there may be no recorder yet.
    plain: Option<Plain>,
    /// Made for the first credential that expires.
    expires: Option<Gauge>,
}

/// What has no names of its own.
struct Plain {
    queue: Gauge,
    available: Gauge,
    pause: Gauge,
    budget: Option<Gauge>,
}

impl Watched {
    pub(super) fn new(handles: &Handles) -> Self {
        Self { handles: handles.downgrade(), seen: Seen::default(), plain: None, expires: None }
    }

    /// Whether there is still a client to read.
    pub(super) fn read(&mut self, inner: &Inner) -> bool {
        let Inner { meter, endpoints, breakers, .. } = inner;
        let Some(handles) = self.handles.upgrade() else {
            self.end(inner);
            return false;
        };
        endpoints.read(meter, &mut self.seen, &handles.endpoints().endpoints());
        breakers.read(meter, &handles.breakers(), |name| endpoints.knows(name));
        self.plain.get_or_insert_with(|| Plain::new(meter, &handles)).read(&handles);
        let credentials = handles.credentials().snapshot();
        match credentials.expires_in {
            Some(left) => {
                let expires = self.expires.get_or_insert_with(|| {
                    let provider = inner.sources.provider(&credentials.provider);
                    meter.gauge(&CREDENTIAL_EXPIRES, vec![Label::new("provider", provider)])
                });
                expires.set(left.as_secs_f64());
            }
            None => self.expires_never(),
        }
        true
    }

    /// A gauge cannot be taken back: what it said of a credential that expired must not stand for ever.
    fn expires_never(&self) {
        if let Some(expires) = &self.expires {
            expires.set(f64::INFINITY);
        }
    }

    /// There is nothing left to read, nor anything to be alarmed by.
    fn end(&self, Inner { meter, endpoints, breakers, .. }: &Inner) {
        endpoints.end();
        breakers.read(meter, &[], |name| endpoints.knows(name));
        if let Some(Plain { queue, available, pause, .. }) = &self.plain {
            [queue, available, pause].iter().for_each(|gauge| gauge.set(0.0));
        }
        self.expires_never();
    }
}

impl Plain {
    fn new(meter: &Meter, handles: &Handles) -> Self {
        let gauge = |metric| meter.gauge(metric, Vec::new());
        Self {
            queue: gauge(&LIMITER_QUEUE),
            available: gauge(&LIMITER_AVAILABLE),
            pause: gauge(&LIMITER_PAUSE_LEFT),
            budget: handles.retry_budget().map(|_| gauge(&BUDGET_LEFT)),
        }
    }

    fn read(&self, handles: &Handles) {
        let limiter = handles.rate_limit();
        self.queue.set(float(u64::try_from(limiter.queue_depth()).unwrap_or(u64::MAX)));
        self.available.set(f64::from(limiter.available()));
        let left = limiter.paused_until().map(|end| end.saturating_duration_since(tokio::time::Instant::now()));
        self.pause.set(left.unwrap_or_default().as_secs_f64());
        if let (Some(gauge), Some(budget)) = (&self.budget, handles.retry_budget()) {
            gauge.set(float(budget.left()));
        }
    }
}
