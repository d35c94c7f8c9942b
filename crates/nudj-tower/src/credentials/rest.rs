//! When calls may have a credential fetched again after that did not help: values and the time in, verdict out.

use std::time::Duration;

use tokio::time::Instant;

use super::{CredentialError, CredentialsConfig, renewal::back_off};

/// No wait ends beyond what the clock can tell.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What is known of fetches that came to nothing. One fetch runs at a time already; this bounds how many follow each other, so that a
/// provider that is down, or a key that is refused whatever comes, does not turn every call into a fetch.
#[derive(Debug)]
pub(super) struct Rest {
    /// Fetches that failed in a row, and how the last one did.
    failed: u32,
    last: Option<(CredentialError, Instant)>,
    /// Renewals in a row that a refusal led to, with none accepted since.
    refused: u32,
    renew_from: Option<Instant>,
    rng: fastrand::Rng,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self { failed: 0, last: None, refused: 0, renew_from: None, rng: fastrand::Rng::new() }
    }

    /// A fetch has ended.
    pub(super) fn fetched(&mut self, failed: Option<&CredentialError>, config: &CredentialsConfig, now: Instant) {
        let Some(error) = failed else {
            (self.failed, self.last) = (0, None);
            return;
        };
        self.failed = self.failed.saturating_add(1);
        self.last = Some((error.clone(), until(now, back_off(self.failed, config, &mut self.rng))));
    }

    /// What a call gets that needs a credential while it is too early to fetch again.
    pub(super) fn error(&self, now: Instant) -> Option<CredentialError> {
        self.last.as_ref().filter(|(_, until)| now < *until).map(|(error, _)| error.clone())
    }

    /// The current credential was refused: whether to fetch another. The first time at once.
    pub(super) fn may_renew(&mut self, config: &CredentialsConfig, now: Instant) -> bool {
        let may = self.renew_from.is_none_or(|from| now >= from);
        if may {
            self.refused = self.refused.saturating_add(1);
            self.renew_from = Some(until(now, back_off(self.refused, config, &mut self.rng)));
        }
        may
    }

    /// A credential was accepted.
    pub(super) fn accepted(&mut self) {
        (self.refused, self.renew_from) = (0, None);
    }
}

fn until(now: Instant, wait: Duration) -> Instant {
    now + wait.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failed_fetches_are_answered_with_their_error_for_longer_and_longer() {
        let (mut rest, config, now) = (Rest::new(), CredentialsConfig::default(), Instant::now());
        assert!(rest.error(now).is_none());
        let error = CredentialError::Timeout { provider: "vault".into() };
        for most in [1, 2, 4, 8, 16, 32, 60, 60] {
            rest.fetched(Some(&error), &config, now);
            assert!(rest.error(now + most * SECOND / 2 - SECOND / 1000).is_some(), "{most}");
            assert!(rest.error(now + most * SECOND).is_none(), "{most}");
        }
        rest.fetched(None, &config, now);
        assert!(rest.error(now).is_none());
    }

    #[test]
    fn what_is_refused_again_is_renewed_less_and_less_often_until_one_is_accepted() {
        let (mut rest, config, mut now) = (Rest::new(), CredentialsConfig::default(), Instant::now());
        for most in [1, 2, 4] {
            assert!(rest.may_renew(&config, now));
            assert!(!rest.may_renew(&config, now + most * SECOND / 2 - SECOND / 1000), "{most}");
            now += most * SECOND;
        }
        rest.accepted();
        assert!(rest.may_renew(&config, now));
    }

    #[test]
    fn no_wait_is_longer_than_the_clock() {
        let config = CredentialsConfig { backoff: Duration::MAX, max_backoff: Duration::MAX, ..Default::default() };
        let (mut rest, now) = (Rest::new(), Instant::now());
        rest.fetched(Some(&CredentialError::Timeout { provider: "vault".into() }), &config, now);
        assert!(rest.error(now + 86_400 * SECOND).is_some() && rest.may_renew(&config, now));
    }
}
