//! `cargo xtask test`: finds or installs what the tests need, starts private servers, runs every test,
//! stops the servers and says what it did. Whatever a variable `NUDJ_TEST_…` names already is used as
//! it is.

mod apt;
mod arguments;
mod caches;
mod folder;
mod guard;
mod leftovers;
mod lock;
mod probe;
mod recipes;
mod report;
mod runner;
mod server;
mod tools;
mod user;

use std::{collections::BTreeMap, ffi::OsString};

use self::{arguments::Arguments, folder::Folder, report::Report, server::Server, tools::Tools};
use crate::{
    clock, signals,
    workspace::{Workspace, in_ci},
};

/// What the tests find in their environment.
type Variables = BTreeMap<&'static str, OsString>;

pub(crate) fn run(words: &[String]) -> Result<u8, String> {
    let arguments = Arguments::parse(words)?;
    let workspace = Workspace::read()?;
    let folder = Folder::create()?;
    let mut report = Report::default();
    let done = set_up_and_run(&arguments, &workspace, &folder, &mut report);
    for name in leftovers::stop(folder.id()) {
        report.notes.push(format!("a test left {name} running; it was stopped"));
    }
    if let Err(error) = folder.remove() {
        report.notes.push(error);
    }
    report.print();
    let code = done?;
    if code == 0 && in_ci() && !report.left_out.is_empty() {
        return Err("the tests passed, but in CI nothing may be left out; see `left out` above".to_owned());
    }
    Ok(code)
}

/// Installs one Debian package for another command, if it may; the value says why not.
pub(crate) fn install(package: &str) -> Result<Option<String>, String> {
    let folder = Folder::create()?;
    let mut report = Report::default();
    let why = apt::install(&[package], true, folder.path(), &mut report);
    folder.remove()?;
    for line in report.installed.iter().chain(&report.notes) {
        eprintln!("xtask: {line}");
    }
    why
}

fn set_up_and_run(
    arguments: &Arguments,
    workspace: &Workspace,
    folder: &Folder,
    report: &mut Report,
) -> Result<u8, String> {
    let mut variables = Variables::from([("NUDJ_TEST_RUN", folder.id().into())]);
    let (running, time) = clock::timed(|| {
        let tools = Tools::provide(arguments.install, &workspace.target, &mut variables, report)?;
        let recipes = recipes::all(&tools, report);
        start(recipes, folder, &mut variables, report)
    });
    report.times.push(("setup", time));
    // Dropped, and so stopped, however this function ends.
    let _running = running?;
    signals::check()?;
    runner::run(arguments, workspace, &variables, report)
}

/// Starts all servers before it waits for the first, so that they boot side by side.
fn start(
    recipes: Vec<recipes::Recipe>,
    folder: &Folder,
    variables: &mut Variables,
    report: &mut Report,
) -> Result<Vec<Server>, String> {
    let mut running = Vec::new();
    let mut begun = Vec::new();
    for recipe in recipes {
        signals::check()?;
        match server::begin(&recipe, folder) {
            Ok(server) => begun.push((recipe, server)),
            Err(error) => report.leave_out(recipe.name, Some(recipe.variable), &error),
        }
    }
    for (recipe, server) in begun {
        match server::ready(&recipe, server, folder) {
            Ok(server) => {
                let port = server.port();
                report.servers.push(format!("{} {} on port {port}", recipe.name, recipe.version));
                variables.insert(recipe.variable, (recipe.url)(port).into());
                running.push(server);
            }
            Err(error) => {
                signals::check()?;
                report.leave_out(recipe.name, Some(recipe.variable), &error);
            }
        }
    }
    Ok(running)
}
