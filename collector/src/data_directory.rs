//! The data directory: one process at a time, and the collector's own key.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use afferent_host::disk::FsDisk;
use afferent_host::key::{self, KeyError, NewKey, parse_public};
use afferent_host::lock::{DirectoryLock, LockError, holder_of};
use afferent_host::{files, hex};
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::sign::{Identity, PublicKey};

const LOCK: &str = "collector.lock";
const KEY: &str = "collector.key";
/// The public half in hexadecimal, for verifiers.
const PUBLIC_KEY: &str = "collector.pub";
/// Endorsements in hexadecimal digits, one a line.
const ENDORSEMENTS: &str = "collector.endorsements";

/// A data directory that no other process uses while this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: DirectoryLock,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// It cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A system call fails.
    #[error("{what} failed: {error}; check the directory's permissions and its disk")]
    Io {
        /// The attempted operation, with the path.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// The directory has no log, for which a key could endorse its successor.
    #[error("there is no log in {}, so no key to endorse a new one; start the collector once", path.display())]
    NoLog {
        /// Path of the directory.
        path: PathBuf,
    },
}

impl DataDirectory {
    /// Creates the directory where it does not exist, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        let failed = |error| DataDirectoryError::Io { what: format!("creating {}", path.display()), error };
        files::make_directory(path).map_err(failed)?;
        let lock = DirectoryLock::take(path, LOCK)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Checks that [`DataDirectory::open`] would succeed, and leaves nothing behind.
    pub fn probe(path: &Path) -> Result<(), DataDirectoryError> {
        let there = path.ancestors().find(|folder| folder.exists());
        // A relative path of one component begins in the working directory.
        let there = there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        try_writing(there).map_err(|error| {
            let what = format!("writing in {} (for data = {})", there.display(), path.display());
            DataDirectoryError::Io { what, error }
        })?;
        match holder_of(path, LOCK) {
            Some(holder) => Err(LockError::InUse { directory: path.to_owned(), holder }.into()),
            None => Ok(()),
        }
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The collector's key pair. The first start draws it and writes it durably, readable by its user only. Where the
    /// key is lost and the log is not, a new one is drawn, which agents do not trust before they are configured to.
    pub fn identity(&self) -> Result<Identity, DataDirectoryError> {
        let path = self.path.join(KEY);
        if let Some(identity) = key::read(&path)? {
            return Ok(identity);
        }
        let identity = NewKey::draw()?.write(&path)?;
        if self.has_log() {
            let key = identity.public_key();
            tracing::error!(
                "{} is lost; the collector has generated a new key, {key}. Agents keep their events and ship nothing \
                 until `[ship] collector_keys` of each names this key; or stop the collector and restore the old key \
                 from a backup",
                path.display(),
            );
        }
        Ok(identity)
    }

    /// Endorsements that lead from earlier keys to the present key, oldest first.
    pub fn endorsements(&self) -> Result<Vec<[u8; ENDORSEMENT_LEN]>, DataDirectoryError> {
        let path = self.path.join(ENDORSEMENTS);
        let failed = |error| DataDirectoryError::Io { what: format!("reading {}", path.display()), error };
        read_endorsements(&path).map_err(failed)
    }

    /// Draws a new key, endorsed by the present one, which it replaces. The endorsement is on disk first.
    pub fn rotate_key(&self) -> Result<Endorsement, DataDirectoryError> {
        let path = self.path.join(KEY);
        let missing = || KeyError::Io { path: path.clone(), error: io::ErrorKind::NotFound.into() };
        let before = key::read(&path)?.ok_or_else(missing)?;
        let io = |what: String| move |error| DataDirectoryError::Io { what, error };
        let log = self.path.join("log").join("0");
        let log_id = FsDisk::new(&log).and_then(|disk| crate::log::log_id(&disk));
        let log_id = log_id.map_err(io(format!("reading {}", log.display())))?;
        let log_id = log_id.ok_or_else(|| DataDirectoryError::NoLog { path: log.clone() })?;
        let new = NewKey::draw()?;
        let (role, key) = (Role::Successor, new.identity().public_key());
        let endorsement = Endorsement { role, log_id, key, by: before.public_key() };
        let line = hex::encode(&endorsement.sign(&before));
        let file = self.path.join(ENDORSEMENTS);
        let append = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&file)?;
            // On a line of its own, also behind a line that a power cut has torn.
            write!(file, "\n{line}\n")?;
            file.sync_all()?;
            files::sync_directory(&self.path)
        };
        append().map_err(io(format!("writing {}", file.display())))?;
        new.write(&path)?;
        Ok(endorsement)
    }

    /// Writes the public key beside the private one, for verifiers.
    pub fn show_public_key(&self, key: &PublicKey) -> Result<(), DataDirectoryError> {
        let path = self.path.join(PUBLIC_KEY);
        if public_key(&self.path) == Some(*key) {
            return Ok(());
        }
        let failed = |error| DataDirectoryError::Io { what: format!("writing {}", path.display()), error };
        files::replace(&path, format!("{key}\n").as_bytes()).map_err(failed)
    }

    fn has_log(&self) -> bool {
        let log = self.path.join("log").join("0");
        std::fs::read_dir(log).is_ok_and(|mut entries| entries.next().is_some())
    }
}

/// Whether files can be created in a folder: creates one, and removes it.
pub(crate) fn try_writing(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".afferent-probe-{}", std::process::id()));
    let made = files::new_file().open(&probe);
    made.and_then(|mut file| file.write_all(b"probe"))?;
    std::fs::remove_file(probe)
}

