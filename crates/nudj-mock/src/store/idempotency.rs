//! The first answer to an idempotency key, for those that ask again.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::StatusCode;
use sha2::{Digest, Sha256};

/// Keys and answers together are kept up to this many bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Keys that are remembered; the oldest is forgotten first.
#[derive(Debug)]
pub(crate) struct Idempotency {
    on: bool,
    most: usize,
    most_bytes: usize,
    bytes: usize,
    answers: HashMap<String, Kept>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Kept {
    /// Of method, path, query and body of the first request.
    asked: [u8; 32],
    status: StatusCode,
    body: Bytes,
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    New,
    /// The same request before: its answer.
    Before(StatusCode, Bytes),
    /// The key came with a different request.
    Otherwise,
}

/// Tells one request from another.
pub(crate) fn digest(operation: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(operation).chain_update([0]).chain_update(body).finalize().into()
}

impl Idempotency {
    pub(crate) fn new(on: bool, most: usize) -> Self {
        Self { on, most, most_bytes: MOST_BYTES, bytes: 0, answers: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn set(&mut self, on: bool) {
        self.on = on;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn look_up(&self, key: &str, asked: [u8; 32]) -> Seen {
        match self.answers.get(key) {
            None => Seen::New,
            Some(kept) if kept.asked == asked => Seen::Before(kept.status, kept.body.clone()),
            Some(_) => Seen::Otherwise,
        }
    }

    /// Remembers the answer to a key that was new.
    pub(crate) fn keep(&mut self, key: &str, asked: [u8; 32], status: StatusCode, body: Bytes) {
        self.bytes = self.bytes.saturating_add(weight(key, &body));
        self.answers.insert(key.to_owned(), Kept { asked, status, body });
        self.order.push_back(key.to_owned());
        while self.order.len() > self.most || self.bytes > self.most_bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.answers.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(weight(&oldest, &gone.body));
            }
        }
    }
}

/// The key is kept twice: with its answer, and in its place in the order.
fn weight(key: &str, body: &Bytes) -> usize {
    key.len().saturating_mul(2).saturating_add(body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(keys: &mut Idempotency, key: &str, body: &'static [u8]) {
        keys.keep(key, digest("POST /a", b"{}"), StatusCode::OK, Bytes::from_static(body));
    }

    #[test]
    fn a_key_gives_its_first_answer_and_refuses_another_request() {
        let mut keys = Idempotency::new(true, 2);
        let asked = digest("POST /a", b"{}");
        assert_eq!(keys.look_up("k", asked), Seen::New);
        keep(&mut keys, "k", b"1");
        assert_eq!(keys.look_up("k", asked), Seen::Before(StatusCode::OK, Bytes::from_static(b"1")));
        assert_eq!(keys.look_up("k", digest("POST /b", b"{}")), Seen::Otherwise);
        assert_eq!(keys.look_up("k", digest("POST /a", b"")), Seen::Otherwise);
    }

    #[test]
    fn the_oldest_key_is_forgotten_first_by_number_and_by_bytes() {
        let asked = digest("POST /a", b"{}");
        let mut keys = Idempotency::new(true, 2);
        ["k", "l", "m"].iter().for_each(|key| keep(&mut keys, key, b""));
        assert_eq!(keys.look_up("k", asked), Seen::New);
        assert_ne!(keys.look_up("l", asked), Seen::New);
        let mut keys = Idempotency { most_bytes: 9, ..Idempotency::new(true, 100) };
        ["k", "l", "m"].iter().for_each(|key| keep(&mut keys, key, b"22"));
        assert_eq!((keys.look_up("k", asked), keys.bytes, keys.answers.len()), (Seen::New, 8, 2));
        // A key is kept like its answer, so it counts like it.
        let mut keys = Idempotency { most_bytes: 500, ..Idempotency::new(true, 100) };
        (0..10).for_each(|n| keep(&mut keys, &format!("{n}{}", "x".repeat(99)), b""));
        assert!(keys.order.iter().map(String::len).sum::<usize>() <= 500);
        let mut none = Idempotency::new(true, 0);
        keep(&mut none, "k", b"1");
        assert_eq!((none.look_up("k", asked), none.bytes), (Seen::New, 0));
    }
}
