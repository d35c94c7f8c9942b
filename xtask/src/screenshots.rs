//! `cargo xtask screenshots`: the dashboard's test takes them; the README's is one of them.

use std::fs;

use crate::{test, workspace::Workspace};

const TEST: &str = "an_endpoint_that_dies_is_shown_open_within_two_seconds";
const SHOWN: &str = "dashboard-failing-1280-dark.png";

/// Runs the test that takes the screenshots, and puts the README's in its place.
pub(crate) fn run() -> Result<u8, String> {
    let arguments = ["--", "-p", "nudj-observe", TEST].map(str::to_owned);
    let code = test::run(&arguments)?;
    if code == 0 {
        let Workspace { root, target, .. } = Workspace::read()?;
        let folder = std::env::var_os("NUDJ_SCREENSHOTS").filter(|folder| !folder.is_empty());
        let taken = folder.map_or_else(|| target.join("screenshots"), Into::into).join(SHOWN);
        fs::copy(&taken, root.join("docs/dashboard.png")).map_err(|error| format!("{}: {error}", taken.display()))?;
    }
    Ok(code)
}
