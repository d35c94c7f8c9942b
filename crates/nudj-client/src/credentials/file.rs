use std::{
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use nudj_tower::credentials::{Credential, CredentialProvider, Fetch};
use parking_lot::Mutex;
use tokio::{
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::ProviderError;

/// Whose turn it is to look. Waited for, so not the lock of data.
type Turn = tokio::sync::Mutex<()>;

/// The longest file that is read as a secret.
const MOST_BYTES: u64 = 64 * 1024;

/// A secret in a file, as Kubernetes and Docker mount it; read again when the file changes.
///
/// The file is looked at every 5 seconds: mounted volumes tell nobody of changes, so there is nothing better to wait for. Symbolic
/// links are followed at each look, so the swap that Kubernetes makes is seen. One line end at the end is not part of the secret.
/// While the file is gone, empty or unreadable, the last good secret serves on. Replace it by renaming another over it: a file that is
/// written in place can be read half.
#[derive(Clone, Debug)]
pub struct FileCredential {
    path: Arc<Path>,
    every: Duration,
    seen: Arc<Mutex<Seen>>,
    /// Held by whatever looks at the file, to its end: nobody can give up a look at a mount that hangs, and each would keep a thread.
    turn: Arc<Turn>,
}

/// What the file was when its secret was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    /// Nobody asked, or not since a change was told: behind a provider that had one. It changes nothing then.
    #[default]
    Never,
    /// `None` where there was no file, or whoever asked has not been answered yet.
    As(Option<Stamp>),
}

/// What of a file changes when its content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl FileCredential {
    /// Reads this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), every: Duration::from_secs(5), seen: Arc::default(), turn: Arc::default() }
    }

    /// How often the file is looked at: 5 s unless set, from 10 ms to 30 s.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        // Longer than the keeper's own round, and the wait would be begun anew before it ends.
        self.every = every.clamp(Duration::from_millis(10), Duration::from_secs(30));
        self
    }
}

impl CredentialProvider for FileCredential {
    fn name(&self) -> &str {
        "file"
    }

    fn fetch(&self) -> Fetch<'_> {
        let path = Arc::clone(&self.path);
        Box::pin(async move {
            {
                let mut seen = self.seen.lock();
                // One who does not wait for the answer has not got it: the file is news to him.
                if *seen == Seen::Never {
                    *seen = Seen::As(None);
                }
            }
            let (stamp, secret) = self.look(move || read(&path)).await?;
            // Also after a failure, which is tried again by itself: a change after it is a change.
            *self.seen.lock() = Seen::As(stamp);
            Ok(secret?)
        })
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                sleep(self.every).await;
                let path = Arc::clone(&self.path);
                let now = self.look(move || std::fs::metadata(&path).ok().as_ref().map(Stamp::of)).await;
                // A file that is gone has nothing to offer; the secret there serves on.
                let Ok(Some(now)) = now else { continue };
                let mut seen = self.seen.lock();
                if let Seen::As(known) = *seen
                    && known != Some(now)
                {
                    // Told once. Where another provider answers instead, nobody asks here, and it would be told at every look.
                    *seen = Seen::Never;
                    return;
                }
            }
        })
    }
}

impl FileCredential {
    /// Looks at the file on a thread that may block, when the look before has ended. Dropping the future ends the wait, not the look.
    async fn look<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        spawn_blocking(move || {
            let found = work();
            drop(turn);
            found
        })
        .await
    }
}