/// The public key in a collector's data directory, if there is one. It does not read the private key; anyone who can
/// write to the directory can have replaced the public one.
pub fn public_key(data: &Path) -> Option<PublicKey> {
    let mut text = String::new();
    File::open(data.join(PUBLIC_KEY)).and_then(|file| file.take(KEY_TEXT_BYTES_MAX).read_to_string(&mut text)).ok()?;
    parse_public_key(text.trim()).ok()
}

/// The key that the log in a data directory began with: the one from which the endorsements for this log lead to the
/// present key. A log is verified from its first key, because endorsements lead forward only.
pub fn first_public_key(data: &Path) -> Option<PublicKey> {
    let mut first = public_key(data)?;
    let log_id = crate::log::log_id(&FsDisk::read_only(data.join("log").join("0"))).ok().flatten();
    let endorsements = read_endorsements(&data.join(ENDORSEMENTS)).unwrap_or_default();
    // Each is used once, so that keys which endorse each other end the walk.
    for endorsement in endorsements.iter().rev().filter_map(|bytes| Endorsement::read(bytes)) {
        if endorsement.key == first && Some(endorsement.log_id) == log_id {
            first = endorsement.by;
        }
    }
    Some(first)
}

fn read_endorsements(path: &Path) -> io::Result<Vec<[u8; ENDORSEMENT_LEN]>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    // A malformed line was being written when the power failed: its key was never used.
    let read = |line: &str| hex::decode_array::<ENDORSEMENT_LEN>(line.trim());
    Ok(text.lines().filter_map(read).filter(|bytes| Endorsement::read(bytes).is_some()).collect())
}

/// Limit of the size of a public key's file.
const KEY_TEXT_BYTES_MAX: u64 = 256;

/// The text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a public key: it must be 64 hexadecimal digits of an Ed25519 key; the collector's key is in collector.pub in \
     its data directory"
)]
pub struct NoPublicKey;

/// Reads a public key: 64 hexadecimal digits.
pub fn parse_public_key(digits: &str) -> Result<PublicKey, NoPublicKey> {
    parse_public(digits).ok_or(NoPublicKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_in_use_is_refused_with_the_process_that_uses_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(directory.path()).unwrap();
        let refused = DataDirectory::open(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DataDirectory::open(directory.path()).unwrap();
    }

    #[test]
    fn the_key_is_drawn_once_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let key = data.identity().unwrap().public_key();
        assert_eq!(data.identity().unwrap().public_key(), key);
        let mode = std::fs::metadata(directory.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_new_key_is_endorsed_by_the_one_before_for_the_log_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let before = data.identity().unwrap().public_key();
        assert!(matches!(data.rotate_key(), Err(DataDirectoryError::Io { .. } | DataDirectoryError::NoLog { .. })));
        assert_eq!(data.identity().unwrap().public_key(), before, "nothing has changed");
        let log = directory.path().join("log").join("0");
        let disk = FsDisk::new(&log).unwrap();
        let now = afferent_protocol::ids::Timestamp::default();
        let settings = crate::log::LogSettings::default();
        let mut each = |_: &afferent_protocol::segment::EntryHead, _: &afferent_protocol::batch::Batch<'_>| {};
        let (mut opened, _) = crate::log::EmbeddedLog::open(disk, settings, &mut || 7, now, &mut each).unwrap();
        let mut agent = crate::simulated::Agent::new("press", afferent_protocol::ids::Stream::Samples, 1);
        let bytes = agent.samples(1);
        crate::log::UnifiedLog::append(&mut opened, &crate::simulated::parse(&bytes), now);
        crate::log::UnifiedLog::commit(&mut opened).unwrap();
        let id = crate::log::UnifiedLog::log_id(&opened);
        drop(opened);
        let rotated = data.rotate_key().unwrap();
        assert_eq!((rotated.by, rotated.log_id, rotated.role), (before, id, Role::Successor));
        assert_eq!(data.identity().unwrap().public_key(), rotated.key);
        let kept: Vec<_> = data.endorsements().unwrap().iter().map(|bytes| Endorsement::read(bytes).unwrap()).collect();
        assert_eq!(kept, [rotated]);
        let path = directory.path().join(ENDORSEMENTS);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"61666665").unwrap();
        let again = data.rotate_key().unwrap();
        let kept: Vec<_> = data.endorsements().unwrap().iter().map(|bytes| Endorsement::read(bytes).unwrap()).collect();
        assert_eq!(kept, [rotated, again], "also behind a line that a power cut has torn");
        assert_eq!(first_public_key(directory.path()), None, "no key lies there yet");
        data.show_public_key(&again.key).unwrap();
        assert_eq!(first_public_key(directory.path()), Some(before));
        std::fs::remove_dir_all(&log).unwrap();
        assert_eq!(first_public_key(directory.path()), Some(again.key), "another log begins with the key of now");
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        data.identity().unwrap();
        for wrong in [&b""[..], &[7; 31], &[7; 33]] {
            std::fs::write(directory.path().join(KEY), wrong).unwrap();
            assert!(matches!(data.identity(), Err(DataDirectoryError::Key(KeyError::Length { .. }))));
            assert_eq!(std::fs::read(directory.path().join(KEY)).unwrap(), wrong);
        }
        std::fs::set_permissions(directory.path().join(KEY), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(data.identity(), Err(DataDirectoryError::Key(KeyError::Permissions { .. }))));
    }
}
