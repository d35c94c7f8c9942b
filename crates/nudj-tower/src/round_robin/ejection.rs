//! When an endpoint is taken out for a while, and for how long.

use std::time::Duration;

use super::config::OutlierConfig;

/// What is known of one endpoint's failures. Times are counted from one common moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    window: Option<Window>,
    /// How often in a row it was taken out, as far as that makes it longer; healthy time brings it down.
    times: u32,
    /// When it was last put back, or will be.
    back: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Duration,
    calls: u64,
    failures: u64,
}

/// How an endpoint did, up to and with the failure that is being judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) consecutive: u32,
    pub(super) calls: u64,
    pub(super) failures: u64,
}

impl Record {
    /// Judges one more failure. `has_room` says whether another endpoint may be taken out, and is asked only if this one should.
    /// Returns when it comes back.
    pub(super) fn failed(
        &mut self,
        rules: &OutlierConfig,
        counts: Counts,
        now: Duration,
        has_room: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        if now < self.back {
            return None;
        }
        // A window opens with a failure: while all is well nobody writes anything here.
        let window = match self.window {
            Some(window) if now.saturating_sub(window.since) < rules.window => window,
            _ => Window {
                since: now,
                calls: counts.calls.saturating_sub(1),
                failures: counts.failures.saturating_sub(1),
            },
        };
        self.window = Some(window);
        let in_a_row = rules.consecutive_failures > 0 && counts.consecutive >= rules.consecutive_failures;
        let calls = counts.calls.saturating_sub(window.calls);
        let failures = counts.failures.saturating_sub(window.failures);
        let too_many = calls >= u64::from(rules.minimum_calls)
            // A quotient, not a product: 0.07 x 100 is more than 7.
            && rules.failure_rate.is_some_and(|rate| failures as f64 / calls as f64 >= rate);
        ((in_a_row || too_many) && has_room()).then(|| self.eject(rules, now))
    }

    fn eject(&mut self, rules: &OutlierConfig, now: Duration) -> Duration {
        let base = rules.base_ejection.as_nanos().max(1);
        let whole = |times: u128| u32::try_from(times).unwrap_or(u32::MAX);
        let decay = whole(now.saturating_sub(self.back).as_nanos() / base);
        // So many reach the longest. More would be a debt from a long outage that takes hours of health to pay off.
        let most = whole(rules.max_ejection.as_nanos().div_ceil(base));
        self.times = self.times.saturating_sub(decay).saturating_add(1).min(most);
        let out = rules.base_ejection.saturating_mul(self.times).min(rules.max_ejection);
        self.back = now.saturating_add(out);
        self.window = None;
        self.back
    }

    /// It was put back early, or is no longer marked down: what it did before is forgotten.
    pub(super) fn returned(&mut self, now: Duration) {
        self.back = self.back.min(now);
        self.window = None;
    }
}

/// Whether one more of `endpoints` may be taken out when `out` are out: one always may, the last never, else `share` of them.
pub(super) fn has_room(endpoints: usize, out: usize, share: f64) -> bool {
    // Truncation is meant: half of three is one.
    let allowed = ((endpoints as f64 * share) as usize).max(1).min(endpoints.saturating_sub(1));
    out < allowed
}

#[cfg(test)]
mod tests;
