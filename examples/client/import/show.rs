//! What an import prints.

use std::{cell::Cell, io::IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nudj::{
    client::model::NewUser,
    sync::batch::{Outcome, Report, Summary, Totals},
};
use serde::Serialize;

/// One line per record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordLine<'r> {
    line: u64,
    status: &'static str,
    external_user_id: Option<&'r str>,
    email: Option<&'r str>,
    id: Option<&'r str>,
    error: Option<ErrorLine<'r>>,
}

#[derive(Serialize)]
struct ErrorLine<'r> {
    field: Option<&'r str>,
    message: &'r str,
    retryable: bool,
}

/// The last line. Nothing but `finished` is known where an earlier run left a checkpoint and this one settled nothing.
#[derive(Serialize)]
struct TotalsLine {
    totals: Option<Totals>,
    records: Option<u64>,
    resumed: Option<u64>,
    finished: bool,
}

pub(crate) struct Show {
    json: bool,
    bar: ProgressBar,
    /// The totals that were told last, and how many records were settled before this run.
    told: Cell<Option<(Totals, u64)>>,
}

impl Show {
    /// The bar is for people: without a terminal there is none.
    pub(crate) fn new(json: bool, rows: u64) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(rows), target);
        if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        Self { json, bar, told: Cell::new(None) }
    }

    /// A closed pipe is the reader's decision, and ends no import.
    pub(crate) fn record(&self, report: &Report<'_, NewUser>) {
        let records = report.totals.records();
        let resumed = self.told.get().map_or(records.saturating_sub(1), |(_, resumed)| resumed);
        self.told.set(Some((report.totals, resumed)));
        if self.bar.position() == 0 && records > 1 {
            // Those of earlier runs are no part of the rate.
            self.bar.set_position(records - 1);
            self.bar.reset_eta();
        }
        self.bar.set_position(records);
        if self.json {
            let line = serde_json::to_string(&line(report)).unwrap_or_default();
            self.bar.suspend(|| say!("{line}"));
        } else if !report.outcome.is_success() {
            self.note(&format!("line {}: {}", report.line, report.outcome));
        }
    }

    /// To stderr, above the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| tell!("{text}"));
    }

    pub(crate) fn totals(&self, summary: &Summary) {
        let Summary { totals, resumed, finished, .. } = *summary;
        self.last(Some((totals, resumed)), finished);
    }

    /// What is known of the totals when there is no summary; `is_resumed` where there is a checkpoint, so that more may be settled than
    /// was told.
    pub(crate) fn ended_early(&self, is_resumed: bool) {
        let none = (!is_resumed).then(|| (Totals::default(), 0));
        self.last(self.told.get().or(none), false);
    }

    fn last(&self, known: Option<(Totals, u64)>, finished: bool) {
        self.bar.finish_and_clear();
        let totals = known.map(|(totals, _)| totals);
        let (records, resumed) = (totals.map(|totals| totals.records()), known.map(|(_, resumed)| resumed));
        if self.json {
            let line = TotalsLine { totals, records, resumed, finished };
            return say!("{}", serde_json::to_string(&line).unwrap_or_default());
        }
        let Some((totals, resumed)) = known else { return };
        let Totals { created, found, invalid, failed } = totals;
        let earlier = if resumed == 0 { String::new() } else { format!(" ({resumed} of them in earlier runs)") };
        say!(
            "{} rows{earlier}: {created} created, {found} were there, {invalid} not readable, {failed} failed",
            totals.records()
        );
    }
}

fn line<'r>(report: &Report<'r, NewUser>) -> RecordLine<'r> {
    let (id, error) = match report.outcome {
        Outcome::Created { id } | Outcome::Found { id } => (Some(id.as_str()), None),
        Outcome::Invalid { field, problem } => {
            (None, Some(ErrorLine { field: Some(field), message: problem, retryable: false }))
        }
        Outcome::Failed { retryable, problem } => {
            (None, Some(ErrorLine { field: None, message: problem, retryable: *retryable }))
        }
        _ => (None, None),
    };
    RecordLine {
        line: report.line,
        status: report.outcome.name(),
        external_user_id: report.record.and_then(|user| user.external_user_id.as_deref()),
        email: report.record.and_then(|user| user.email.as_deref()),
        id,
        error,
    }
}
