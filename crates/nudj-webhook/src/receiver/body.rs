//! Reads a body, bounded in bytes and time.

use std::pin::pin;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;

/// The whole body, or the answer to give instead. Keeps at most `limit` bytes beside the chunk that goes over it.
pub(super) async fn read<B: Body>(body: B, limit: usize, deadline: Instant) -> Result<Bytes, Answer> {
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_elapsed) => return Err(Answer::TimedOut),
            Ok(None) => return Ok(whole.freeze()),
            // The sender broke off; it will see no answer anyway.
            Ok(Some(Err(_))) => return Err(Answer::NotAnEvent),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(mut data) = frame.into_data() {
            if whole.len().saturating_add(data.remaining()) > limit {
                return Err(Answer::TooLarge);
            }
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data.copy_to_bytes(data.remaining()));
            }
            whole.put(data);
        }
    }
}
