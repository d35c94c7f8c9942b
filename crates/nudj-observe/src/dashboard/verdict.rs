//! How it goes, in one sentence.

use serde::Serialize;

use super::view::{EndpointCard, Limiter, Minute, Token};

/// Below this share of successful calls something is wrong, and below the second everything is.
const DEGRADED_BELOW: f64 = 0.99;
const DOWN_BELOW: f64 = 0.5;
/// Fewer calls than this in a minute say nothing about shares.
const ENOUGH_CALLS: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Idle,
    Ok,
    Degraded,
    Down,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) text: String,
    /// What else is wrong, worst first.
    pub(super) more: Vec<String>,
}

/// What the verdict is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) minute: &'a Minute,
    pub(super) endpoints: &'a [EndpointCard],
    pub(super) limiter: Option<&'a Limiter>,
    pub(super) credentials: Option<&'a Token>,
}

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    let mut wrong = Vec::new();
    wrong.extend(endpoints(facts.endpoints));
    wrong.extend(success(facts.minute));
    if facts.credentials.is_some_and(|token| token.expires_ms == Some(0)) {
        wrong.push((Level::Degraded, "The credential has expired".to_owned()));
    }
    if let Some(left) = facts.limiter.and_then(|limiter| limiter.paused_ms) {
        let seconds = left.div_ceil(1000);
        wrong.push((Level::Degraded, format!("The server asked for a pause: {seconds} s left")));
    }
    // Not that nothing is left of it, which with no reserve is so whenever few calls were made.
    if facts.minute.counts.budget_spent > 0 {
        wrong.push((Level::Degraded, "The retry budget is spent".to_owned()));
    }
    wrong.sort_by_key(|(level, _)| std::cmp::Reverse(*level)); // Stable: equals keep the order above.
    let mut wrong = wrong.into_iter();
    match wrong.next() {
        Some((level, text)) => Verdict { level, text, more: wrong.map(|(_, text)| text).collect() },
        None => well(facts),
    }
}

fn well(facts: &Facts<'_>) -> Verdict {
    let (level, text) = match facts.endpoints.len() {
        0 => calls(facts.minute),
        1 => (Level::Ok, "The endpoint takes calls".to_owned()),
        count => (Level::Ok, format!("All {count} endpoints take calls")),
    };
    Verdict { level, text, more: Vec::new() }
}

/// What can be said where no endpoint is known, and of few calls: no share, but also not that all is well.
fn calls(minute: &Minute) -> (Level, String) {
    let (answered, failed) = (minute.counts.answered(), minute.counts.in_vain());
    match (answered, failed) {
        _ if minute.calls == 0 => (Level::Idle, "Waiting for the first call".to_owned()),
        (0, 0) => (Level::Ok, "Callers gave up all calls of the last minute".to_owned()),
        (_, 0) => (Level::Ok, "Calls succeed".to_owned()),
        (0, _) => (Level::Degraded, "No call of the last minute succeeded".to_owned()),
        _ => (Level::Ok, format!("{failed} of the last minute's {} calls failed", answered.saturating_add(failed))),
    }
}

fn endpoints(all: &[EndpointCard]) -> Vec<(Level, String)> {
    let in_state = |state: &str| {
        let is_in = |card: &&EndpointCard| card.breaker.as_ref().is_some_and(|b| b.state == state);
        all.iter().filter(is_in).count()
    };
    let (forced, probed) = (in_state("forced_open"), in_state("half_open"));
    let open = in_state("open") + forced;
    let out = all.iter().filter(|card| card.ejected_ms.is_some() || card.down).count();
    let of = all.len();
    let mut wrong = Vec::new();
    if open > 0 && open == of {
        // Nobody probes one that is held open.
        let text = match (of, forced == of) {
            (1, false) => "The endpoint is open: calls are refused until a probe succeeds",
            (1, true) => "The endpoint is forced open: calls are refused until it is reset",
            (_, false) => "All endpoints are open: calls are refused until a probe succeeds",
            (_, true) => "All endpoints are forced open: calls are refused until they are reset",
        };
        wrong.push((Level::Down, text.to_owned()));
    } else if open > 0 {
        wrong.push((Level::Degraded, format!("{open} of {of} endpoints {} open: calls go elsewhere", is(open))));
    }
    if probed > 0 {
        wrong.push((Level::Degraded, format!("{probed} of {of} endpoints {} being probed", is(probed))));
    }
    if out > 0 {
        wrong.push((Level::Degraded, format!("{out} of {of} endpoints {} taken out of the rotation", is(out))));
    }
    wrong
}

