//! What the injected faults make of one request: values in, a plan out.

use std::{collections::VecDeque, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use super::fault::{Canned, Effect, Fault, RetryAfter, whole_seconds};

/// More faults than this are not kept: the oldest goes.
const MOST_FAULTS: usize = 1024;

/// Names an injected fault, to ask after it or to take it out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// The request, as far as faults look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) instance: usize,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
}

/// What is to happen to one request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) verdict: Verdict,
    pub(crate) ending: Ending,
    pub(crate) headers: HeaderMap,
    pub(crate) retry_after: Option<RetryAfter>,
}

#[derive(Debug, Default)]
pub(crate) enum Verdict {
    #[default]
    Execute,
    /// An error in the documented envelope.
    Status(StatusCode),
    Answer(Canned),
    Close,
    Hang,
}

/// How the answer goes out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    Whole,
    Lost,
    Never,
    Truncated(usize),
    Drip {
        chunk: usize,
        every: Duration,
    },
}

/// All injected faults, in order.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    next_id: u64,
    rules: VecDeque<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: FaultId,
    fault: Fault,
    fired: u64,
}

impl Rules {
    pub(crate) fn add(&mut self, fault: Fault) -> FaultId {
        if self.rules.len() >= MOST_FAULTS {
            self.rules.pop_front();
        }
        let id = FaultId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.rules.push_back(Rule { id, fault, fired: 0 });
        id
    }

    pub(crate) fn remove(&mut self, id: FaultId) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.id != id);
        self.rules.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn fired(&self, id: FaultId) -> u64 {
        self.rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.fired)
    }

    pub(crate) fn decide(&mut self, arrival: Arrival<'_>, now: Instant) -> Plan {
        let mut plan = Plan::default();
        for rule in &mut self.rules {
            if rule.strikes(arrival) && rule.apply(&mut plan, now) {
                break;
            }
        }
        plan
    }
}

impl Rule {
    fn strikes(&mut self, arrival: Arrival<'_>) -> bool {
        let fault = &mut self.fault;
        if fault.instance.is_some_and(|instance| instance != arrival.instance)
            || !fault.pattern.matches(arrival.method, arrival.path)
        {
            return false;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return false;
        }
        if fault.times.is_some_and(|times| self.fired >= times) {
            return false;
        }
        fault.chance.as_mut().is_none_or(|(probability, rng)| rng.f64() < *probability)
    }

    /// True when the request's fate is decided.
    fn apply(&mut self, plan: &mut Plan, now: Instant) -> bool {
        let mut fired = true;
        let decided = match &mut self.fault.effect {
            Effect::Statuses(steps) => match steps.pop_front() {
                Some(Some(status)) => {
                    plan.verdict = Verdict::Status(status);
                    true
                }
                // A success among the statuses leaves this request to the API, and to nobody else's fault.
                Some(None) => return true,
                None => return false,
            },
            Effect::Answer(canned) => {
                plan.verdict = match &canned.content_type {
                    Some(_) => Verdict::Answer(canned.clone()),
                    None => Verdict::Status(canned.status),
                };
                true
            }
            Effect::Latency(delay) => {
                plan.delay = plan.delay.saturating_add(*delay);
                false
            }
            Effect::Hang => {
                plan.verdict = Verdict::Hang;
                true
            }
            Effect::Close => {
                plan.verdict = Verdict::Close;
                true
            }
            Effect::LostAnswer => {
                plan.ending = Ending::Lost;
                true
            }
            Effect::Unanswered => {
                plan.ending = Ending::Never;
                true
            }
            Effect::Truncate(bytes) => {
                plan.ending = Ending::Truncated(*bytes);
                true
            }
            Effect::Drip { chunk, every } => {
                plan.ending = Ending::Drip { chunk: *chunk, every: *every };
                true
            }
            Effect::Headers => false,
            Effect::Quota { quota, announce } => {
                let standing = quota.take(now);
                let reset = whole_seconds(standing.reset);
                if *announce {
                    announce_quota(&mut plan.headers, standing.limit, standing.remaining, reset);
                }
                if !standing.admitted {
                    plan.verdict = Verdict::Status(StatusCode::TOO_MANY_REQUESTS);
                    plan.headers.insert(header::RETRY_AFTER, HeaderValue::from(reset));
                }
                fired = !standing.admitted;
                fired
            }
        };
        if fired {
            self.fired = self.fired.saturating_add(1);
            for (name, value) in &self.fault.headers {
                plan.headers.append(name.clone(), value.clone());
            }
            plan.retry_after = self.fault.retry_after.or(plan.retry_after);
        }
        decided
    }
}

fn announce_quota(headers: &mut HeaderMap, limit: u32, remaining: u32, reset: u64) {
    headers.insert(HeaderName::from_static("ratelimit-limit"), HeaderValue::from(limit));
    headers.insert(HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(remaining));
    headers.insert(HeaderName::from_static("ratelimit-reset"), HeaderValue::from(reset));
}
