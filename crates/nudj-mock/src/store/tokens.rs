//! API tokens: which are good, and until when.

use std::{collections::HashMap, fmt, time::Duration};

use tokio::time::Instant;

/// More issued tokens than this are not kept: those that end first go.
const MOST_ISSUED: usize = 1000;

/// The tokens and OAuth clients of the organisation. `Debug` shows how many, never which.
pub(crate) struct Tokens {
    /// `None`: good for ever.
    valid: HashMap<String, Option<Instant>>,
    clients: HashMap<String, String>,
    issued: u64,
}

impl Tokens {
    pub(crate) fn new(tokens: Vec<String>, clients: Vec<(String, String)>) -> Self {
        Self {
            valid: tokens.into_iter().map(|token| (token, None)).collect(),
            clients: clients.into_iter().collect(),
            issued: 0,
        }
    }

    pub(crate) fn is_valid(&self, token: &str, now: Instant) -> bool {
        self.valid.get(token).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    pub(crate) fn is_client(&self, id: &str, secret: &str) -> bool {
        self.clients.get(id).is_some_and(|known| known == secret)
    }

    /// Makes a token; without a lifetime it is good for ever.
    pub(crate) fn issue(&mut self, lifetime: Option<Duration>, now: Instant) -> String {
        self.valid.retain(|_, until| until.is_none_or(|until| now < until));
        if self.valid.len() >= MOST_ISSUED
            && let Some(first) = self.ends_first()
        {
            self.valid.remove(&first);
        }
        self.issued = self.issued.wrapping_add(1);
        let token = format!("nudj-mock-issued-{:08}", self.issued);
        // A lifetime too long to be written down is as good as none.
        self.valid.insert(token.clone(), lifetime.and_then(|lifetime| now.checked_add(lifetime)));
        token
    }

    fn ends_first(&self) -> Option<String> {
        let ending = self.valid.iter().filter_map(|(token, until)| Some((until.as_ref()?, token)));
        ending.min().map(|(_, token)| token.clone())
    }

    /// Ends a token after `overlap`, unless it ends sooner.
    pub(crate) fn retire(&mut self, token: &str, overlap: Duration, now: Instant) -> bool {
        let Some(until) = self.valid.get_mut(token) else { return false };
        let end = now.checked_add(overlap);
        *until = match (*until, end) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        true
    }

    pub(crate) fn add(&mut self, token: String) {
        self.valid.insert(token, None);
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("valid", &self.valid.len())
            .field("clients", &self.clients.len())
            .field("issued", &self.issued)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_with_its_lifetime_or_its_overlap_whichever_is_sooner() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut tokens = Tokens::new(vec!["first".into()], vec![("id".into(), "secret".into())]);
        let issued = tokens.issue(Some(second * 10), now);
        assert!(tokens.is_valid(&issued, now + second * 9) && !tokens.is_valid(&issued, now + second * 10));
        assert!(tokens.retire("first", second, now));
        assert!(tokens.is_valid("first", now) && !tokens.is_valid("first", now + second));
        assert!(tokens.retire(&issued, second * 60, now));
        assert!(!tokens.is_valid(&issued, now + second * 10));
        assert!(!tokens.retire("unknown", second, now));
        assert!(tokens.is_client("id", "secret") && !tokens.is_client("id", "other"));
        assert!(!format!("{tokens:?}").contains("first"));
    }

    #[tokio::test(start_paused = true)]
    async fn issued_tokens_are_bounded() {
        let now = Instant::now();
        let mut tokens = Tokens::new(vec!["first".into()], Vec::new());
        for _ in 0..MOST_ISSUED + 10 {
            tokens.issue(Some(Duration::from_secs(60)), now);
        }
        assert_eq!(tokens.valid.len(), MOST_ISSUED);
        assert!(tokens.is_valid("first", now));
    }
}
