//! What happened in each of the last seconds: rings of fixed size, cleared as they are written.

use super::histogram::Histogram;

/// How far back charts go.
pub(super) const CHART_SECONDS: u64 = 300;
/// How far back an endpoint's line goes.
pub(super) const ENDPOINT_SECONDS: u64 = 60;
/// Endpoints with a line of their own; beyond them none is kept, until one of them has not been called for as long as its line goes back.
pub(super) const MAX_ENDPOINTS: usize = 64;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts of one second, or of several added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub(super) struct Counts {
            $($(#[$doc])* pub(super) $name: u32,)+
        }

        impl Counts {
            pub(super) fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

counts! {
    /// Calls that succeeded without a repeat.
    ok,
    /// Calls that succeeded after one or more repeats.
    ok_retried,
    /// Calls the server answered with 4xx, apart from 401, 403 and 429: whoever asks whether there is a user is answered by a 404.
    client_error,
    /// Calls that failed: 5xx, 401, 403, 429, transport, timeout.
    failed,
    /// Calls that we refused ourselves: circuit open, rate limited, no endpoint.
    refused,
    /// Calls their callers gave up.
    dropped,
    /// Tries at an endpoint.
    attempts,
    /// Repeats after a wait.
    retries,
    /// Repeats at once, elsewhere.
    failovers,
    /// Calls that waited for quota.
    waited,
    /// Calls that were given no quota.
    limited,
    /// Calls that were not sent again because the retry budget was spent.
    budget_spent,
}

impl Counts {
    /// Calls that ended.
    pub(super) fn calls(&self) -> u64 {
        [self.ok, self.ok_retried, self.client_error, self.failed, self.refused, self.dropped]
            .map(u64::from)
            .iter()
            .sum()
    }

    /// Calls that the server answered, if only by a no.
    pub(super) fn answered(&self) -> u32 {
        self.ok.saturating_add(self.ok_retried).saturating_add(self.client_error)
    }

    /// Calls that failed or were refused.
    pub(super) fn in_vain(&self) -> u32 {
        self.failed.saturating_add(self.refused)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Second {
    number: u64,
    pub(super) counts: Counts,
    pub(super) latency: Histogram,
}

/// Attempts at one endpoint within a second, and how many failed.
#[derive(Clone, Copy, Debug)]
struct Attempts {
    number: u64,
    all: u32,
    failed: u32,
}

const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct Endpoint {
    name: Box<str>,
    /// The second of its last attempt.
    last: u64,
    ring: Vec<Attempts>,
}

impl Endpoint {
    fn new(name: &str) -> Self {
        let empty = Attempts { number: NEVER, all: 0, failed: 0 };
        Self { name: name.into(), last: 0, ring: vec![empty; slots(ENDPOINT_SECONDS)] }
    }
}

/// What one shard of the collector holds.
#[derive(Debug)]
pub(super) struct Seconds {
    ring: Vec<Second>,
    endpoints: Vec<Endpoint>,
}

impl Default for Seconds {
    fn default() -> Self {
        let empty = Second { number: NEVER, counts: Counts::default(), latency: Histogram::default() };
        Self { ring: vec![empty; slots(CHART_SECONDS)], endpoints: Vec::new() }
    }
}

fn slots(seconds: u64) -> usize {
    usize::try_from(seconds).unwrap_or(1)
}

fn slot(second: u64, of: u64) -> usize {
    usize::try_from(second % of).unwrap_or(0)
}

impl Seconds {
    /// The second with this number, emptied if its place held an older one.
    pub(super) fn at(&mut self, number: u64) -> Option<&mut Second> {
        let second = self.ring.get_mut(slot(number, CHART_SECONDS))?;
        if second.number != number {
            *second = Second { number, counts: Counts::default(), latency: Histogram::default() };
        }
        Some(second)
    }

    /// The second with this number, if anything happened in it.
    pub(super) fn read(&self, number: u64) -> Option<&Second> {
        self.ring.get(slot(number, CHART_SECONDS)).filter(|second| second.number == number)
    }

    pub(super) fn count_attempt(&mut self, number: u64, endpoint: &str, failed: bool) {
        let Some(endpoint) = self.line_of(endpoint, number) else { return };
        endpoint.last = number;
        if let Some(second) = endpoint.ring.get_mut(slot(number, ENDPOINT_SECONDS)) {
            if second.number != number {
                *second = Attempts { number, all: 0, failed: 0 };
            }
            second.all = second.all.saturating_add(1);
            second.failed = second.failed.saturating_add(u32::from(failed));
        }
    }

    /// The endpoint's own, a new one, or that of one whose line is empty by now.
    fn line_of(&mut self, name: &str, now: u64) -> Option<&mut Endpoint> {
        let known = self.endpoints.iter().position(|endpoint| *endpoint.name == *name);
        let place = match known {
            Some(place) => place,
            None if self.endpoints.len() < MAX_ENDPOINTS => {
                self.endpoints.push(Endpoint::new(name));
                self.endpoints.len() - 1
            }
            None => {
                let is_gone = |endpoint: &Endpoint| now.saturating_sub(endpoint.last) >= ENDPOINT_SECONDS;
                let place = self.endpoints.iter().position(is_gone)?;
                // Its ring holds nothing that is still shown.
                self.endpoints.get_mut(place)?.name = name.into();
                place
            }
        };
        self.endpoints.get_mut(place)
    }

    /// Attempts and failures at an endpoint in that second.
    pub(super) fn attempts(&self, number: u64, endpoint: &str) -> (u32, u32) {
        let ring = self.endpoints.iter().find(|known| *known.name == *endpoint).map(|known| &known.ring);
        let second = ring.and_then(|ring| ring.get(slot(number, ENDPOINT_SECONDS)));
        second.filter(|second| second.number == number).map_or((0, 0), |second| (second.all, second.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_comes_round_again_starts_from_nothing() {
        let mut seconds = Seconds::default();
        seconds.at(7).unwrap().counts.ok = 3;
        assert_eq!(seconds.read(7).unwrap().counts.ok, 3);
        assert!(seconds.read(7 + CHART_SECONDS).is_none());
        seconds.at(7 + CHART_SECONDS).unwrap().counts.ok += 1;
        assert!(seconds.read(7).is_none());
        assert_eq!(seconds.read(7 + CHART_SECONDS).unwrap().counts.ok, 1);
    }

    #[test]
    fn attempts_of_the_minute_before_are_not_counted_again() {
        let mut seconds = Seconds::default();
        seconds.count_attempt(3, "a", true);
        seconds.count_attempt(3, "a", false);
        assert_eq!(seconds.attempts(3, "a"), (2, 1));
        seconds.count_attempt(3 + ENDPOINT_SECONDS, "a", false);
        assert_eq!(seconds.attempts(3, "a"), (0, 0));
        assert_eq!(seconds.attempts(3 + ENDPOINT_SECONDS, "a"), (1, 0));
    }

    #[test]
    fn endpoints_beyond_the_limit_take_no_memory() {
        let mut seconds = Seconds::default();
        for number in 0..1000 {
            seconds.count_attempt(1, &format!("endpoint {number}"), false);
        }
        assert_eq!(seconds.endpoints.len(), MAX_ENDPOINTS);
    }

    #[test]
    fn an_endpoint_that_came_late_takes_the_line_of_one_that_is_gone() {
        let mut seconds = Seconds::default();
        for number in 0..64 {
            seconds.count_attempt(100, &format!("endpoint {number}"), true);
        }
        seconds.count_attempt(130, "endpoint 3", true);
        seconds.count_attempt(100 + ENDPOINT_SECONDS - 1, "new", false);
        assert_eq!(seconds.attempts(100 + ENDPOINT_SECONDS - 1, "new"), (0, 0), "all of them still show something");
        let now = 100 + ENDPOINT_SECONDS;
        seconds.count_attempt(now, "new", false);
        seconds.count_attempt(now, "new too", false);
        assert_eq!((seconds.attempts(now, "new"), seconds.attempts(now, "new too")), ((1, 0), (1, 0)));
        for second in now - ENDPOINT_SECONDS + 1..now {
            assert_eq!(seconds.attempts(second, "new"), (0, 0), "nothing of whose line it was");
        }
        assert_eq!(seconds.attempts(130, "endpoint 3"), (1, 1), "who is not gone keeps its own");
        assert_eq!(seconds.endpoints.len(), MAX_ENDPOINTS);
    }
}
