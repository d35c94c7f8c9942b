//! The file that outlives a kill -9.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Totals, progress::Settled};
use crate::Error;

const WHAT: &str = "checkpoint file";
const VERSION: u32 = 1;

/// What the largest file of a usual run takes.
const ROOM: usize = 16 * 1024;

/// Where a run writes what is settled. Held by one run at a time, by a lock on a file beside it with `.lock` added to its name.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    source: String,
    /// Locked as long as it is open.
    _lock: File,
}

/// What stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    pub(super) version: u32,
    /// What the records come from, so that no other input is taken for it.
    pub(super) source: String,
    pub(super) settled: Settled,
    /// No call was made for this record or a later one.
    pub(super) started_until: u64,
    pub(super) totals: Totals,
    pub(super) finished: bool,
}

impl CheckpointFile {
    /// Opens the checkpoint, which need not be there yet. `source` says what the records are, such as a hash of the input: a run
    /// refuses to go on with another.
    ///
    /// # Errors
    /// [`Error::Store`] when the folder cannot be written to or the disk is full, when there is a checkpoint that cannot be read, or
    /// another run holds it.
    pub fn open(path: impl Into<PathBuf>, source: impl Into<String>) -> Result<Self, Error> {
        let path = path.into();
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside(&path, ".lock"));
        let lock = lock.map_err(|error| Error::store(WHAT, error))?;
        match lock.try_lock() {
            Ok(()) => {
                // What cannot be written is better known before the first call than after it.
                let room = File::create(beside(&path, ".new")).and_then(|mut file| file.write_all(&[b' '; ROOM]));
                room.map_err(|error| Error::store(WHAT, error))?;
                // Nor does one that cannot be read become readable later.
                match File::open(&path).and_then(|mut file| file.read(&mut [0])) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::store(WHAT, error)),
                    _ => Ok(Self { path, source: source.into(), _lock: lock }),
                }
            }
            Err(TryLockError::WouldBlock) => Err(Error::store(WHAT, "another run holds it; wait for its end")),
            Err(TryLockError::Error(error)) => Err(Error::store(WHAT, error)),
        }
    }

    /// `None` when there is none yet.
    pub(super) fn load(&self) -> Result<Option<Checkpoint>, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::store(WHAT, error)),
        };
        let found: Checkpoint =
            serde_json::from_slice(&text).map_err(|error| Error::corrupt(WHAT, format!("{error}; was it edited?")))?;
        if found.version != VERSION {
            return Err(Error::corrupt(WHAT, format!("it is of version {}, not {VERSION}", found.version)));
        }
        if found.source != self.source {
            return Err(Error::corrupt(
                WHAT,
                "it belongs to another input, or the input was changed since; name another checkpoint file to begin anew",
            ));
        }
        Ok(Some(found))
    }

    /// Replaces the file: after a crash it is the old one or the new one, whole.
    pub(super) fn save(&self, mut checkpoint: Checkpoint) -> Result<(), Error> {
        checkpoint.version = VERSION;
        checkpoint.source.clone_from(&self.source);
        let text = serde_json::to_vec(&checkpoint).map_err(|error| Error::store(WHAT, error))?;
        replace(&self.path, &text).map_err(|error| Error::store(WHAT, error))
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let aside = beside(path, ".new");
    let mut file = File::create(&aside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    // The rename itself must be on the disk too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_another_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("import.checkpoint");
        let file = CheckpointFile::open(&path, "a").unwrap();
        assert_eq!(file.load().unwrap(), None);
        let saved = Checkpoint { started_until: 7, ..Checkpoint::default() };
        file.save(saved).unwrap();
        assert_eq!(file.load().unwrap().unwrap().started_until, 7);
        assert!(CheckpointFile::open(&path, "a").is_err(), "one run at a time");
        drop(file);
        let error = CheckpointFile::open(&path, "b").unwrap().load().unwrap_err();
        assert!(error.to_string().contains("another input"), "{error}");
        fs::write(&path, b"{").unwrap();
        assert!(matches!(CheckpointFile::open(&path, "a").unwrap().load(), Err(Error::Corrupt { .. })));
        fs::remove_file(beside(&path, ".new")).unwrap();
        fs::create_dir(beside(&path, ".new")).unwrap();
        assert!(matches!(CheckpointFile::open(&path, "a"), Err(Error::Store { .. })), "before the first call");
    }
}
