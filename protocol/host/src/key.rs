//! The file of an Ed25519 key: 32 secret bytes (the seed of RFC 8032) that only their owner may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use afferent_protocol::sign::{Identity, PublicKey};

use crate::{files, hex};

/// Bytes of the file.
pub const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Users other than the owner can read the file.
    #[error("{} is readable by other users (mode {mode:03o}); run: chmod 600 {}", .path.display(), .path.display())]
    Permissions {
        /// Path of the file.
        path: PathBuf,
        /// The file's permission bits.
        mode: u32,
    },
    /// The file has a wrong length.
    #[error(
        "{} is not a key: it has {bytes} bytes, a key has {KEY_BYTES}; restore it from a backup, or move it away to \
         start with a new key", .path.display()
    )]
    Length {
        /// Path of the file.
        path: PathBuf,
        /// Length of the file, in bytes.
        bytes: u64,
    },
    /// The operating system has no random bytes.
    #[error("the operating system gives no random bytes for a new key: {0}")]
    Entropy(getrandom::Error),
    /// The file cannot be read or created.
    #[error("cannot use the key {}: {error}", .path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reports.
        error: io::Error,
    },
}

/// Reads the key in a file; `None` where there is no file.
pub fn read(path: &Path) -> Result<Option<Identity>, KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Permissions { path: path.to_owned(), mode });
    }
    if metadata.len() != KEY_BYTES as u64 {
        return Err(KeyError::Length { path: path.to_owned(), bytes: metadata.len() });
    }
    let mut seed = [0; KEY_BYTES];
    file.read_exact(&mut seed).map_err(failed)?;
    Ok(Some(Identity::from_seed(&seed)))
}

/// A key that lies in no file yet.
pub struct NewKey {
    seed: [u8; KEY_BYTES],
}

impl NewKey {
    /// Draws a key.
    pub fn draw() -> Result<Self, KeyError> {
        let mut seed = [0; KEY_BYTES];
        getrandom::fill(&mut seed).map_err(KeyError::Entropy)?;
        Ok(Self { seed })
    }

    /// The key.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.seed)
    }

    /// Puts the key into a file, in place of what is there. It is on disk when this returns; a power cut in between
    /// leaves the one or the other.
    pub fn write(self, path: &Path) -> Result<Identity, KeyError> {
        files::replace(path, &self.seed).map_err(|error| KeyError::Io { path: path.to_owned(), error })?;
        Ok(self.identity())
    }
}

/// Reads a public key: 64 hexadecimal digits. Not every 32 bytes are one.
pub fn parse_public(digits: &str) -> Option<PublicKey> {
    let key = PublicKey(hex::decode_array(digits)?);
    key.verifier().map(|_| key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_read_again_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        std::fs::write(directory.path().join("a.key.new"), b"half").unwrap();
        let made = NewKey::draw().unwrap().write(&path).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().public_key(), made.public_key());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(parse_public(&made.public_key().to_string()), Some(made.public_key()));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = read(&path).unwrap_err().to_string();
        assert!(refusal.contains("chmod 600") && refusal.contains("640"), "{refusal}");
    }

    #[test]
    fn a_file_of_another_length_is_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        NewKey::draw().unwrap().write(&path).unwrap();
        for bytes in [0, 31, 33] {
            std::fs::write(&path, vec![7; bytes]).unwrap();
            assert!(matches!(read(&path), Err(KeyError::Length { .. })), "{bytes}");
        }
    }

    #[test]
    fn a_public_key_is_64_digits_of_a_point_of_the_curve() {
        let key = Identity::from_seed(&[1; 32]).public_key();
        assert_eq!(parse_public(&key.to_string()), Some(key));
        let no_point =
            (0..=255).map(|byte| PublicKey([byte; 32])).find(|key| key.verifier().is_none()).unwrap().to_string();
        for text in ["", "12", &"+1".repeat(32), &"é".repeat(32), &no_point, &format!("{key}0")] {
            assert_eq!(parse_public(text), None, "{text}");
        }
    }
}
