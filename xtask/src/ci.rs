//! `cargo xtask ci`: the steps stand in `.ci/run` alone, so that here and CI cannot differ.

use std::process::Command;

use crate::{process, workspace::Workspace};

/// Runs `.ci/run` with the given steps; none means all.
pub(crate) fn run(steps: &[String]) -> Result<u8, String> {
    let workspace = Workspace::read()?;
    let mut command = Command::new("bash");
    command.arg(".ci/run").args(steps).current_dir(&workspace.root);
    process::run(&mut command)
}
