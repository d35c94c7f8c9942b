//! What happened to the layers: every change of state by itself, what comes in storms as one row with a count.

use std::{ops::Deref, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::recent::{Recent, clipped};

/// So long a row counts what comes after it.
const COUNTED: Duration = Duration::from_secs(10);

/// How good or bad the news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Info,
}

/// Something that happened to a layer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Happening {
    pub(super) tone: Tone,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) times: u32,
}

/// What happens once a call, when it happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Storm {
    BudgetSpent,
    Paused,
}

/// The newest happenings.
#[derive(Debug)]
pub(super) struct Happenings {
    rows: Recent<Happening>,
    budget_spent: Option<Counting>,
    paused: Option<Counting>,
}

/// A row that counts, and since when it does.
#[derive(Clone, Copy, Debug)]
struct Counting {
    row: u64,
    since: Instant,
}

impl Happenings {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: Recent::new(most), budget_spent: None, paused: None }
    }

    /// A row of its own.
    pub(super) fn add(&mut self, now: Instant, tone: Tone, subject: &str, text: String) {
        self.rows.push(now, Happening { tone, subject: clipped(subject), text, times: 1 });
    }

    /// One more on the row of this storm, or its first.
    pub(super) fn count(&mut self, now: Instant, storm: Storm, text: impl FnOnce() -> String) {
        let (counting, subject) = match storm {
            Storm::BudgetSpent => (&mut self.budget_spent, "retry"),
            Storm::Paused => (&mut self.paused, "rate limit"),
        };
        if let Some(Counting { row, since }) = *counting
            && now.saturating_duration_since(since) < COUNTED
            && self.rows.change(row, |happening| happening.times = happening.times.saturating_add(1))
        {
            return;
        }
        let first = Happening { tone: Tone::Warn, subject: subject.to_owned(), text: text(), times: 1 };
        *counting = self.rows.push(now, first).map(|row| Counting { row, since: now });
    }
}

impl Deref for Happenings {
    type Target = Recent<Happening>;

    fn deref(&self) -> &Recent<Happening> {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(happenings: &Happenings, now: Instant) -> Vec<(String, u32)> {
        happenings.rows(now).into_iter().map(|row| (row.what.text, row.what.times)).collect()
    }

    #[test]
    fn a_storm_is_one_row_and_leaves_changes_of_state_their_place() {
        let mut happenings = Happenings::new(200);
        let (start, mut revision) = (Instant::now(), 0);
        for call in 0..1000 {
            let now = start + Duration::from_millis(call);
            happenings.count(now, Storm::BudgetSpent, || "budget spent".to_owned());
            if call % 10 == 0 {
                happenings.add(now, Tone::Bad, "a", format!("opened {call}"));
            }
            happenings.count(now, Storm::Paused, || "paused".to_owned());
            assert!(happenings.revision() > revision, "what counts is news");
            revision = happenings.revision();
        }
        let rows = shown(&happenings, start);
        assert_eq!((rows.len(), &rows[0]), (102, &("opened 990".to_owned(), 1)));
        assert!(rows.contains(&("budget spent".to_owned(), 1000)) && rows.contains(&("paused".to_owned(), 1000)));
        happenings.count(start + COUNTED, Storm::BudgetSpent, || "budget spent".to_owned());
        assert_eq!(shown(&happenings, start)[0], ("budget spent".to_owned(), 1), "the next row of the same storm");
    }

    #[test]
    fn a_row_that_went_is_begun_anew_and_none_is_kept_where_none_may_be() {
        let (now, mut happenings) = (Instant::now(), Happenings::new(1));
        happenings.count(now, Storm::Paused, || "paused".to_owned());
        happenings.add(now, Tone::Bad, "a", "opened".to_owned());
        happenings.count(now, Storm::Paused, || "paused again".to_owned());
        assert_eq!(shown(&happenings, now), [("paused again".to_owned(), 1)]);
        let mut none = Happenings::new(0);
        none.count(now, Storm::Paused, || "paused".to_owned());
        none.count(now, Storm::Paused, || "paused".to_owned());
        assert!(shown(&none, now).is_empty());
    }
}
