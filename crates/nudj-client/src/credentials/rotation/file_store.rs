use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{Done, Revision, SecretStore, StoredKeys, written::Written};
use crate::credentials::ProviderError;

/// Keys in a file that only its owner may read: written beside, synced, and renamed over, so that it is always whole.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: Arc<Path>,
}

impl FileStore {
    /// Keeps keys in this file. `{"current":"…"}` is enough to begin with.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into() }
    }
}

impl SecretStore for FileStore {
    fn name(&self) -> &str {
        "file store"
    }

    fn load(&self) -> Done<'_, StoredKeys> {
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            let bytes = spawn_blocking({
                let path = Arc::clone(&path);
                move || fs::read(&path)
            })
            .await?
            .map_err(|source| ProviderError::Unreadable { path: path.to_path_buf(), source })?;
            // The source is left out: it would show what stands there.
            let written: Written = serde_json::from_slice(&bytes).map_err(|_| ProviderError::NotASecret {
                path: path.to_path_buf(),
                problem: "is not a key store; write {\"current\":\"…\"} into it",
            })?;
            Ok(written.into_keys(Revision::default()))
        })
    }

    fn store(&self, keys: StoredKeys) -> Done<'_, Revision> {
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            spawn_blocking(move || write(&path, &keys)).await??;
            Ok(Revision::default())
        })
    }
}

fn write(path: &Path, keys: &StoredKeys) -> io::Result<()> {
    let written = Written::of(keys);
    // Added to the whole name: `keys.new` must not be its own copy, nor two stores share one.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // Left over from a crash, it may have other rights than those given at its making.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(&serde_json::to_vec(&written)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_store_is_written_over_the_file_of_another_or_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (folder.path().join("keys.new"), folder.path().join("keys.json"));
        fs::write(&store, r#"{"current":"one"}"#).unwrap();
        write(&other, &StoredKeys::new("two".to_owned())).unwrap();
        assert_eq!(fs::read_to_string(&store).unwrap(), r#"{"current":"one"}"#);
        assert!(fs::read_to_string(&other).unwrap().contains("two"));
    }
}
