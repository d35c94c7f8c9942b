//! Installing Debian packages, without any service of theirs being started.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use super::{lock, report::Report, user};
use crate::{process, signals};

/// Package scripts ask this program whether they may start a service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# Put here by `cargo xtask test` while it installs packages.\nexit 101\n";

/// Installs the packages if it may. The value says why one may still be missing.
pub(super) fn install(
    packages: &[&str],
    allowed: bool,
    folder: &Path,
    report: &mut Report,
) -> Result<Option<String>, String> {
    if packages.is_empty() {
        return Ok(None);
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    let why_not = if !allowed {
        Some("--no-install was given")
    } else if process::find_program("apt-get").is_none() {
        Some("there is no apt-get here")
    } else if !user::is_root() {
        Some("only root may install it")
    } else {
        None
    };
    if let Some(why_not) = why_not {
        report.notes.push(format!("what is missing comes with, as root: {by_hand}"));
        return Ok(Some(format!("it is missing, and {why_not}")));
    }
    let _lock = lock::hold(Path::new("/run/nudj-xtask.lock"))?;
    let _policy = match Policy::put(Path::new(POLICY)) {
        Ok(policy) => policy,
        Err(error) => return Ok(Some(error)),
    };
    let log = folder.join("apt.log");
    eprintln!("xtask: installing {} (log: {})", packages.join(", "), log.display());
    if let Err(error) = process::run_logged(&mut apt_get("update"), &log) {
        // The lists may be good enough as they are.
        report.notes.push(error);
    }
    signals::check()?;
    let mut failed = None;
    if process::run_logged(&mut install_command(packages), &log).is_ok() {
        report.installed.push(format!("{} (apt)", packages.join(", ")));
    } else {
        // One package that this release does not have must not keep the others away.
        for package in packages {
            signals::check()?;
            match process::run_logged(&mut install_command(&[package]), &log) {
                Ok(()) => report.installed.push(format!("{package} (apt)")),
                Err(error) => failed = Some(error),
            }
        }
    }
    signals::check()?;
    Ok(failed)
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = apt_get("install");
    command.args(["-y", "--no-install-recommends"]).args(packages);
    command
}

fn apt_get(action: &str) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args([action, "-q"])
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(["-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // For package scripts of the old kind: there, services start in no such level.
        .env("RUNLEVEL", "1");
    command
}

/// Takes our policy away again when it is dropped.
struct Policy {
    ours: Option<PathBuf>,
}

impl Policy {
    /// Puts our policy in place unless there is one that forbids starting services already.
    fn put(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut options = fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                let policy = Self { ours: Some(path.to_path_buf()) };
                file.write_all(POLICY_TEXT.as_bytes()).map_err(failed)?;
                // Whatever the umask is, the package scripts must be able to run it.
                file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
                Ok(policy)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_to_string(path).is_ok_and(|text| text == POLICY_TEXT) {
                    // Left by a run that was killed; the lock says that none is at work.
                    return Ok(Self { ours: Some(path.to_path_buf()) });
                }
                match process::run(Command::new(path).args(["redis-server", "start"])) {
                    Ok(101) => Ok(Self { ours: None }),
                    _ => Err(format!("it is missing, and {} would let its package start a service", path.display())),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("xtask: cannot remove {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(text: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy-rc.d");
        if let Some(text) = text {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        (folder, path)
    }

    #[test]
    fn our_policy_forbids_and_goes_away_again() {
        for before in [None, Some(POLICY_TEXT)] {
            let (_folder, path) = folder_with(before);
            let policy = Policy::put(&path).expect("put");
            assert_eq!(process::run(Command::new(&path).arg("x")), Ok(101));
            drop(policy);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_policy_that_forbids_stays() {
        let (_folder, path) = folder_with(Some("#!/bin/sh\nexit 101\n"));
        drop(Policy::put(&path).expect("it forbids"));
        assert!(path.exists());
    }

    #[test]
    fn nothing_is_installed_where_a_policy_lets_services_start() {
        let (_folder, path) = folder_with(Some("#!/bin/sh\nexit 0\n"));
        assert!(Policy::put(&path).is_err());
        assert!(path.exists());
    }

    #[test]
    fn what_is_missing_and_may_not_be_installed_is_said() {
        let mut report = Report::default();
        let why = install(&["redis-server"], false, Path::new("/"), &mut report);
        assert_eq!(why, Ok(Some("it is missing, and --no-install was given".to_owned())));
        assert!(report.notes[0].ends_with("apt-get install --no-install-recommends redis-server"));
        assert_eq!(install(&[], true, Path::new("/"), &mut report), Ok(None));
    }
}
