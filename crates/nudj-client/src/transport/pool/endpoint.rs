//! The connections of one endpoint, shared by those who call it and those who keep the connections.

mod ticket;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use nudj_tower::{BoxError, clock};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use self::ticket::Ticket;
use super::{
    connection::{Exclusive, Lease},
    error::PoolError,
    make::{self, Maker},
    shared::{Multiplexed, Shared},
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
    /// Whether somebody may wait for a stream. Written under the lock.
    awaited: AtomicBool,
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
            awaited: AtomicBool::new(false),
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
        // Its own statement, so that no lease is made under the lock.
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
        let (ticket, make, for_stream) = {
            let mut slots = self.slots.lock();
            match slots.take(now, |one| one.alive(), Shared::takes_more) {
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
                    let for_stream = slots.waits_for_stream();
                    self.awaited.store(for_stream, Relaxed);
                    (Ticket { endpoint: self, receiver, id }, slots.reserve(now, Shared::is_unheard), for_stream)
                }
            }
        };
        make::start(self, make);
        if for_stream {
            // What the peer said since the look above its connection's task told nobody: who waits only now it did not see.
            self.serve();
        }
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
        self.slots.lock().reserve(Instant::now(), Shared::is_unheard)
    }

    /// A connection was made that all share. Its id. Whether it is enough is asked when it is polled.
    pub(super) fn made_shared(self: &Arc<Self>, connection: &Multiplexed) -> u64 {
        let (id, waiters) = {
            let mut slots = self.slots.lock();
            if slots.shares() {
                connection.set_further();
            }
            let takes = Shared::takes(connection).unwrap_or_default();
            let made = slots.made_shared(connection.clone(), takes, Instant::now());
            self.awaited.store(slots.waits_for_stream(), Relaxed);
            made
        };
        for waiter in waiters {
            // The lease of a waiter who is gone comes back and counts itself out.
            drop(waiter.send(Ok(Lease::shared(Arc::clone(self), connection.clone(), id, None))));
        }
        sweep::start(self);
        id
    }

    pub(super) fn failed(&self, error: &PoolError) {
        let waiters = self.slots.lock().failed(Instant::now());
        tell(waiters, error);
    }

    /// A connection is gone. How many to make now.
    pub(super) fn ended(&self) -> usize {
        let (make, open) = {
            let mut slots = self.slots.lock();
            (slots.ended(Instant::now(), |one| one.alive(), Shared::is_unheard), slots.open())
        };
        if open == 0 {
            self.empty.notify_waiters();
        }
        make
    }

    pub(super) fn lost(&self, making: bool) {
        let (waiters, open) = {
            let mut slots = self.slots.lock();
            (slots.lost(making, Shared::takes), slots.open())
        };
        tell(waiters, &PoolError::RuntimeGone);
        if open == 0 {
            self.empty.notify_waiters();
        }
    }

    pub(super) fn release(self: &Arc<Self>, id: u64, was_answered: bool) {
        let is_awaited = {
            let mut slots = self.slots.lock();
            slots.release(id, was_answered, Instant::now);
            slots.waits_for_stream()
        };
        if is_awaited {
            self.serve();
        }
    }

    /// A shared connection was polled: its peer may take more calls at once than before, or none any more.
    #[inline]
    pub(super) fn polled(self: &Arc<Self>) {
        if self.awaited.load(Relaxed) {
            self.serve();
        }
    }

    /// Lets those in who wait for a stream, as many as there is room for.
    #[cold]
    fn serve(self: &Arc<Self>) {
        loop {
            // Its own statement, so that nothing is handed over under the lock.
            let granted = {
                let mut slots = self.slots.lock();
                let granted = slots.grant(Instant::now(), Shared::takes_more);
                self.awaited.store(slots.waits_for_stream(), Relaxed);
                granted
            };
            let Some((waiter, connection, id)) = granted else { break };
            drop(waiter.send(Ok(Lease::shared(Arc::clone(self), connection, id, None))));
        }
        self.make_another();
    }

    /// Whether a call is on the shared connection `id`.
    pub(super) fn is_in_use(&self, id: u64) -> bool {
        self.slots.lock().is_in_use(id)
    }

    /// The shared connection `id` takes no more calls. Those who wait for it get another.
    pub(super) fn retire(self: &Arc<Self>, id: u64) {
        self.slots.lock().retire(id, Instant::now());
        self.make_another();
    }

    /// For those who wait for a connection that is no longer kept. Without a runtime it is left to that connection's end.
    fn make_another(self: &Arc<Self>) {
        if Handle::try_current().is_ok() {
            let make = self.slots.lock().reserve(Instant::now(), Shared::is_unheard);
            make::start(self, make);
        }
    }

    /// Makes a further connection, if somebody wants one, when it may be tried again.
    pub(super) async fn try_again(self: &Arc<Self>) {
        let until = self.slots.lock().rests_until(Instant::now());
        if let Some(until) = until {
            sleep_until(until).await;
            self.make_another();
        }
    }

    /// How many connections calls may share.
    pub(super) fn max_shared(&self) -> usize {
        self.maker.limits().max_shared
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
