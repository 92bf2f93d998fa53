//! The agent's key: 32 secret bytes (the seed of RFC 8032) in a file that only the agent may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use afferent_host::files;
use afferent_protocol::sign::Identity;

/// The name of the key's file in the data directory.
pub const KEY_FILE: &str = "identity.key";

/// Bytes of the file.
const KEY_BYTES: usize = 32;
/// Files that were no keys and lie beside it, at most.
const ASIDE_MAX: u32 = 1000;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others can read the secret.
    #[error("{} can be read by others (mode {mode:03o}); run: chmod 600 {}", .path.display(), .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key.
    #[error(
        "{} has {bytes} bytes, and a key has {KEY_BYTES}; put its backup there",
        .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// No random bytes.
    #[error("the operating system gives no random bytes for a new key: {0}")]
    Entropy(getrandom::Error),
    /// The file cannot be read or made.
    #[error("cannot use the key {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Reads the key in `directory`, if there is one.
pub fn load_existing(directory: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = directory.join(KEY_FILE);
    match File::open(&path) {
        Ok(file) => load(&path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IdentityError::Io { path, error }),
    }
}

/// The key of an agent, and where it comes from.
#[derive(Debug)]
pub struct Taken {
    /// The key.
    pub identity: Identity,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Kept,
    /// It was made, for there was none.
    Made,
    /// It was made, for what was there was no key: that is here now.
    Replaced(PathBuf),
}

/// Reads the key in `directory`, or makes one that is on disk when this returns. A file that is no key is moved aside: what
/// a machine captures does not wait for it.
pub fn take(directory: &Path) -> Result<Taken, IdentityError> {
    let path = directory.join(KEY_FILE);
    let origin = match load_existing(directory) {
        Ok(Some(identity)) => return Ok(Taken { identity, origin: Origin::Kept }),
        Ok(None) => Origin::Made,
        Err(IdentityError::Length { .. }) => Origin::Replaced(move_aside(&path)?),
        Err(error) => return Err(error),
    };
    Ok(Taken { identity: create(&path)?, origin })
}

/// [`take`], for those who do not ask where it comes from.
pub fn load_or_create(directory: &Path) -> Result<Identity, IdentityError> {
    take(directory).map(|taken| taken.identity)
}

/// Gives a file a name that no other has.
fn move_aside(path: &Path) -> Result<PathBuf, IdentityError> {
    let failed = |error| IdentityError::Io { path: path.to_owned(), error };
    for counter in 1..=ASIDE_MAX {
        let aside = path.with_extension(format!("key.bad-{counter}"));
        match std::fs::hard_link(path, &aside) {
            Ok(()) => return std::fs::remove_file(path).map(|()| aside).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A file system without links.
            Err(_) if !aside.exists() => return std::fs::rename(path, &aside).map(|()| aside).map_err(failed),
            Err(_) => {}
        }
    }
    Err(failed(io::Error::other(format!("{ASIDE_MAX} files that were no keys lie beside it; remove some"))))
}

fn load(path: &Path, mut file: File) -> Result<Identity, IdentityError> {
    let failed = |error| IdentityError::Io { path: path.to_owned(), error };
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Permissions { path: path.to_owned(), mode });
    }
    if metadata.len() != KEY_BYTES as u64 {
        return Err(IdentityError::Length { path: path.to_owned(), bytes: metadata.len() });
    }
    let mut seed = [0; KEY_BYTES];
    file.read_exact(&mut seed).map_err(failed)?;
    Ok(Identity::from_seed(&seed))
}

/// A power cut leaves a whole key or none.
fn create(path: &Path) -> Result<Identity, IdentityError> {
    let mut seed = [0; KEY_BYTES];
    getrandom::fill(&mut seed).map_err(IdentityError::Entropy)?;
    files::replace(path, &seed).map_err(|error| IdentityError::Io { path: path.to_owned(), error })?;
    Ok(Identity::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_the_agent_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("identity.key.new"), b"half").unwrap();
        let first = load_or_create(directory.path()).unwrap();
        let second = load_or_create(directory.path()).unwrap();
        assert_eq!(first.public_key(), second.public_key());
        let mode = std::fs::metadata(directory.path().join(KEY_FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!directory.path().join("identity.key.new").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        load_or_create(directory.path()).unwrap();
        let path = directory.path().join(KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = load_or_create(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains("chmod 600") && refusal.contains("640"), "{refusal}");
    }

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
