//! Whether the peer of an HTTP/2 connection is still there: RFC 9113, section 6.7.

use h2::{Ping, PingPong};
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use crate::transport::connector::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};

/// Waits until `driving`, the task of a connection, has ended, and ends it when with calls on it a ping is left unanswered (`false`).
///
/// From another task than the connection's, so that no exchange looks at this one's timer.
pub(super) async fn keep(mut driving: JoinHandle<()>, pings: Option<PingPong>, is_in_use: impl Fn() -> bool) -> bool {
    let _end = EndsWithMe(driving.abort_handle());
    let Some(mut pings) = pings else { return driving.await.is_ok() };
    while timeout(KEEP_ALIVE_INTERVAL, &mut driving).await.is_err() {
        // One that cannot be sent has found the connection's end.
        if is_in_use() && timeout(KEEP_ALIVE_TIMEOUT, pings.ping(Ping::opaque())).await.is_err() {
            return false;
        }
    }
    true
}

/// Also when the task that keeps the connection is dropped.
struct EndsWithMe(AbortHandle);

impl Drop for EndsWithMe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::DuplexStream,
        time::{Instant, sleep},
    };

    use super::*;
    use crate::transport::pool::http2;

    /// A connection's task and its pings, and the peer's end.
    async fn connection() -> (JoinHandle<()>, Option<PingPong>, DuplexStream) {
        let (ours, peer) = tokio::io::duplex(1024);
        let (sender, mut connection) = http2::handshake(ours).await.unwrap();
        let pings = connection.ping_pong();
        let driving = tokio::spawn(async move {
            let _held = sender;
            let _ = connection.await;
        });
        (driving, pings, peer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_as_long_as_its_peer_answers() {
        let (driving, pings, peer) = connection().await;
        let ends = driving.abort_handle();
        let mut peer = h2::server::handshake(peer).await.unwrap();
        tokio::spawn(async move { while peer.accept().await.is_some() {} });
        let kept = tokio::spawn(keep(driving, pings, || true));
        sleep(10 * KEEP_ALIVE_INTERVAL).await;
        assert!(!kept.is_finished());
        ends.abort();
        assert!(kept.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_calls_on_it_is_ended_when_a_ping_is_not_answered_and_one_without_is_not_asked() {
        for is_in_use in [true, false] {
            let (driving, pings, _silent) = connection().await;
            let ends = driving.abort_handle();
            let start = Instant::now();
            let kept = timeout(10 * KEEP_ALIVE_INTERVAL, keep(driving, pings, || is_in_use)).await;
            if is_in_use {
                assert!(!kept.unwrap());
                assert_eq!(start.elapsed(), KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT);
            } else {
                assert!(kept.is_err());
            }
            // Either way nobody keeps it any more.
            tokio::task::yield_now().await;
            assert!(ends.is_finished());
        }
    }

    #[tokio::test]
    async fn a_connection_that_panics_has_ended() {
        let (driving, pings, _peer) = connection().await;
        driving.abort();
        let panics = tokio::spawn(async { panic!("as if in h2") });
        assert!(keep(panics, pings, || true).await);
    }
}
