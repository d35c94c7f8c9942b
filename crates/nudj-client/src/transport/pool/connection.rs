//! HTTP/1.1 connections, and a call's hold on a connection.

use std::{sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::{
    alarm::Alarm,
    endpoint::Endpoint,
    shared::{Joined, Multiplexed},
    slots::Kept,
};
use crate::transport::watched::{Unread, Watch};

/// How long a connection may take, after its answer's end, to be ready for the next call. An upload that the server answered
/// early and does not read would keep it for good.
const SETTLE: Duration = Duration::from_secs(1);

/// HTTP/1.1: one call at a time.
#[derive(Debug)]
pub(super) struct Exclusive {
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    /// Dropped with the connection, which tells its keeper to end it.
    pub(super) held: oneshot::Sender<()>,
    pub(super) watch: Option<Watch>,
    pub(super) alarm: Option<Alarm>,
}

impl Exclusive {
    /// Whether it may be sent on, as far as the socket itself knows: nothing may come that nobody asked for.
    fn is_quiet(&self) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.look() == Unread::Nothing)
    }

    #[inline]
    pub(super) fn alive(&self) -> bool {
        !self.sender.is_closed() && !self.held.is_closed()
    }
}

/// A call's hold on a connection.
///
/// Dropped before anything was sent, the connection goes back. Dropped later, an HTTP/1.1 connection is closed and an HTTP/2
/// stream reset. Only [`finish`](Self::finish) gives a used HTTP/1.1 connection back.
#[derive(Debug)]
pub(super) struct Lease {
    endpoint: Arc<Endpoint>,
    held: Held,
    /// How long nobody had used the connection; `None` for one that just arrived or is in use.
    pub(super) idle_for: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum Held {
    Unused(Kept<Box<Exclusive>>),
    Used(Kept<Box<Exclusive>>),
    Shared(Joined),
    Gone,
}

impl Lease {
    pub(super) fn fresh(endpoint: Arc<Endpoint>, kept: Kept<Box<Exclusive>>) -> Self {
        Self { endpoint, held: Held::Unused(kept), idle_for: None }
    }

    #[inline]
    pub(super) fn reused(endpoint: Arc<Endpoint>, kept: Kept<Box<Exclusive>>, unused: Duration) -> Self {
        Self { endpoint, held: Held::Unused(kept), idle_for: Some(unused) }
    }

    pub(super) fn shared(
        endpoint: Arc<Endpoint>,
        connection: Multiplexed,
        id: u64,
        idle_for: Option<Duration>,
    ) -> Self {
        Self { endpoint, held: Held::Shared(Joined::new(connection, id)), idle_for }
    }

    /// Where the connection leads.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Has the connection ended, or of one that is shared `task` woken, at `at` if the call has not been finished by then: whether that will
    /// be seen to.
    #[inline]
    pub(super) fn end_by(&mut self, at: Instant, task: &Waker) -> bool {
        let kept = match &mut self.held {
            Held::Used(kept) => kept,
            Held::Shared(joined) => return joined.end_by(at, task),
            Held::Unused(_) | Held::Gone => return false,
        };
        let set = kept.connection.alarm.as_ref().is_some_and(|alarm| alarm.set(at));
        // In this order: a connection that ends in between may have left the request lying where nobody looks any more, and its task cannot
        // keep the time. hyper says that it is closed before it lets go of what was sent to it.
        set && kept.connection.alive()
    }

    /// The call waits in `task` now.
    #[inline]
    pub(super) fn waits_in(&self, task: &Waker) {
        if let Held::Shared(joined) = &self.held {
            joined.waits_in(task);
        }
    }

    /// The connection, from here on used.
    #[inline]
    pub(super) fn begin(&mut self) -> &mut Held {
        if let Held::Unused(_) = &self.held
            && let Held::Unused(kept) = std::mem::replace(&mut self.held, Held::Gone)
        {
            self.held = Held::Used(kept);
        }
        &mut self.held
    }

    /// Whether a shared connection has written nothing since it was given the request.
    pub(super) fn has_written_nothing(&self) -> bool {
        matches!(&self.held, Held::Shared(joined) if joined.has_written_nothing())
    }

    /// Whether it was ended since its peer gave no sign of life.
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.held, Held::Shared(joined) if joined.is_silent())
    }

    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.held, Held::Shared(..))
    }

    pub(super) fn alive(&self) -> bool {
        match &self.held {
            Held::Unused(kept) | Held::Used(kept) => kept.connection.alive(),
            Held::Shared(joined) => joined.connection().alive(),
            Held::Gone => false,
        }
    }

    /// As [`alive`](Self::alive), by a look at the socket too.
    pub(super) fn still_open(&self) -> bool {
        self.alive()
            && match &self.held {
                Held::Unused(kept) | Held::Used(kept) => kept.connection.is_quiet(),
                Held::Shared(joined) => joined.connection().is_open(),
                Held::Gone => false,
            }
    }

    /// Nothing was sent, and nothing will be.
    pub(super) fn into_unused(mut self) -> Option<Kept<Box<Exclusive>>> {
        match std::mem::replace(&mut self.held, Held::Gone) {
            Held::Unused(kept) => Some(kept),
            other => {
                self.held = other;
                None
            }
        }
    }

    /// The connection takes no more calls: it is closed, or those on it are its last.
    pub(super) fn discard(mut self) {
        if let Held::Shared(joined) = &self.held {
            self.endpoint.retire(joined.id());
        } else {
            self.held = Held::Gone;
        }
    }

    /// The exchange is complete, its answer read to the end.
    #[inline]
    pub(super) fn finish(mut self) {
        if let Held::Shared(joined) = &mut self.held {
            joined.was_answered = true;
        }
        if let Held::Used(_) = &self.held
            && let Held::Used(kept) = std::mem::replace(&mut self.held, Held::Gone)
        {
            if let Some(alarm) = &kept.connection.alarm {
                alarm.clear();
            }
            give_back(&self.endpoint, kept);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Gone) {
            Held::Unused(kept) => give_back(&self.endpoint, kept),
            Held::Shared(joined) => self.endpoint.release(joined.id(), joined.was_answered),
            Held::Used(_) | Held::Gone => {}
        }
    }
}

#[inline]
fn give_back(endpoint: &Arc<Endpoint>, mut kept: Kept<Box<Exclusive>>) {
    if kept.connection.sender.is_ready() {
        endpoint.put(kept);
    } else if kept.connection.alive()
        && let Ok(runtime) = Handle::try_current()
    {
        let endpoint = Arc::clone(endpoint);
        runtime.spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(SETTLE, kept.connection.sender.ready()).await {
                endpoint.put(kept);
            }
        });
    }
}
