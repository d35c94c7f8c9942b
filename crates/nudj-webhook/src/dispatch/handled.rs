//! Which handlers of a delivery need not be called again, as an inbox keeps it: the name of each that succeeded, and a
//! line for each that failed for good.

/// Begins the line of one that failed for good; its reason follows, which begins with its name.
const GIVEN_UP: &str = "given up: ";

/// The line of a handler that failed for good, for a reason of the form `name: why`.
pub(super) fn given_up(reason: &str) -> String {
    format!("{GIVEN_UP}{reason}")
}

/// Whether this handler need not be called again.
pub(super) fn is_over(handled: &[String], name: &str) -> bool {
    let why = |line: &String| line.strip_prefix(GIVEN_UP)?.strip_prefix(name)?.strip_prefix(": ").map(drop);
    handled.iter().any(|line| line == name || why(line).is_some())
}

/// Why handlers failed for good.
pub(super) fn reasons(handled: &[String]) -> impl Iterator<Item = &str> {
    handled.iter().filter_map(|line| line.strip_prefix(GIVEN_UP))
}

/// Those that succeeded. A dead letter keeps no others: who replays it has cured what it failed for.
pub(super) fn succeeded(mut handled: Vec<String>) -> Vec<String> {
    handled.retain(|line| !line.starts_with(GIVEN_UP));
    handled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handler_is_over_when_it_succeeded_or_failed_for_good() {
        let handled = vec!["a#1".to_owned(), given_up("a#2: no: never"), given_up("*#0: no")];
        let over = ["a#1", "a#2", "*#0", "a#0", "a#", "a#12"].map(|name| is_over(&handled, name));
        assert_eq!(over, [true, true, true, false, false, false]);
        assert_eq!(reasons(&handled).collect::<Vec<_>>(), ["a#2: no: never", "*#0: no"]);
        assert_eq!(succeeded(handled), ["a#1"]);
    }
}
