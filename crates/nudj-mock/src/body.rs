//! The body of an answer, and how it goes out.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::{error::Disconnected, faults::Payload};

/// One piece of filler.
const FILLER: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

/// A pause before a cut: while the body pends, hyper flushes what it has, so the client sees the head and the first bytes.
const FLUSH: Duration = Duration::from_millis(1);

/// How a body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Whole,
    /// So many bytes, then the connection closes, or over HTTP/2 the stream.
    Cut(usize),
    Drip {
        chunk: usize,
        every: Duration,
    },
}

/// A body for a socket: announces its full length, whatever it then does.
#[derive(Debug)]
pub(crate) struct PacedBody {
    left: Payload,
    pace: Pace,
    /// The wait before the next piece, or before the cut.
    wait: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    pub(crate) fn new(payload: Payload, pace: Pace) -> Self {
        let wait = match pace {
            Pace::Drip { every, .. } => Some(Box::pin(sleep(every))),
            Pace::Cut(_) => Some(Box::pin(sleep(FLUSH))),
            Pace::Whole => None,
        };
        Self { left: payload, pace, wait }
    }

    fn take(&mut self, most: usize) -> Bytes {
        match &mut self.left {
            Payload::Bytes(bytes) => bytes.split_to(most.min(bytes.len())),
            Payload::Filler(left) => {
                let piece = FILLER.slice(..most.min(FILLER.len()).min(usize::try_from(*left).unwrap_or(usize::MAX)));
                *left = left.saturating_sub(piece.len() as u64);
                piece
            }
        }
    }
}

pub(crate) fn len(payload: &Payload) -> u64 {
    match payload {
        Payload::Bytes(bytes) => bytes.len() as u64,
        Payload::Filler(len) => *len,
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Disconnected;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Disconnected>>> {
        let this = &mut *self;
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(cx));
        }
        match this.pace {
            Pace::Cut(0) => return Poll::Ready(Some(Err(Disconnected::InsideBody))),
            _ if len(&this.left) == 0 => return Poll::Ready(None),
            _ => {}
        }
        let piece = match this.pace {
            Pace::Whole => this.take(usize::MAX),
            Pace::Cut(most) => {
                let piece = this.take(most);
                this.pace = Pace::Cut(most.saturating_sub(piece.len()));
                this.wait = Some(Box::pin(sleep(FLUSH)));
                piece
            }
            Pace::Drip { chunk, every } => {
                let piece = this.take(chunk);
                if let (Some(wait), Some(next)) = (&mut this.wait, Instant::now().checked_add(every)) {
                    wait.as_mut().reset(next);
                }
                piece
            }
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        len(&self.left) == 0 && !matches!(self.pace, Pace::Cut(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(len(&self.left))
    }
}
