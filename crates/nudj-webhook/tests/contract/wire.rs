//! A sender that writes bytes.

use std::net::SocketAddr;

use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Posts on a connection of its own; the status, or `None` when the connection broke before one came.
pub(crate) async fn post(address: SocketAddr, head: &HeaderMap, body: &[u8]) -> Option<u16> {
    exchange(address, head, body).await.map(|(status, _)| status)
}

/// As [`post`], with the whole answer as text.
pub(crate) async fn exchange(address: SocketAddr, head: &HeaderMap, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let mut request = head_text(head, &format!("content-length: {}", body.len())).into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Some((status(&answer)?, String::from_utf8_lossy(&answer).into_owned()))
}

/// Writes chunks of 64 KiB until `total` bytes are sent or the other side refuses. Returns the status, if one could be
/// read, and the bytes that were written.
pub(crate) async fn post_chunked(address: SocketAddr, head: &HeaderMap, total: u64) -> (Option<u16>, u64) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head_text(head, "transfer-encoding: chunked").as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(7 + 0x10000, b' ');
    chunk.extend_from_slice(b"\r\n");
    let mut written = 0;
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    tokio::pin!(read);
    while written < total {
        tokio::select! {
            biased;
            _ = &mut read => break,
            sent = writer.write_all(&chunk) => match sent {
                Ok(()) => written += 0x10000,
                Err(_) => break,
            },
        }
    }
    let _ = read.await;
    (status(&answer), written)
}

fn head_text(head: &HeaderMap, framing: &str) -> String {
    let mut text = format!("POST /webhooks HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{framing}\r\n");
    for (name, value) in head {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text + "\r\n"
}

fn status(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
