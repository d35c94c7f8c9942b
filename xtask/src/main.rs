//! The project's own commands: `cargo xtask <command>`.

mod ci;
mod clock;
mod features;
mod gate;
mod modules;
mod names;
mod orphans;
mod process;
mod screenshots;
mod signals;
mod test;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--no-install] [-- <arguments for the test runner>]
                  installs what is missing, starts private servers, runs every test
  ci [step …]     what CI runs (.ci/run), or only the steps named
  gate [check | show | record]
                  counts allocations and instructions per call; fails if a case got worse
  screenshots     takes the dashboard's screenshots, and renews the one in the README
  features        checks each crate without default features and with each feature alone
  check-tests     fails if a source or test file belongs to no target
  lint-names      fails on modules named util, common or helpers; warns of long files
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    if let Err(error) = signals::watch() {
        return failed(&error);
    }
    let done = match command {
        "test" => test::run(rest),
        "ci" => ci::run(rest),
        "gate" => gate::run(rest),
        "screenshots" => no_arguments(command, rest).and_then(|()| screenshots::run()),
        "features" => no_arguments(command, rest).and_then(|()| features::run()),
        "check-tests" => no_arguments(command, rest).and_then(|()| orphans::run()),
        "lint-names" => no_arguments(command, rest).and_then(|()| names::run()),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(0)
        }
        _ => Err(format!("there is no command `{command}`\n\n{USAGE}")),
    };
    match (done, signals::received()) {
        (_, Some(signal)) => {
            eprintln!("xtask: {}", signals::check().err().unwrap_or_default());
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        (Ok(code), None) => ExitCode::from(code),
        (Err(error), None) => failed(&error),
    }
}

fn no_arguments(command: &str, rest: &[String]) -> Result<(), String> {
    match rest.first() {
        Some(extra) => Err(format!("`{command}` takes no argument, but got `{extra}`")),
        None => Ok(()),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("xtask: {error}");
    ExitCode::from(2)
}
