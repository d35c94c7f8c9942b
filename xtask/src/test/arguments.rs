//! The arguments of `cargo xtask test`.

/// What was asked for, taken apart by who understands it.
#[derive(Debug, PartialEq)]
pub(super) struct Arguments {
    /// Whether missing tools may be installed.
    pub(super) install: bool,
    /// Which packages, and with which features: understood by nextest and by `cargo test --doc`.
    pub(super) selection: Vec<String>,
    /// The rest, for the test runner alone.
    pub(super) filters: Vec<String>,
    /// The nextest profile asked for.
    pub(super) profile: Option<String>,
}

const PACKAGES: [&str; 5] = ["-p", "--package", "--workspace", "--all", "--exclude"];
const FEATURES: [&str; 4] = ["-F", "--features", "--all-features", "--no-default-features"];
const WITHOUT_VALUE: [&str; 4] = ["--workspace", "--all", "--all-features", "--no-default-features"];

impl Arguments {
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut install = true;
        let mut words = words.iter();
        for word in words.by_ref() {
            match word.as_str() {
                "--no-install" => install = false,
                "--" => break,
                _ => {
                    return Err(format!(
                        "`test` does not know `{word}`; arguments for the test runner stand after `--`: \
                         cargo xtask test -- {word}"
                    ));
                }
            }
        }
        let (mut selection, mut filters, mut profile) = (Vec::new(), Vec::new(), None);
        let mut given: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            let name = option_name(word);
            let is_selection = PACKAGES.contains(&name) || FEATURES.contains(&name);
            let list = if is_selection { &mut selection } else { &mut filters };
            list.push(word.clone());
            given.push(name);
            let takes_value = (is_selection && !WITHOUT_VALUE.contains(&name)) || ["-P", "--profile"].contains(&name);
            if !takes_value {
                continue;
            }
            let value = match word.get(name.len()..).filter(|rest| !rest.is_empty()) {
                Some(attached) => attached.trim_start_matches('=').to_owned(),
                None => {
                    let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
                    list.push(value.clone());
                    value.clone()
                }
            };
            if ["-P", "--profile"].contains(&name) {
                profile = Some(value);
            }
        }
        let has = |names: &[&str]| given.iter().any(|name| names.contains(name));
        if !has(&["-p", "--package", "--workspace", "--all"]) {
            selection.push("--workspace".to_owned());
        }
        if !has(&FEATURES) {
            selection.push("--all-features".to_owned());
        }
        Ok(Self { install, selection, filters, profile })
    }
}

/// `--package` of `--package=x`, `-p` of `-px`, otherwise the word.
fn option_name(word: &str) -> &str {
    if word.starts_with("--") {
        return word.split_once('=').map_or(word, |(name, _)| name);
    }
    match word.get(..2) {
        Some(short @ ("-p" | "-F" | "-P")) => short,
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_everything_is_tested() {
        let arguments = parse(&[]).expect("valid");
        assert!(arguments.install);
        assert_eq!(arguments.selection, ["--workspace", "--all-features"]);
        assert!(arguments.filters.is_empty());
    }

    #[test]
    fn a_package_replaces_the_workspace_in_each_spelling() {
        for words in [&["-p", "nudj-cache"][..], &["-pnudj-cache"], &["--package=nudj-cache"]] {
            let arguments = parse(&[&["--"], words].concat()).expect("valid");
            assert_eq!(arguments.selection, [words, &["--all-features"]].concat());
            assert!(arguments.filters.is_empty());
        }
    }

    #[test]
    fn an_exclusion_keeps_the_workspace_and_features_replace_all_features() {
        let arguments = parse(&["--", "--exclude", "x", "--features", "a"]).expect("valid");
        assert_eq!(arguments.selection, ["--exclude", "x", "--features", "a", "--workspace"]);
    }

    #[test]
    fn the_rest_goes_to_the_runner() {
        let arguments = parse(&["--no-install", "--", "-P", "quick", "retry"]).expect("valid");
        assert!(!arguments.install);
        assert_eq!(arguments.filters, ["-P", "quick", "retry"]);
        assert_eq!(arguments.profile.as_deref(), Some("quick"));
    }

    #[test]
    fn a_mistake_is_named() {
        assert!(parse(&["-p", "x"]).is_err_and(|error| error.contains("cargo xtask test -- -p")));
        assert!(parse(&["--", "-p"]).is_err_and(|error| error.contains("needs a value")));
    }
}
