//! The connections of one endpoint, shared by those who call it and those who keep the connections.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use nudj_tower::{BoxError, clock};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    connection::{Exclusive, Lease, Multiplexed, Shared},
    error::PoolError,
    make::{self, Maker},
    slots::{Kept, Put, Refused, Slots, Taken},
    sweep,
};

/// What a waiting call is told.
pub(super) type Grant = Result<Lease, PoolError>;
type State = Slots<Box<Exclusive>, Multiplexed, oneshot::Sender<Grant>>;

/// One origin: scheme and authority.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) host: HeaderValue,
    pub(super) maker: Maker,
    max_wait: Duration,
    max_waiting: usize,
    slots: Mutex<State>,
    /// Told when the last connection is gone.
    empty: Notify,
    sweeping: sweep::Running,
}

impl Endpoint {
    pub(super) fn new(scheme: Scheme, authority: Authority, maker: Maker) -> Result<Arc<Self>, BoxError> {
        let host = host(&scheme, &authority)?;
        let slots = Slots::new(maker.limits(), maker.protocol(&scheme));
        let max_waiting = maker.limits().max_waiting;
        let max_wait = maker.max_wait();
        Ok(Arc::new(Self {
            scheme,
            authority,
            host,
            maker,
            max_wait,
            max_waiting,
            slots: Mutex::new(slots),
            empty: Notify::new(),
            sweeping: sweep::Running::default(),
        }))
    }

    pub(super) fn serves(&self, scheme: &Scheme, authority: &Authority) -> bool {
        self.authority == *authority && self.scheme == *scheme
    }

