//! The agent's key, which it makes itself: what a machine captures waits for no one's backup.

use std::io;
use std::path::{Path, PathBuf};

use afferent_host::key::{self, KeyError, NewKey};
use afferent_protocol::sign::Identity;

use crate::limits::KEYS_ASIDE_MAX;

/// The name of the key's file in the data directory.
pub const KEY_FILE: &str = "identity.key";

/// Reads the key in `directory`, if there is one.
pub fn load_existing(directory: &Path) -> Result<Option<Identity>, KeyError> {
    key::read(&directory.join(KEY_FILE))
}

/// The key of an agent, and where it comes from.
#[derive(Debug)]
pub struct Taken {
    /// The key.
    pub identity: Identity,
    /// Whether the key is old or new.
    pub origin: Origin,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The key was read from its file.
    Kept,
    /// It was made, for there was none.
    Made,
    /// It was created because the file was not a key; the file was renamed to this path.
    Replaced(PathBuf),
}

/// Reads the key in `directory`, or makes one that is on disk when this returns. A file that is no key is moved aside:
/// what a machine captures does not wait for it.
pub fn take(directory: &Path) -> Result<Taken, KeyError> {
    let path = directory.join(KEY_FILE);
    let origin = match load_existing(directory) {
        Ok(Some(identity)) => return Ok(Taken { identity, origin: Origin::Kept }),
        Ok(None) => Origin::Made,
        Err(KeyError::Length { .. }) => Origin::Replaced(move_aside(&path)?),
        Err(error) => return Err(error),
    };
    Ok(Taken { identity: NewKey::draw()?.write(&path)?, origin })
}

/// [`take`], for those who do not ask where it comes from.
pub fn load_or_create(directory: &Path) -> Result<Identity, KeyError> {
    take(directory).map(|taken| taken.identity)
}

/// Gives a file a name that no other has.
fn move_aside(path: &Path) -> Result<PathBuf, KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    for counter in 1..=KEYS_ASIDE_MAX {
        let aside = path.with_extension(format!("key.bad-{counter}"));
        match std::fs::hard_link(path, &aside) {
            Ok(()) => return std::fs::remove_file(path).map(|()| aside).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A file system without links.
            Err(_) if !aside.exists() => return std::fs::rename(path, &aside).map(|()| aside).map_err(failed),
            Err(_) => {}
        }
    }
    Err(failed(io::Error::other(format!("{KEYS_ASIDE_MAX} files that were not keys lie beside it; remove some"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_key_is_moved_aside_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(directory.path()).unwrap();
        assert_eq!(first.origin, Origin::Made);
        // The control: a whole key is used again.
        assert_eq!(take(directory.path()).unwrap().origin, Origin::Kept);
        let path = directory.path().join(KEY_FILE);
        for (counter, bytes) in [0, 31, 33].into_iter().enumerate() {
            std::fs::write(&path, vec![7; bytes]).unwrap();
            assert!(load_existing(directory.path()).is_err());
            let taken = take(directory.path()).unwrap();
            let aside = directory.path().join(format!("identity.key.bad-{}", counter + 1));
            assert_eq!(taken.origin, Origin::Replaced(aside.clone()));
            assert_eq!(std::fs::read(&aside).unwrap(), vec![7; bytes]);
            assert_ne!(taken.identity.public_key(), first.identity.public_key());
        }
    }
}
