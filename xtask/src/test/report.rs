//! What the command did, in its last lines.

use std::{io::Write as _, time::Duration};

#[derive(Default)]
pub(super) struct Report {
    pub(super) installed: Vec<String>,
    pub(super) servers: Vec<String>,
    pub(super) tools: Vec<String>,
    pub(super) left_out: Vec<String>,
    /// What the tests themselves said they left out.
    pub(super) left_out_by_tests: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) times: Vec<(&'static str, Duration)>,
    pub(super) counts: Counts,
}

/// How many tests ended how.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Report {
    /// Notes that something is missing, and which variable is therefore not set, if it has one.
    pub(super) fn leave_out(&mut self, what: &str, variable: Option<&str>, why: &str) {
        eprintln!("xtask: left out: {what}: {why}");
        let variable = variable.map(|name| format!(" ({name} is not set)")).unwrap_or_default();
        self.left_out.push(format!("{what}{variable}: {why}"));
    }

    pub(super) fn print(&self) {
        // The terminal may be gone by now.
        let _ = std::io::stdout().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        let times: Vec<String> =
            self.times.iter().map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64())).collect();
        let mut text = format!("\nxtask test: {}\n", times.join(", "));
        section(&mut text, "installed", &self.installed, Some("nothing"));
        section(&mut text, "servers", &self.servers, Some("none"));
        section(&mut text, "tools", &self.tools, None);
        let mut left_out = self.left_out.clone();
        left_out.extend(self.left_out_by_tests.iter().map(|line| format!("by a test: {line}")));
        section(&mut text, "left out", &left_out, Some("nothing"));
        section(&mut text, "note", &self.notes, None);
        let Counts { passed, failed, skipped } = self.counts;
        text.push_str(&format!("tests: {passed} passed, {failed} failed, {skipped} skipped\n"));
        text
    }
}

fn section(text: &mut String, name: &str, lines: &[String], if_empty: Option<&str>) {
    let words: Vec<&str> =
        if lines.is_empty() { if_empty.into_iter().collect() } else { lines.iter().map(String::as_str).collect() };
    for word in words {
        text.push_str(&format!("  {name:<9} {word}\n"));
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_so_when_there_is_nothing_to_say() {
        let text = Report::default().text();
        for line in ["  installed nothing\n", "  servers   none\n", "  left out  nothing\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.ends_with("\ntests: 0 passed, 0 failed, 0 skipped\n"), "{text}");
    }

    #[test]
    fn whatever_was_left_out_is_listed_with_its_variable() {
        let mut report = Report::default();
        report.leave_out("Chromium", Some("NUDJ_TEST_CHROMIUM"), "it is missing");
        report.leave_out("node", None, "it is missing");
        report.left_out_by_tests.push("dashboard: no browser".to_owned());
        let text = report.text();
        assert!(text.contains("  left out  Chromium (NUDJ_TEST_CHROMIUM is not set): it is missing"));
        assert!(text.contains("  left out  node: it is missing"));
        assert!(text.contains("  left out  by a test: dashboard: no browser"));
        assert!(!text.contains("nothing\n  note"));
    }
}