    /// Where a new connection goes.
    pub(super) fn origin(&self) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
    }

    /// A connection for one call that is there.
    #[inline]
    pub(super) fn at_hand(self: &Arc<Self>) -> Option<Lease> {
        let now = clock::recent();
        // Its own statement, so that nothing is made or dropped under the lock.
        let taken = self.slots.lock().take(now, |one| one.alive(), Shared::takes);
        taken.map(|taken| self.lease(taken))
    }

    #[inline]
    fn lease(self: &Arc<Self>, taken: Taken<Box<Exclusive>, Multiplexed>) -> Lease {
        match taken {
            Taken::One(kept, unused) => Lease::reused(Arc::clone(self), kept, unused),
            Taken::Shared(connection, id, unused) => Lease::shared(Arc::clone(self), connection, id, unused),
        }
    }

    /// A connection for one call: one that is there, else the next to be made or freed.
    pub(super) async fn checkout(self: &Arc<Self>) -> Grant {
        let now = Instant::now();
        let (ticket, make) = {
            let mut slots = self.slots.lock();
            match slots.take(now, |one| one.alive(), Shared::takes) {
                Some(taken) => {
                    drop(slots);
                    return Ok(self.lease(taken));
                }
                None => {
                    // Without one there is neither a task to connect nor a clock to wait by.
                    Handle::try_current().map_err(|_| PoolError::RuntimeGone)?;
                    let (sender, receiver) = oneshot::channel();
                    let id = slots.enqueue(sender).map_err(|refused| match refused {
                        Refused::Closed => PoolError::Closed,
                        Refused::Full => PoolError::Full { limit: self.max_waiting },
                    })?;
                    (Ticket { endpoint: self, receiver, id }, slots.reserve())
                }
            }
        };
        make::start(self, make);
        ticket.wait(self.max_wait).await
    }

    /// Takes a connection back that has done its exchange and is ready for the next.
    #[inline]
    pub(super) fn put(self: &Arc<Self>, mut kept: Kept<Box<Exclusive>>) {
        let now = Instant::now();
        loop {
            // Its own statement, so that nothing is handed over or dropped under the lock.
            let put = self.slots.lock().put(kept, now);
            match put {
                Put::Kept => return sweep::start(self),
                Put::Surplus(_) => return,
                Put::For(waiter, next) => match self.hand_over(waiter, next) {
                    None => return,
                    Some(back) => kept = back,
                },
            }
        }
    }

    /// A connection was made that takes one call at a time. How many more to make, now that this is known.
    pub(super) fn made_one(self: &Arc<Self>, connection: Box<Exclusive>) -> usize {
        let put = self.slots.lock().made_one(connection, Instant::now());
        match put {
            Put::Kept => sweep::start(self),
            Put::Surplus(_) => {}
            Put::For(waiter, kept) => {
                if let Some(back) = self.hand_over(waiter, kept) {
                    self.put(back);
                }
            }
        }
        self.slots.lock().reserve()
    }

    /// A connection was made that all share. Its id.
    pub(super) fn made_shared(self: &Arc<Self>, connection: &Multiplexed) -> u64 {
        let takes = Shared::takes(connection).unwrap_or_default();
        let (id, waiters) = self.slots.lock().made_shared(connection.clone(), takes, Instant::now());
        for waiter in waiters {
            // The lease of a waiter who is gone comes back and counts itself out.
            drop(waiter.send(Ok(Lease::shared(Arc::clone(self), connection.clone(), id, None))));
        }
        sweep::start(self);
        id
    }

    pub(super) fn failed(&self, error: &PoolError) {
        let waiters = self.slots.lock().failed();
        tell(waiters, error);
    }

    /// A connection is gone. How many to make now.
    pub(super) fn ended(&self) -> usize {
        let (make, open) = {
            let mut slots = self.slots.lock();
            (slots.ended(|one| one.alive()), slots.open())
        };
        if open == 0 {
            self.empty.notify_waiters();
        }
        make
    }

    pub(super) fn lost(&self, making: bool) {
        let (waiters, open) = {
            let mut slots = self.slots.lock();
            (slots.lost(making), slots.open())
        };
        tell(waiters, &PoolError::RuntimeGone);
        if open == 0 {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn release(self: &Arc<Self>, id: u64) {
        let mut next = {
            let mut slots = self.slots.lock();
            slots.release(id, Instant::now);
            if !slots.is_awaited() {
                return;
            }
            slots.grant(Instant::now(), Shared::takes)
        };
        // As many as there is room for: the peer may allow more than it did.
        while let Some((waiter, connection, id)) = next {
            drop(waiter.send(Ok(Lease::shared(Arc::clone(self), connection, id, None))));
            next = self.slots.lock().grant(Instant::now(), Shared::takes);
        }
        self.make_another();
    }

    /// Whether a call is on the shared connection `id`.
    pub(super) fn is_in_use(&self, id: u64) -> bool {
        self.slots.lock().is_in_use(id)
    }

    /// The shared connection `id` takes no more calls. Those who wait for it get another.
    pub(super) fn retire(self: &Arc<Self>, id: u64) {
        self.slots.lock().retire(id);
        self.make_another();
    }

    /// For those who wait for a connection that is no longer kept. Without a runtime it is left to that connection's end.
    fn make_another(self: &Arc<Self>) {
        if Handle::try_current().is_ok() {
            let make = self.slots.lock().reserve();
            make::start(self, make);
        }
    }

    pub(super) fn sweep(&self) -> Option<Instant> {
        self.slots.lock().sweep(Instant::now())
    }

    pub(super) fn sweeping(&self) -> &sweep::Running {
        &self.sweeping
    }

    /// Keeps nothing from here on.
    pub(super) fn drain_off(&self) {
        self.slots.lock().drain_off();
    }

    /// Refuses new calls and those that wait.
    pub(super) fn close(&self) {
        let waiters = self.slots.lock().close();
        tell(waiters, &PoolError::Closed);
    }

    /// Ends when no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.slots.lock().open() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Gives the connection back when the waiter is gone.
    fn hand_over(
        self: &Arc<Self>,
        waiter: oneshot::Sender<Grant>,
        kept: Kept<Box<Exclusive>>,
    ) -> Option<Kept<Box<Exclusive>>> {
        match waiter.send(Ok(Lease::fresh(Arc::clone(self), kept))) {
            Err(Ok(lease)) => lease.into_unused(),
            Ok(()) | Err(Err(_)) => None,
        }
    }
}

fn tell(waiters: Vec<oneshot::Sender<Grant>>, error: &PoolError) {
    for waiter in waiters {
        drop(waiter.send(Err(error.clone())));
    }
}

/// The authority without the scheme's own port and without user and password.
fn host(scheme: &Scheme, authority: &Authority) -> Result<HeaderValue, BoxError> {
    let own_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    Ok(match authority.port_u16() {
        Some(port) if port != own_port => HeaderValue::try_from(format!("{}:{port}", authority.host()))?,
        _ => HeaderValue::from_str(authority.host())?,
    })
}

/// A place in the queue. Dropping it gives the place up; a connection that was granted meanwhile goes back.
struct Ticket<'e> {
    endpoint: &'e Endpoint,
    receiver: oneshot::Receiver<Grant>,
    id: u64,
}

impl Ticket<'_> {
    async fn wait(mut self, limit: Duration) -> Grant {
        match tokio::time::timeout(limit, &mut self.receiver).await {
            Ok(granted) => granted.unwrap_or(Err(PoolError::RuntimeGone)),
            Err(_) if self.endpoint.slots.lock().only_making() => Err(PoolError::Unmade { limit }),
            Err(_) => Err(PoolError::Busy { limit }),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let waiter = self.endpoint.slots.lock().abandon(self.id);
        drop(waiter);
    }
}
