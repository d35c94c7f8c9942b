//! `cargo xtask check-tests`: a test file that no `mod` line names is never compiled, and nothing else
//! would say so. Every `.rs` file in a package's source folders must belong to one of its targets, and
//! a target with tests in it must be one that `cargo test` runs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    modules,
    workspace::{Package, Workspace},
};

const FOLDERS: [&str; 4] = ["src", "tests", "examples", "benches"];

pub(crate) fn run() -> Result<u8, String> {
    let workspace = Workspace::read()?;
    let mut checked = 0;
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        let (files, found) = check(package)?;
        checked += files;
        complaints.extend(found);
    }
    let root = format!("{}/", workspace.root.display());
    for complaint in &complaints {
        println!("{}", complaint.replace(&root, ""));
    }
    println!("check-tests: {checked} files checked, {} complaints", complaints.len());
    Ok(u8::from(!complaints.is_empty()))
}

fn check(package: &Package) -> Result<(usize, Vec<String>), String> {
    let mut complaints = Vec::new();
    let mut built = BTreeSet::new();
    for target in &package.targets {
        let files = reachable(&target.file)?;
        if !target.tested && !target.is_build_script {
            for file in &files {
                if modules::has_tests(&read(file)?) {
                    complaints.push(format!(
                        "{}: has tests, but `cargo test` does not run target `{}` (test = false)",
                        file.display(),
                        target.name,
                    ));
                }
            }
        }
        built.extend(files);
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        list(&package.folder.join(folder), &mut files)?;
    }
    for file in &files {
        if !built.contains(file) {
            complaints.push(format!("{}: belongs to no target of `{}`", file.display(), package.name));
        }
    }
    Ok((files.len(), complaints))
}

/// All files that compile into the target that starts with `root`.
fn reachable(root: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(root.to_path_buf(), true)];
    while let Some((file, is_root)) = open.pop() {
        if !file.is_file() || !seen.insert(file.clone()) {
            continue;
        }
        let named = modules::named_files(&file, &read(&file)?, is_root);
        open.extend(named.into_iter().map(|file| (file, false)));
    }
    Ok(seen)
}

/// Adds every `.rs` file below the folder, leaving out packages inside it.
pub(crate) fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if !folder.is_dir() || folder.join("Cargo.toml").is_file() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| format!("{}: {error}", folder.display()))?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

pub(crate) fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Target;

    fn package(files: &[(&str, &str)], tested: bool) -> (tempfile::TempDir, Package) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("below the folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        let target = |name: &str, file: &str, tested| Target {
            name: name.to_owned(),
            file: folder.path().join(file),
            tested,
            is_build_script: false,
            is_library: true,
        };
        let package = Package {
            name: "p".to_owned(),
            folder: folder.path().to_path_buf(),
            features: Vec::new(),
            has_library: true,
            targets: vec![target("p", "src/lib.rs", tested), target("contract", "tests/contract/main.rs", true)],
        };
        (folder, package)
    }

    #[test]
    fn a_test_file_that_no_module_line_names_is_an_orphan() {
        let (_folder, package) = package(
            &[
                ("src/lib.rs", "mod a;"),
                ("src/a/mod.rs", "#[cfg(test)] mod tests;"),
                ("src/a/tests.rs", "#[test] fn t() {}"),
                ("tests/contract/main.rs", "mod retry; // mod lost;"),
                ("tests/contract/retry.rs", ""),
                ("tests/contract/lost.rs", ""),
                ("tests/inner/Cargo.toml", ""),
                ("tests/inner/other.rs", ""),
            ],
            true,
        );
        let (files, complaints) = check(&package).expect("checked");
        assert_eq!(files, 6);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("tests/contract/lost.rs: belongs to no target"));
    }

    #[test]
    fn tests_in_a_target_that_is_not_run_are_seen() {
        let files = [
            ("src/lib.rs", "#[cfg(test)] mod tests;"),
            ("src/tests.rs", "#[test] fn t() {}"),
            ("tests/contract/main.rs", ""),
        ];
        let (_folder, run) = package(&files, true);
        assert_eq!(check(&run), Ok((3, Vec::new())));
        let (_folder, not_run) = package(&files, false);
        let (_, complaints) = check(&not_run).expect("checked");
        assert!(complaints[0].contains("src/tests.rs: has tests"), "{complaints:?}");
    }
}
