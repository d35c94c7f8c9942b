//! How one call ended, in the page's few kinds.

use std::time::Duration;

use nudj_tower::{CallContext, classify::Outcome};
use serde::Serialize;

use super::seconds::Counts;

/// What is told of a call's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallEnd<'a> {
    pub(super) context: &'a CallContext,
    pub(super) method: Option<&'static str>,
    pub(super) outcome: Option<Outcome>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<&'a str>,
    pub(super) duration: Duration,
}

/// As the page counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Ok,
    OkRetried,
    ClientError,
    Failed,
    Refused,
    Dropped,
}

impl Kind {
    pub(super) fn count(self, counts: &mut Counts) {
        let counter = match self {
            Self::Ok => &mut counts.ok,
            Self::OkRetried => &mut counts.ok_retried,
            Self::ClientError => &mut counts.client_error,
            Self::Failed => &mut counts.failed,
            Self::Refused => &mut counts.refused,
            Self::Dropped => &mut counts.dropped,
        };
        *counter = counter.saturating_add(1);
    }
}

impl CallEnd<'_> {
    pub(super) fn kind(&self) -> Kind {
        match (self.outcome, self.status, self.error) {
            (None, ..) => Kind::Dropped,
            (Some(_), None, Some("circuit_open" | "rate_limited" | "no_endpoint" | "invalid_request")) => Kind::Refused,
            // Answers, but to nobody's question: we are not let in, or not now.
            (Some(_), Some(401 | 403 | 429), _) => Kind::Failed,
            (Some(_), Some(400..=499), _) => Kind::ClientError,
            (Some(Outcome::Success), _, None) if self.context.tries() > 1 => Kind::OkRetried,
            (Some(Outcome::Success), _, None) => Kind::Ok,
            _ => Kind::Failed,
        }
    }
}
