//! The run's temporary folder. It lies in the system's folder for such, since other users (PostgreSQL's)
//! must reach it, and carries the process id, so that the next run can remove one that was left.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const PREFIX: &str = "nudj-xtask-";

pub(super) struct Folder {
    path: PathBuf,
    id: String,
}

impl Folder {
    pub(super) fn create() -> Result<Self, String> {
        let above = std::env::temp_dir();
        remove_abandoned(&above);
        let process = std::process::id();
        for attempt in 0..1000 {
            let id = format!("{process}-{attempt}");
            let path = above.join(format!("{PREFIX}{id}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    // Others may pass through, not list.
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o711))
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                    return Ok(Self { path, id });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        Err(format!("{}: no free name for a folder", above.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Names this run.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn remove(self) -> Result<(), String> {
        fs::remove_dir_all(&self.path).map_err(|error| format!("cannot remove {}: {error}", self.path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only a panic or an early error still finds it here.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of runs that were killed. Those of other users stay: removing them fails.
fn remove_abandoned(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')).map(|(process, _)| process);
        let is_abandoned = |process: &str| {
            // Without /proc nobody knows who lives.
            Path::new("/proc/self").exists()
                && process.parse::<u32>().is_ok()
                && !Path::new("/proc").join(process).exists()
        };
        if process.is_some_and(is_abandoned) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_runs_are_removed_and_no_others() {
        let above = tempfile::tempdir().expect("a folder");
        let alive = format!("{PREFIX}{}-0", std::process::id());
        // Above the largest process id that Linux gives.
        for name in [&alive, "nudj-xtask-4194305-0", "nudj-xtask-notes-1", "other-4194305-0"] {
            fs::create_dir(above.path().join(name)).expect("made");
        }
        remove_abandoned(above.path());
        assert!(above.path().join(alive).exists());
        assert!(above.path().join("nudj-xtask-notes-1").exists());
        assert!(above.path().join("other-4194305-0").exists());
        assert!(!above.path().join("nudj-xtask-4194305-0").exists());
    }

    #[test]
    fn two_folders_of_one_process_differ() {
        let (a, b) = (Folder::create().expect("made"), Folder::create().expect("made"));
        assert_ne!(a.path(), b.path());
        let path = a.path().to_path_buf();
        a.remove().expect("removed");
        assert!(!path.exists() && b.path().exists());
    }
}
