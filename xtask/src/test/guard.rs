//! Processes that end with this one, even when it is killed and can clean up nothing.

use std::{ffi::OsStr, process::Command};

use super::user::User;
use crate::process;

/// A command that gets `signal` when this process dies, and runs as `user` if one is given. The signal is
/// sent when the thread that started it ends, so it must be started by the main thread. Where `setpriv`
/// is missing (it is part of every Linux, of nothing else) only the user matters.
pub(super) fn command(program: &OsStr, signal: &str, user: Option<User>) -> Result<Command, String> {
    let Some(setpriv) = process::find_program("setpriv") else {
        return match user {
            None => Ok(Command::new(program)),
            Some(_) => Err("setpriv is missing, so it cannot run as another user".to_owned()),
        };
    };
    let mut command = Command::new(setpriv);
    command.arg("--pdeathsig").arg(signal);
    if let Some(User { user, group }) = user {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
    }
    command.arg("--").arg(program);
    Ok(command)
}
