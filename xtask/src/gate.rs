//! `cargo xtask gate`: allocations and instructions per call against the recorded figures. Release build, since that is what users run.

use std::process::Command;

use crate::{
    process, test,
    workspace::{self, Workspace},
};

/// `check` unless told `show` or `record`.
pub(crate) fn run(rest: &[String]) -> Result<u8, String> {
    let command = match rest {
        [] => "check",
        [one] if ["check", "show", "record"].contains(&one.as_str()) => one,
        _ => return Err("usage: cargo xtask gate [check | show | record]".to_owned()),
    };
    if process::find_program("valgrind").is_none()
        && let Some(why) = test::install("valgrind")?
    {
        eprintln!("xtask: valgrind: {why}");
    }
    let workspace = Workspace::read()?;
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--package", "nudj-benches", "--bins"]).current_dir(&workspace.root);
    let code = process::run(&mut build)?;
    if code != 0 {
        return Ok(code);
    }
    process::run(Command::new(workspace.target.join("release/count")).arg(command).current_dir(&workspace.root))
}
