//! Whether the peer of an HTTP/2 connection is still there: RFC 9113, section 6.7.

use std::{pin::pin, sync::Arc};

use h2::{Ping, PingPong};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{times::Times, turns::Traffic};
use crate::transport::connector::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};

/// A peer that can be asked.
pub(super) struct Asked {
    times: Arc<Times>,
    traffic: Arc<Traffic>,
    pings: PingPong,
}

/// It is asked as long as this is kept.
pub(super) struct Watched(AbortHandle);

impl Asked {
    pub(super) fn new(times: Arc<Times>, traffic: Arc<Traffic>, pings: PingPong) -> Self {
        Self { times, traffic, pings }
    }

    /// Has the connection end when, with calls on it or after some, nothing comes and its peer leaves a ping unanswered.
    ///
    /// From another task than the connection's, so that no exchange looks at this one's timer.
    pub(super) fn watch(self, is_in_use: impl Fn() -> bool + Send + 'static) -> Watched {
        let Self { times, traffic, pings } = self;
        let watching = tokio::spawn(async move {
            if falls_silent(&traffic, pings, is_in_use).await {
                times.silent();
            }
        });
        Watched(watching.abort_handle())
    }
}

/// Ends when the peer has fallen silent, or (`false`) when there is no connection any more.
async fn falls_silent(traffic: &Traffic, mut pings: PingPong, is_in_use: impl Fn() -> bool) -> bool {
    loop {
        let (read, written) = (traffic.read(), traffic.written());
        sleep(KEEP_ALIVE_INTERVAL).await;
        // What was sent and got nothing back is reason enough: a call that gave up meanwhile is on no connection any more.
        if traffic.read() != read || (traffic.written() == written && !is_in_use()) {
            continue;
        }
        let mut pong = pin!(pings.ping(Ping::opaque()));
        loop {
            let before = traffic.read();
            match timeout(KEEP_ALIVE_TIMEOUT, &mut pong).await {
                Ok(Ok(_)) => break,
                Ok(Err(_)) => return false,
                Err(_) if traffic.read() == before => return true,
                // It may stand behind an answer that takes its time.
                Err(_) => {}
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tokio::{
        io::{AsyncWriteExt, DuplexStream},
        task::JoinHandle,
        time::Instant,
    };

    use super::*;
    use crate::transport::pool::{
        http2,
        lone::{LoneShared, kinds_sent, lone_shared},
        turns::Turns,
    };

    struct Connection {
        /// Its task.
        driving: JoinHandle<()>,
        pings: PingPong,
        traffic: Arc<Traffic>,
        peer: DuplexStream,
    }

    async fn connection() -> Connection {
        let LoneShared { lease, mut connection, peer, traffic, kept, .. } = lone_shared().await;
        let pings = connection.ping_pong().unwrap();
        let driving = tokio::spawn(async move {
            let _held = (lease, kept);
            let _ = connection.await;
        });
        Connection { driving, pings, traffic, peer }
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_the_peer_answers_it_is_there() {
        let Connection { driving, pings, traffic, peer } = connection().await;
        let mut peer = h2::server::handshake(peer).await.unwrap();
        tokio::spawn(async move { while peer.accept().await.is_some() {} });
        let watching = tokio::spawn(async move { falls_silent(&traffic, pings, || true).await });
        sleep(10 * KEEP_ALIVE_INTERVAL).await;
        assert!(!watching.is_finished());
        driving.abort();
        assert!(!watching.await.unwrap(), "the connection has ended, and not for its silence");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_is_not_answered_is_silence_and_none_is_sent_where_there_is_no_call() {
        let Connection { driving: _driving, pings, traffic, peer: _peer } = connection().await;
        let start = Instant::now();
        assert!(falls_silent(&traffic, pings, || true).await);
        assert_eq!(start.elapsed(), KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT);
        let Connection { driving: _driving, pings, traffic, mut peer } = connection().await;
        // Its SETTINGS: what the handshake wrote has been answered.
        peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        assert!(timeout(10 * KEEP_ALIVE_INTERVAL, falls_silent(&traffic, pings, || false)).await.is_err());
    }

    /// A flow that somebody on the way dropped: each call gives up between two looks, and leaves no trace but what it wrote.
    #[tokio::test(start_paused = true)]
    async fn calls_that_came_and_went_unanswered_are_calls() {
        let (ours, _peer) = tokio::io::duplex(1 << 16);
        let (ours, traffic) = Turns::new(ours);
        let (mut sender, mut connection) = http2::handshake(ours).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        let _driving = tokio::spawn(connection);
        let start = Instant::now();
        let watching = tokio::spawn(async move { falls_silent(&traffic, pings, || false).await });
        sleep(2 * KEEP_ALIVE_INTERVAL + Duration::from_secs(5)).await;
        let (answer, _) = sender.send_request(Request::new(()), true).unwrap();
        assert!(timeout(Duration::from_secs(2), answer).await.is_err());
        assert!(watching.await.unwrap());
        assert_eq!(start.elapsed(), 3 * KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT);
    }

    const PING: u8 = 6;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_is_there_whether_it_answers_or_not() {
        for first in [Duration::ZERO, KEEP_ALIVE_INTERVAL + Duration::from_secs(1)] {
            let Connection { driving: _driving, pings, traffic, mut peer } = connection().await;
            let watching = tokio::spawn(async move { falls_silent(&traffic, pings, || true).await });
            // The second time a ping is under way before anything comes.
            sleep(first).await;
            for _ in 0..30 {
                assert!(!watching.is_finished());
                // SETTINGS, to be acknowledged.
                peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                sleep(KEEP_ALIVE_TIMEOUT / 2).await;
            }
            let pings = kinds_sent(&mut peer).await.into_iter().filter(|kind| *kind == PING).count();
            assert_eq!(pings, usize::from(!first.is_zero()), "none is sent while something comes");
            let quiet = Instant::now();
            assert!(watching.await.unwrap());
            assert!(quiet.elapsed() <= KEEP_ALIVE_INTERVAL + 2 * KEEP_ALIVE_TIMEOUT);
        }
    }
}
