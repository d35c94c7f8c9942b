//! Whether a server answers in its own protocol: an open port is not enough, PostgreSQL's opens while it
//! still recovers.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn redis(port: u16) -> bool {
    starts_with(port, b"PING\r\n", b"+PONG")
}

/// The server speaks first.
pub(super) fn nats(port: u16) -> bool {
    starts_with(port, b"", b"INFO ")
}

/// A start-up message for `postgres`: `R` asks for a log-in, and trust needs none; `E` says that the
/// server is not ready.
pub(super) fn postgres(port: u16) -> bool {
    starts_with(port, b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0", b"R")
}

/// moto's own page.
pub(super) fn moto(port: u16) -> bool {
    http(port, "/moto-api/")
}

pub(super) fn oauth(port: u16) -> bool {
    http(port, "/.well-known/openid-configuration")
}

fn http(port: u16, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    starts_with(port, request.as_bytes(), b"HTTP/1.1 200")
}

fn starts_with(port: u16, message: &[u8], wanted: &[u8]) -> bool {
    exchange(port, message, wanted.len()).is_ok_and(|answer| answer == wanted)
}

fn exchange(port: u16, message: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(message)?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A server that reads `wait` bytes, answers once and closes.
    fn answering(wait: usize, answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("bound").port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.read_exact(&mut vec![0; wait]).expect("the message");
            stream.write_all(answer).expect("written");
        });
        port
    }

    #[test]
    fn a_postgres_that_is_starting_up_is_not_ready() {
        assert!(!postgres(answering(23, b"E\0\0\0\x20SFATAL\0")));
        assert!(postgres(answering(23, b"R\0\0\0\x08\0\0\0\0")));
    }

    #[test]
    fn only_the_right_greeting_counts() {
        assert!(nats(answering(0, b"INFO {}")));
        assert!(redis(answering(6, b"+PONG\r\n")));
        assert!(!redis(answering(6, b"-LOADING Redis is loading")));
        assert!(!moto(answering(20, b"HTTP/1.1 500 x")));
        assert!(!redis(answering(6, b"")));
    }
}