fn success(minute: &Minute) -> Option<(Level, String)> {
    let share = minute.success.filter(|_| minute.calls >= ENOUGH_CALLS)?;
    let level = match share {
        share if share < DOWN_BELOW => Level::Down,
        share if share < DEGRADED_BELOW => Level::Degraded,
        _ => return None,
    };
    // Rounded down: 98.96 must not read as the 99.0 that would be fine.
    let percent = (share * 1000.0).floor() / 10.0;
    Some((level, format!("{percent:.1} % of the last minute's calls succeeded")))
}

fn is(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::{seconds::Counts, view::BreakerView};

    fn card(state: &'static str) -> EndpointCard {
        EndpointCard { breaker: Some(BreakerView { state, ..BreakerView::default() }), ..EndpointCard::default() }
    }

    fn of(states: &[&'static str], minute: &Minute) -> (Level, String) {
        let endpoints: Vec<_> = states.iter().map(|&state| card(state)).collect();
        let facts = Facts { minute, endpoints: &endpoints, limiter: None, credentials: None };
        let verdict = verdict(&facts);
        (verdict.level, verdict.text)
    }

    #[test]
    fn breakers_decide_first() {
        let minute = Minute::default();
        let rows = [
            (&[][..], Level::Idle, "Waiting for the first call"),
            (&["closed"][..], Level::Ok, "The endpoint takes calls"),
            (&["closed", "closed"][..], Level::Ok, "All 2 endpoints take calls"),
            (&["closed", "open"][..], Level::Degraded, "1 of 2 endpoints is open: calls go elsewhere"),
            (&["closed", "half_open"][..], Level::Degraded, "1 of 2 endpoints is being probed"),
            (
                &["open", "forced_open"][..],
                Level::Down,
                "All endpoints are open: calls are refused until a probe succeeds",
            ),
            (&["open"][..], Level::Down, "The endpoint is open: calls are refused until a probe succeeds"),
            (&["forced_open"][..], Level::Down, "The endpoint is forced open: calls are refused until it is reset"),
            (
                &["forced_open", "forced_open"][..],
                Level::Down,
                "All endpoints are forced open: calls are refused until they are reset",
            ),
            (&["disabled"][..], Level::Ok, "The endpoint takes calls"),
        ];
        for (states, level, text) in rows {
            assert_eq!(of(states, &minute), (level, text.to_owned()), "{states:?}");
        }
    }

    #[test]
    fn few_calls_say_nothing_about_shares() {
        let minute = |calls, success| Minute { calls, success: Some(success), ..Minute::default() };
        assert_eq!(of(&["closed"], &minute(19, 0.0)).0, Level::Ok);
        assert_eq!(of(&["closed"], &minute(20, 0.0)).0, Level::Down);
        assert_eq!(of(&["closed"], &minute(20, 0.99)).0, Level::Ok);
        let (level, text) = of(&["closed"], &minute(20, 0.9896));
        assert_eq!((level, text.as_str()), (Level::Degraded, "98.9 % of the last minute's calls succeeded"));
    }

    #[test]
    fn without_an_endpoint_few_calls_that_fail_are_not_called_well() {
        let minute = |ok, failed| Minute {
            calls: u64::from(ok + failed).max(1),
            counts: Counts { ok, failed, ..Counts::default() },
            ..Minute::default()
        };
        let rows = [
            (minute(5, 0), Level::Ok, "Calls succeed"),
            (minute(4, 1), Level::Ok, "1 of the last minute's 5 calls failed"),
            (minute(0, 5), Level::Degraded, "No call of the last minute succeeded"),
            (minute(0, 0), Level::Ok, "Callers gave up all calls of the last minute"),
        ];
        for (minute, level, text) in rows {
            assert_eq!(of(&[], &minute), (level, text.to_owned()));
        }
    }

    #[test]
    fn the_worst_comes_first_and_the_rest_after() {
        let counts = Counts { budget_spent: 1, ..Counts::default() };
        let minute = Minute { calls: 100, success: Some(0.1), counts, ..Minute::default() };
        let endpoints = [card("open"), card("closed")];
        let token = Token { provider: "p".into(), generation: 1, expires_ms: Some(0), age_ms: None, fallback: false };
        let limiter = Limiter { queue: 0, available: 0, paused_ms: Some(1200), granted: 0, waited: 0, refused: 0 };
        let verdict = verdict(&Facts {
            minute: &minute,
            endpoints: &endpoints,
            limiter: Some(&limiter),
            credentials: Some(&token),
        });
        assert_eq!((verdict.level, verdict.more.len()), (Level::Down, 4));
        assert!(verdict.text.starts_with("10.0 %"), "{}", verdict.text);
        assert!(verdict.more.contains(&"The retry budget is spent".to_owned()), "{:?}", verdict.more);
        assert!(verdict.more.contains(&"The server asked for a pause: 2 s left".to_owned()), "{:?}", verdict.more);
    }
}
