//! `cargo xtask screenshots`: the dashboard's test takes them; the README's is one of them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{test, workspace::Workspace};

const TEST: &str = "an_endpoint_that_dies_is_shown_open_within_two_seconds";
const SHOWN: &str = "dashboard-failing-1280-dark.png";

/// Runs the test that takes the screenshots, and puts the README's in its place.
pub(crate) fn run() -> Result<u8, String> {
    let Workspace { root, target, .. } = Workspace::read()?;
    let folder = std::env::var_os("NUDJ_SCREENSHOTS").filter(|folder| !folder.is_empty());
    let taken = folder.map_or_else(|| target.join("screenshots"), PathBuf::from).join(SHOWN);
    take(&taken, &root.join("docs/dashboard.png"), || test::run(&["--", "-p", "nudj-observe", TEST].map(str::to_owned)))
}

/// Copies what `take` leaves at `taken` to `shown`. One of an earlier run goes first: without a browser the test leaves itself out, and
/// the old picture would pass for a new one.
fn take(taken: &Path, shown: &Path, take: impl FnOnce() -> Result<u8, String>) -> Result<u8, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", taken.display());
    match fs::remove_file(taken) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let code = take()?;
    if code == 0 {
        if !taken.exists() {
            return Err(format!("{}: no picture was taken; is Chromium installed?", taken.display()));
        }
        fs::copy(taken, shown).map_err(failed)?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_an_earlier_run_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let (taken, shown) = (folder.path().join("taken.png"), folder.path().join("shown.png"));
        fs::write(&taken, "old").expect("written");
        let error = take(&taken, &shown, || Ok(0)).expect_err("the test left itself out");
        assert!(error.contains("no picture was taken") && !shown.exists(), "{error}");
        let write = || fs::write(&taken, "new").map(|()| 0).map_err(|error| error.to_string());
        assert_eq!(take(&taken, &shown, write), Ok(0));
        assert_eq!(fs::read_to_string(&shown).expect("copied"), "new");
        assert_eq!(take(&taken, &shown, || Ok(1)), Ok(1));
        assert_eq!(fs::read_to_string(&shown).expect("there"), "new", "a failed run leaves it");
    }
}
