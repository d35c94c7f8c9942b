//! The first answer to an idempotency key, for those that ask again.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::StatusCode;

/// Keys that are remembered; the oldest is forgotten first.
#[derive(Debug)]
pub(crate) struct Idempotency {
    on: bool,
    most: usize,
    answers: HashMap<String, Kept>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Kept {
    /// Method, path and body of the first request.
    asked: (String, Bytes),
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

impl Idempotency {
    pub(crate) fn new(on: bool, most: usize) -> Self {
        Self { on, most, answers: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn set(&mut self, on: bool) {
        self.on = on;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn look_up(&self, key: &str, operation: &str, body: &Bytes) -> Seen {
        match self.answers.get(key) {
            None => Seen::New,
            Some(kept) if kept.asked.0 == operation && kept.asked.1 == *body => {
                Seen::Before(kept.status, kept.body.clone())
            }
            Some(_) => Seen::Otherwise,
        }
    }

    pub(crate) fn keep(&mut self, key: &str, operation: String, asked: Bytes, status: StatusCode, body: Bytes) {
        if self.most == 0 {
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        let kept = Kept { asked: (operation, asked), status, body };
        if self.answers.insert(key.to_owned(), kept).is_none() {
            self.order.push_back(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_first_answer_and_refuses_another_request() {
        let mut keys = Idempotency::new(true, 2);
        let body = Bytes::from_static(b"{}");
        assert_eq!(keys.look_up("k", "POST /a", &body), Seen::New);
        keys.keep("k", "POST /a".into(), body.clone(), StatusCode::OK, Bytes::from_static(b"1"));
        assert_eq!(keys.look_up("k", "POST /a", &body), Seen::Before(StatusCode::OK, Bytes::from_static(b"1")));
        assert_eq!(keys.look_up("k", "POST /b", &body), Seen::Otherwise);
        assert_eq!(keys.look_up("k", "POST /a", &Bytes::new()), Seen::Otherwise);
        for key in ["l", "m"] {
            keys.keep(key, "POST /a".into(), body.clone(), StatusCode::OK, Bytes::new());
        }
        assert_eq!(keys.look_up("k", "POST /a", &body), Seen::New);
    }
}
