//! `cargo xtask features`: each crate without default features, and with each feature alone. A warning
//! counts as a failure: an import that only another feature uses is one.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    clock, process, signals,
    workspace::{self, Package, Workspace},
};

pub(crate) fn run() -> Result<u8, String> {
    let workspace = Workspace::read()?;
    fs::create_dir_all(workspace.target.join("xtask"))
        .map_err(|error| format!("{}: {error}", workspace.target.display()))?;
    let log = workspace.target.join("xtask/features.log");
    let mut checked = 0_u32;
    let mut failed = Vec::new();
    for package in &workspace.packages {
        for selection in selections(package) {
            signals::check()?;
            let mut command = checking(package, &selection);
            command.current_dir(&workspace.root);
            let name = named(package, &selection);
            let ((done, text), time) = clock::timed(|| check(&mut command, &log));
            checked += 1;
            let word = if done? && !has_warning(&text) { "ok" } else { "FAILED" };
            println!("{word:6} {:6.1} s  {name}", time.as_secs_f64());
            if word != "ok" {
                eprint!("{text}");
                failed.push(name);
            }
        }
    }
    println!("features: {checked} selections checked, {} failed", failed.len());
    for name in &failed {
        println!("  {name}");
    }
    Ok(u8::from(!failed.is_empty()))
}

/// The check of one selection. Without colours, whatever the environment says: [`has_warning`] reads what it prints.
fn checking(package: &Package, selection: &[String]) -> Command {
    let mut command = workspace::cargo();
    command
        .args(["check", "--quiet", "--color", "never", "--package", &package.name, "--no-default-features"])
        .args(selection);
    command
}

fn check(command: &mut Command, log: &Path) -> (Result<bool, String>, String) {
    let file = match fs::File::create(log) {
        Ok(file) => file,
        Err(error) => return (Err(format!("{}: {error}", log.display())), String::new()),
    };
    let _ = std::io::stdout().flush();
    let done = process::run(command.stdout(Stdio::null()).stderr(file)).map(|code| code == 0);
    (done, fs::read_to_string(log).unwrap_or_default())
}

/// The arguments that pick features, one list per check: none, then each alone.
fn selections(package: &Package) -> Vec<Vec<String>> {
    let alone = package.features.iter().map(|name| vec!["--features".to_owned(), name.clone()]);
    std::iter::once(Vec::new()).chain(alone).collect()
}

fn named(package: &Package, selection: &[String]) -> String {
    let words = if selection.is_empty() { "no features".to_owned() } else { selection.join(" ") };
    format!("{}: {words}", package.name)
}

fn has_warning(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("warning:") || line.starts_with("warning["))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_checked_alone_and_so_is_none() {
        let package = Package {
            name: "p".to_owned(),
            folder: "/p".into(),
            features: vec!["default".to_owned(), "retry".to_owned()],
            has_library: true,
            targets: Vec::new(),
        };
        let names: Vec<String> = selections(&package).iter().map(|s| named(&package, s)).collect();
        assert_eq!(names, ["p: no features", "p: --features default", "p: --features retry"]);
        let command = checking(&package, &[]);
        let arguments: Vec<_> = command.get_args().collect();
        assert!(arguments.windows(2).any(|pair| pair == ["--color", "never"]), "{arguments:?}");
    }

    #[test]
    fn a_warning_is_seen_wherever_it_stands() {
        assert!(has_warning("   Compiling\nwarning: unused import: `x`\n"));
        assert!(!has_warning("note: a warning: in a text\n"));
    }
}
