//! The tests themselves: nextest where it is there, otherwise `cargo test`; then the documentation's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Variables,
    arguments::Arguments,
    guard,
    report::{Counts, Report},
};
use crate::{
    clock, process, signals,
    workspace::{self, Workspace, in_ci},
};

/// Runs all tests. The value is the exit code of the first runner that failed.
pub(super) fn run(
    arguments: &Arguments,
    workspace: &Workspace,
    variables: &Variables,
    report: &mut Report,
) -> Result<u8, String> {
    let command = |words: &[&str]| -> Result<Command, String> {
        let mut command = guard::command(&workspace::cargo_program(), "TERM", None)?;
        workspace::forget_own_package(&mut command);
        command.args(words).current_dir(&workspace.root).envs(variables);
        Ok(command)
    };
    let client = client_place(arguments, workspace);
    if client.is_some() {
        // With the features that the tests are built with, so that little is built twice.
        let (built, time) =
            clock::timed(|| process::run(command(&["build", "--example", "client"])?.args(&arguments.selection)));
        report.times.push(("example client", time));
        let code = built?;
        signals::check()?;
        if code != 0 {
            return Ok(code);
        }
    }
    let command = |words: &[&str]| -> Result<Command, String> {
        let mut command = command(words)?;
        command.envs(client.as_ref().map(|client| (CLIENT, client)));
        Ok(command)
    };
    let has_nextest = process::ask(command(&["nextest", "--version"])?.env_remove("NUDJ_TEST_RUN"));
    let (code, time) = clock::timed(|| match has_nextest {
        Some(_) => nextest(command(&["nextest", "run"])?, arguments, workspace, report),
        None => {
            report.notes.push("cargo-nextest is missing; `cargo test` ran the tests".to_owned());
            let mut command = command(&["test"])?;
            command.args(&arguments.selection);
            // `--tests` means libraries and programs too; `--lib` would fail for a package that has none.
            command.args(["--tests", "--examples"]);
            let fail_fast = arguments.filters.iter().take_while(|word| *word != "--");
            if !fail_fast.into_iter().any(|word| word == "--no-fail-fast") {
                command.arg("--no-fail-fast");
            }
            counted(command.args(&arguments.filters), report)
        }
    });
    report.times.push(("tests", time));
    let code = code?;
    signals::check()?;
    if !arguments.filters.is_empty() {
        report.notes.push("doctests did not run, since the arguments pick tests".to_owned());
        return Ok(code);
    }
    if !has_library(&arguments.selection, workspace) {
        report.notes.push("doctests did not run, since no library was picked".to_owned());
        return Ok(code);
    }
    let (doctests, time) = clock::timed(|| {
        let mut command = command(&["test", "--doc", "--no-fail-fast"])?;
        counted(command.args(&arguments.selection), report)
    });
    report.times.push(("doctests", time));
    let doctests = doctests?;
    signals::check()?;
    Ok(if code == 0 { doctests } else { code })
}

/// Names the example client to the tests that run it, which else build it themselves.
const CLIENT: &str = "NUDJ_TEST_CLIENT";

/// Where the example client is once it is built, if it should be: no test should wait for a build.
fn client_place(arguments: &Arguments, workspace: &Workspace) -> Option<PathBuf> {
    let all = arguments.selection.iter().any(|word| word == "--workspace" || word == "--all");
    let elsewhere =
        |word: &String| ["--release", "-r", "--cargo-profile", "--target"].iter().any(|name| word.starts_with(name));
    let is_there = workspace.packages.iter().flat_map(|package| &package.targets).any(|target| target.name == "client");
    let built = is_there && all && !arguments.filters.iter().any(elsewhere) && std::env::var_os(CLIENT).is_none();
    built.then(|| workspace.target.join("debug/examples/client"))
}

fn nextest(
    mut command: Command,
    arguments: &Arguments,
    workspace: &Workspace,
    report: &mut Report,
) -> Result<u8, String> {
    let given = |name: &str| arguments.filters.iter().any(|word| word.starts_with(name));
    if !given("--no-fail-fast") && !given("--fail-fast") && !given("--max-fail") {
        command.arg("--no-fail-fast");
    }
    let profile = match &arguments.profile {
        Some(profile) => profile.clone(),
        None => {
            let profile =
                std::env::var("NEXTEST_PROFILE").unwrap_or_else(|_| if in_ci() { "ci" } else { "default" }.to_owned());
            command.args(["--profile", &profile]);
            profile
        }
    };
    // nextest's store lies below the workspace (.config/nextest.toml), wherever cargo's target folder is.
    let junit = workspace.root.join("target/nextest").join(profile).join("junit.xml");
    remove(&junit)?;
    if !in_ci() {
        // The tests take any value for CI.
        command.env_remove("CI");
    }
    let code = process::run(command.args(&arguments.selection).args(&arguments.filters))?;
    // Without it nothing was built, or the profile writes none.
    if let Ok(text) = fs::read_to_string(&junit) {
        report.counts.add(junit_counts(&text));
        report.left_out_by_tests.extend(junit_left_out(&text));
    }
    Ok(code)
}

