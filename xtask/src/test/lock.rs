//! One at a time, where two runs at once would harm each other.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use crate::signals;

/// Waits until no other run holds the file. The lock goes with the value.
pub(super) fn hold(path: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create(path).map_err(failed)?;
    let mut waited = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if !waited {
            eprintln!("xtask: another run holds {}; waiting for it", path.display());
            waited = true;
        }
        signals::check()?;
        signals::pause(Duration::from_millis(200));
    }
}
