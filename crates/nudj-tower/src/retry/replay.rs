//! A body that can be sent again although it streams.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::BoxError;

/// How much of a body is kept for a repeat unless said otherwise: 64 KiB.
pub const DEFAULT_REPLAY_CAP: usize = 64 * 1024;

/// A body that is read from its source once and kept while it is short enough, so that [another](Self::another) reader of it sends it
/// again from the start.
///
/// Of several readers the youngest that was polled reads on; an older one then ends with an error, so that an abandoned
/// attempt does not eat what the next one needs. Once more than the cap was read, what was kept is let go: who reads then gets the
/// rest in full, every other reader an error. Never does a reader end early as if the body were shorter.
///
/// An error of the source is passed on; other readers then end with an error too.
///
/// It is not `Clone`: who sends a copy must look first whether that is still [intact](Self::is_intact).
pub struct ReplayBody<B: Body> {
    tape: Arc<Mutex<Tape<B>>>,
    reader: u64,
    position: usize,
    ended: bool,
}

/// What the readers share.
struct Tape<B> {
    source: Source<B>,
    kept: Vec<u8>,
    cap: usize,
    trailers: Option<HeaderMap>,
    /// The reader that got bytes which were not kept.
    lost_to: Option<u64>,
    /// The youngest reader that was polled or given the right.
    active: u64,
    youngest: u64,
    waker: Option<Waker>,
}

enum Source<B> {
    Open(Pin<Box<B>>),
    Ended,
    Failed,
}

/// Why a reader of a body cannot send it.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("the request was sent again; this attempt's body ends here")]
    Superseded,
    #[error("the body is longer than what is kept for a repeat and has been sent already; raise the replay cap")]
    Lost,
    #[error("the body's source failed during an earlier attempt")]
    Failed,
}

impl<B: Body> ReplayBody<B> {
    /// Keeps up to `cap` bytes of `body`. Two allocations, and what is kept.
    pub fn new(body: B, cap: usize) -> Self {
        let source = if body.is_end_stream() { Source::Ended } else { Source::Open(Box::pin(body)) };
        let tape =
            Tape { source, kept: Vec::new(), cap, trailers: None, lost_to: None, active: 0, youngest: 0, waker: None };
        Self { tape: Arc::new(Mutex::new(tape)), reader: 0, position: 0, ended: false }
    }

    /// A reader that starts from the beginning, and is the youngest.
    #[must_use]
    pub fn another(&self) -> Self {
        let mut tape = self.tape.lock();
        tape.youngest += 1;
        Self { tape: Arc::clone(&self.tape), reader: tape.youngest, position: 0, ended: false }
    }

    /// Whether this reader could still send the whole body.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.tape.lock().is_intact_for(self.reader)
    }

    /// Whether this reader can send the whole body; if so, stops the older ones.
    pub(crate) fn claim(&self) -> bool {
        let mut tape = self.tape.lock();
        let is_intact = tape.is_intact_for(self.reader);
        if is_intact {
            tape.take_over(self.reader);
        }
        is_intact
    }
}

impl<B> Tape<B> {
    fn is_intact_for(&self, reader: u64) -> bool {
        self.lost_to.is_none_or(|owner| owner == reader)
            && reader >= self.active
            && !matches!(self.source, Source::Failed)
    }

    fn take_over(&mut self, reader: u64) {
        if reader > self.active {
            self.active = reader;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<B> Tape<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// The next bytes from the source, kept if they fit.
    fn poll_source(&mut self, reader: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let source = match &mut self.source {
                Source::Open(source) => source,
                Source::Ended => return Poll::Ready(None),
                Source::Failed => return Poll::Ready(Some(Err(ReplayError::Failed.into()))),
            };
            let frame = match source.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.source = Source::Ended;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.source = Source::Failed;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let still_to_come = source.size_hint().lower();
            match frame.into_data() {
                Ok(mut data) if data.has_remaining() => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.keep(&data, still_to_come, reader);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(_) => {}
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers = Some(trailers);
                        self.source = Source::Ended;
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }

    fn keep(&mut self, data: &[u8], still_to_come: u64, reader: u64) {
        let free = self.cap.saturating_sub(self.kept.len()) as u64;
        if self.lost_to.is_none() && (data.len() as u64).saturating_add(still_to_come) <= free {
            self.kept.extend_from_slice(data);
        } else {
            self.lost_to = Some(reader);
            self.kept = Vec::new();
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let mut tape = this.tape.lock();
        if this.reader < tape.active {
            return Poll::Ready(Some(Err(ReplayError::Superseded.into())));
        }
        tape.take_over(this.reader);
        if tape.lost_to.is_some_and(|owner| owner != this.reader) {
            return Poll::Ready(Some(Err(ReplayError::Lost.into())));
        }
        if let Some(rest) = tape.kept.get(this.position..).filter(|rest| !rest.is_empty()) {
            let rest = Bytes::copy_from_slice(rest);
            this.position += rest.len();
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let polled = tape.poll_source(this.reader, cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => this.position = tape.kept.len(),
            Poll::Ready(None) => {
                this.ended = true;
                if let Some(trailers) = tape.trailers.clone() {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.tape.lock();
        let read = self.position >= tape.kept.len() && tape.lost_to.is_none_or(|owner| owner == self.reader);
        self.ended
            || read
                && tape.trailers.is_none()
                && match &tape.source {
                    Source::Open(source) => source.is_end_stream(),
                    Source::Ended => true,
                    Source::Failed => false,
                }
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.tape.lock();
        if self.ended {
            return SizeHint::with_exact(0);
        }
        let kept = tape.kept.len().saturating_sub(self.position) as u64;
        let source = match &tape.source {
            Source::Open(source) => source.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Failed => SizeHint::default(),
        };
        if tape.lost_to.is_some_and(|owner| owner != self.reader) {
            return SizeHint::default();
        }
        let mut hint = SizeHint::new();
        hint.set_lower(source.lower().saturating_add(kept));
        if let Some(upper) = source.upper().and_then(|upper| upper.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