/// The stamp is taken before the content, so that a change between the two is seen at the next look.
fn read(path: &Path) -> (Option<Stamp>, Result<Credential, ProviderError>) {
    let unreadable = |source| ProviderError::Unreadable { path: path.to_owned(), source };
    let not_a_secret = |problem| ProviderError::NotASecret { path: path.to_owned(), problem };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return (None, Err(unreadable(error))),
    };
    let stamp = Some(Stamp::of(&metadata));
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return (stamp, Err(not_a_secret("is not a regular file; name the file itself")));
    }
    let text = match text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return (stamp, Err(not_a_secret("is not UTF-8 text; is it the right file?")));
        }
        Err(error) => return (stamp, Err(unreadable(error))),
    };
    if text.len() as u64 > MOST_BYTES {
        return (stamp, Err(not_a_secret("is longer than 64 KiB; is it the right file?")));
    }
    let secret = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return (stamp, Err(not_a_secret("is empty; write the secret into it")));
    }
    (stamp, Ok(Credential::new(secret)))
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_nobody_asked_says_of_no_change_and_one_that_comes_later_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let waits = Duration::from_secs(600);
        let file = FileCredential::new(&path);
        assert!(tokio::time::timeout(waits, file.changed()).await.is_err());
        fs::write(&path, "key").unwrap();
        assert!(tokio::time::timeout(waits, file.changed()).await.is_err(), "it stands behind one that answers");
        file.fetch().await.unwrap();
        assert!(tokio::time::timeout(waits, file.changed()).await.is_err());
        let later = FileCredential::new(folder.path().join("later"));
        assert!(later.fetch().await.is_err());
        fs::write(folder.path().join("later"), "key").unwrap();
        assert!(tokio::time::timeout(waits, later.changed()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once_until_the_file_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("key"), folder.path().join("next"));
        let change = |content: &str| {
            fs::write(&next, content).unwrap();
            fs::rename(&next, &path).unwrap();
        };
        change("one");
        let waits = Duration::from_secs(600);
        let file = FileCredential::new(&path);
        file.fetch().await.unwrap();
        for content in ["two", "three, longer"] {
            change(content);
            assert!(tokio::time::timeout(waits, file.changed()).await.is_ok());
            assert!(tokio::time::timeout(waits, file.changed()).await.is_err(), "nobody asked for what it told of");
            assert_eq!(file.fetch().await.unwrap().secret().expose_secret(), content);
        }
        // Whoever asked and did not wait for the answer has not got it.
        let unheard = FileCredential::new(&path);
        let turn = unheard.turn.lock().await;
        assert!(tokio_test::task::spawn(unheard.fetch()).poll().is_pending());
        drop(turn);
        assert!(tokio::time::timeout(waits, unheard.changed()).await.is_ok());
    }

    /// A look at a mount that hangs cannot be given up. The keeper drops the wait for it each minute, and begins another.
    #[test]
    fn a_mount_that_hangs_holds_one_thread_however_often_it_is_looked_at() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (let_go, hangs) = std::sync::mpsc::channel::<()>();
        let file = FileCredential::new("/no/such/file");
        runtime.block_on(async {
            // The one thread there is. What comes after it is not begun.
            let hanging = spawn_blocking(move || hangs.recv());
            for _ in 0..5 {
                let mut round = tokio_test::task::spawn(file.changed());
                assert!(round.poll().is_pending());
                tokio::time::advance(file.every).await;
                assert!(round.poll().is_pending());
                let mut asked = tokio_test::task::spawn(file.fetch());
                assert!(asked.poll().is_pending());
            }
            assert!(Arc::strong_count(&file.path) <= 2, "one for the file itself, one for a look");
            drop(let_go);
            let _ = hanging.await;
            assert!(file.fetch().await.is_err(), "looks go on");
        });
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (content, expected) in [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("key\n\n", "key\n")] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).1.unwrap().secret().expose_secret(), expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_said_to_be_none_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for content in [Vec::new(), b"\n".to_vec(), b"canary\xff".to_vec(), b"canary".repeat(20_000)] {
            fs::write(&path, content).unwrap();
            let error = read(&path).1.unwrap_err();
            assert!(matches!(error, ProviderError::NotASecret { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        assert!(matches!(read(folder.path()).1, Err(ProviderError::NotASecret { .. })), "a folder");
        assert!(matches!(read(&folder.path().join("none")).1, Err(ProviderError::Unreadable { .. })));
    }

    #[test]
    fn a_secret_of_the_same_length_is_another_stamp_once_renamed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("key"), folder.path().join("next"));
        fs::write(&path, "one").unwrap();
        fs::write(&next, "two").unwrap();
        let before = read(&path).0;
        assert_eq!(before, read(&path).0);
        fs::rename(&next, &path).unwrap();
        assert_ne!(before, read(&path).0);
    }
}
