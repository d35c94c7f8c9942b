//! An error's text, for a status or a log.

/// The error with its causes, each once: many repeat their source in their own text. Eight at most, as a chain may be endless.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()).take(8) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::Error;

    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let inner = || std::io::Error::other("no route");
        // Says its source itself.
        assert_eq!(with_causes(&Error::Local(inner().into())), "the local side failed: no route");
        let store = Error::store("CDC state", Error::Local(inner().into()));
        let text = with_causes(&store);
        assert!(text.ends_with(": the local side failed: no route"), "{text}");
        assert_eq!(text.matches("no route").count(), 1, "{text}");
    }
}