/// An old file must not be taken for this run's.
fn remove(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", file.display())),
        _ => Ok(()),
    }
}

fn counted(command: &mut Command, report: &mut Report) -> Result<u8, String> {
    process::run_reading(command, |line| {
        if let Some(counts) = libtest_counts(line) {
            report.counts.add(counts);
        }
    })
}

/// Whether `cargo test --doc` finds anything; it fails for packages that are programs only.
fn has_library(selection: &[String], workspace: &Workspace) -> bool {
    let programs = workspace.packages.iter().filter(|package| !package.has_library);
    let programs: Vec<&str> = programs.map(|package| package.name.as_str()).collect();
    let mut words = selection.iter().map(String::as_str);
    let mut picked = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "-p" | "--package" => picked.extend(words.next()),
            _ => picked.extend(word.strip_prefix("--package=").or_else(|| word.strip_prefix("-p"))),
        }
    }
    picked.is_empty() || picked.iter().any(|name| !programs.contains(name))
}

/// The numbers of `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn libtest_counts(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| numbers.split(';').find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok());
    Some(Counts { passed: number(" passed")?, failed: number(" failed")?, skipped: number(" ignored")? })
}

/// The numbers in the head of a JUnit file, which does not know of skipped tests.
fn junit_counts(text: &str) -> Counts {
    let head = text.split_once("<testsuites ").map_or("", |(_, rest)| rest);
    let head = head.split_once('>').map_or("", |(head, _)| head);
    let number = |name: &str| -> u64 {
        let value = head.split_once(&format!("{name}=\"")).and_then(|(_, rest)| {
            let (value, _) = rest.split_once('"')?;
            value.parse().ok()
        });
        value.unwrap_or(0)
    };
    let failed = number("failures").saturating_add(number("errors"));
    Counts { passed: number("tests").saturating_sub(failed), failed, skipped: 0 }
}

/// The lines in which tests say that they left something out.
fn junit_left_out(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once("left out: "))
        // At the start of a line, or of the element that holds the output.
        .filter(|(before, _)| before.is_empty() || before.ends_with('>'))
        .map(|(_, line)| line.split_once("</").map_or(line, |(line, _)| line))
        .map(|line| {
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
                .iter()
                .fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Package, Target};

    #[test]
    fn the_numbers_of_a_libtest_run_are_read() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(libtest_counts(line), Some(Counts { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(libtest_counts("test result: nonsense"), None);
        assert_eq!(libtest_counts("running 3 tests"), None);
    }

    #[test]
    fn the_numbers_of_a_junit_file_are_read() {
        let text = "<?xml?>\n<testsuites name=\"r\" tests=\"9\" failures=\"2\" errors=\"1\" uuid=\"x\">\n\
                    <testsuite tests=\"5\" failures=\"0\">";
        assert_eq!(junit_counts(text), Counts { passed: 6, failed: 3, skipped: 0 });
        assert_eq!(junit_counts(""), Counts::default());
    }

    #[test]
    fn what_tests_left_out_is_found_once() {
        let text = "<system-err>left out: a &lt;b&gt;: set X\nleft out: c</system-err>\n\
                    <system-err>left out: c</system-err>\nnothing was left out: no";
        assert_eq!(junit_left_out(text), ["a <b>: set X", "c"]);
    }

    #[test]
    fn the_client_is_built_where_everything_is_in_the_usual_place() {
        let target = |name: &str| Target {
            name: name.to_owned(),
            file: "/".into(),
            tested: false,
            is_build_script: false,
            is_library: false,
        };
        let workspace = |targets| {
            let (folder, features) = ("/".into(), Vec::new());
            let package = Package { name: "nudj".to_owned(), folder, features, has_library: true, targets };
            Workspace { root: "/".into(), target: "/t".into(), packages: vec![package] }
        };
        let found = |words: &[&str], workspace: &Workspace| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            client_place(&Arguments::parse(&words).expect("valid"), workspace)
        };
        let ours = workspace(vec![target("nudj"), target("client")]);
        let place = std::env::var_os(CLIENT).is_none().then(|| PathBuf::from("/t/debug/examples/client"));
        assert_eq!(found(&[], &ours), place);
        assert_eq!(found(&["--", "import"], &ours), place);
        for words in [&["--", "-p", "nudj-tests"][..], &["--", "--release"], &["--", "--cargo-profile=release"]] {
            assert_eq!(found(words, &ours), None, "{words:?}");
        }
        assert_eq!(found(&[], &workspace(vec![target("trial")])), None);
    }

    #[test]
    fn doctests_need_a_library() {
        let package = |name: &str, has_library| Package {
            name: name.to_owned(),
            folder: "/".into(),
            features: Vec::new(),
            has_library,
            targets: Vec::new(),
        };
        let workspace = Workspace {
            root: "/".into(),
            target: "/".into(),
            packages: vec![package("lib", true), package("bin", false)],
        };
        let check = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            has_library(&words, &workspace)
        };
        assert!(check(&["--workspace"]) && check(&["-p", "lib"]));
        assert!(check(&["-plib", "--package=bin"]));
        assert!(!check(&["-p", "bin", "--all-features"]) && !check(&["--package=bin"]));
    }
}
