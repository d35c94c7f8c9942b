use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{Done, SecretStore, StoredKeys};
use crate::credentials::ProviderError;

/// Keys in a file that only its owner may read: written beside, synced, and renamed over, so that it is always whole.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: Arc<Path>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    current: String,
    #[serde(default)]
    previous: Option<String>,
    #[serde(default)]
    rotated_at: Option<u64>,
    #[serde(default)]
    begun: bool,
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
            Ok(StoredKeys {
                current: written.current.into(),
                previous: written.previous.map(SecretString::from),
                rotated_at: written
                    .rotated_at
                    .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
                begun: written.begun,
            })
        })
    }

    fn store(&self, keys: StoredKeys) -> Done<'_, ()> {
        let path = Arc::clone(&self.path);
        Box::pin(async move { Ok(spawn_blocking(move || write(&path, &keys)).await??) })
    }
}

fn write(path: &Path, keys: &StoredKeys) -> io::Result<()> {
    let written = Written {
        current: keys.current.expose_secret().to_owned(),
        previous: keys.previous.as_ref().map(|key| key.expose_secret().to_owned()),
        rotated_at: keys.rotated_at.and_then(|at| Some(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())),
        begun: keys.begun,
    };
    let beside = path.with_extension("new");
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
