//! npm and Python packages, pinned in `xtask/node` and `xtask/python`, installed once below the target
//! folder. A stamp beside them holds the pins they were installed by.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{lock, report::Report};
use crate::process;

const PACKAGE: &str = include_str!("../../node/package.json");
const PACKAGE_LOCK: &str = include_str!("../../node/package-lock.json");
const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");

type Install = fn(folder: &Path, with: &Path, log: &Path) -> Result<(), String>;

/// A folder of packages that is made when it is missing or made by other pins.
pub(super) struct Cache {
    name: &'static str,
    variable: &'static str,
    /// What must be there to make it.
    needs: &'static str,
    folder: PathBuf,
    stamp: String,
    /// What the tests are given, inside the folder.
    result: &'static str,
    install: Install,
}

pub(super) fn node(target: &Path) -> Cache {
    Cache {
        name: "npm packages",
        variable: "NUDJ_TEST_NODE_MODULES",
        needs: "npm",
        folder: target.join("node"),
        stamp: format!("{PACKAGE}{PACKAGE_LOCK}"),
        result: "node_modules",
        install: install_node,
    }
}

pub(super) fn venv(target: &Path) -> Cache {
    Cache {
        name: "Python packages",
        variable: "NUDJ_TEST_PYTHON",
        needs: "python3 with venv",
        folder: target.join("venv"),
        stamp: REQUIREMENTS.to_owned(),
        result: "bin/python",
        install: install_venv,
    }
}

impl Cache {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether nothing needs to be installed.
    pub(super) fn is_current(&self) -> bool {
        let stamp = fs::read_to_string(self.folder.join("stamp"));
        // A virtual environment's Python is a link, which dangles when the system's was replaced.
        stamp.is_ok_and(|stamp| stamp == self.stamp) && self.folder.join(self.result).exists()
    }

    /// Where the packages lie, after they were installed if need be.
    pub(super) fn provide(&self, install: bool, with: Option<&Path>, report: &mut Report) -> Result<PathBuf, String> {
        let result = self.folder.join(self.result);
        if self.is_current() {
            return Ok(result);
        }
        if !install {
            return Err("they are missing, and --no-install was given".to_owned());
        }
        let with = with.ok_or_else(|| format!("{} is missing", self.needs))?;
        let _lock = lock::hold(&self.folder.with_extension("lock"))?;
        if self.is_current() {
            return Ok(result);
        }
        let failed = |error: std::io::Error| format!("{}: {error}", self.folder.display());
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(failed)?;
        }
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let log = self.folder.with_extension("log");
        eprintln!("xtask: installing {} (log: {})", self.name, log.display());
        (self.install)(&self.folder, with, &log)?;
        fs::write(self.folder.join("stamp"), &self.stamp).map_err(failed)?;
        report.installed.push(format!("{} ({})", self.name, self.folder.display()));
        Ok(result)
    }
}

fn install_node(folder: &Path, npm: &Path, log: &Path) -> Result<(), String> {
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", PACKAGE_LOCK)] {
        fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    let mut command = Command::new(npm);
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--fetch-retries=3", "--fetch-timeout=60000"])
        .current_dir(folder);
    process::run_logged(&mut command, log)
}

fn install_venv(folder: &Path, python: &Path, log: &Path) -> Result<(), String> {
    process::run_logged(Command::new(python).args(["-m", "venv"]).arg(folder), log)?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let mut command = Command::new(folder.join("bin/python"));
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r"]).arg(&requirements);
    process::run_logged(&mut command, log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(target: &Path, stamp: &str, install: Install) -> Cache {
        Cache { stamp: stamp.to_owned(), result: "made", install, ..node(target) }
    }

    fn make(folder: &Path, _with: &Path, _log: &Path) -> Result<(), String> {
        fs::write(folder.join("made"), "").map_err(|error| error.to_string())
    }

    fn fail(_folder: &Path, _with: &Path, _log: &Path) -> Result<(), String> {
        Err("no network".to_owned())
    }

    #[test]
    fn packages_are_installed_once_and_again_when_the_pins_change() {
        let target = tempfile::tempdir().expect("a folder");
        let mut report = Report::default();
        let with = Some(Path::new("npm"));
        let made = target.path().join("node/made");
        let first = cache(target.path(), "1", make);
        assert_eq!(first.provide(true, with, &mut report), Ok(made.clone()));
        // Nothing is needed any more, not even npm.
        assert_eq!(cache(target.path(), "1", fail).provide(false, None, &mut report), Ok(made));
        assert_eq!(report.installed.len(), 1);
        let changed = cache(target.path(), "2", fail).provide(true, with, &mut report);
        assert_eq!(changed, Err("no network".to_owned()));
        assert!(!first.is_current(), "a half-made folder counts for nothing");
    }

    #[test]
    fn what_keeps_packages_away_is_said() {
        let target = tempfile::tempdir().expect("a folder");
        let mut report = Report::default();
        let cache = cache(target.path(), "1", make);
        let missing = cache.provide(true, None, &mut report);
        assert_eq!(missing, Err("npm is missing".to_owned()));
        let forbidden = cache.provide(false, Some(Path::new("npm")), &mut report);
        assert!(forbidden.is_err_and(|error| error.contains("--no-install")));
    }

    #[test]
    fn every_pin_is_exact_and_no_registry_is_named() {
        assert!(!PACKAGE_LOCK.contains("\"resolved\""));
        assert!(!PACKAGE.contains(['^', '~']), "{PACKAGE}");
        let pins = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        for pin in pins {
            assert!(pin.contains("=="), "{pin}");
        }
    }
}
