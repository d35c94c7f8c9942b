//! Who runs this, and who shall run PostgreSQL, which refuses to run as root.

use std::process::Command;

use crate::process;

/// A user without rights, for a server that must not run as root.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct User {
    pub(super) user: u32,
    pub(super) group: u32,
}

pub(super) fn is_root() -> bool {
    number(&["-u"]) == Some(0)
}

/// `postgres` where it exists, otherwise `nobody`.
pub(super) fn unprivileged() -> Option<User> {
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| Some(User { user: number(&["-u", name])?, group: number(&["-g", name])? }))
}

fn number(arguments: &[&str]) -> Option<u32> {
    process::ask(Command::new("id").args(arguments))?.trim().parse().ok()
}
