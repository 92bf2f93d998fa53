//! Secrets stand elsewhere; the configuration says where.

use std::path::PathBuf;

use serde::Deserialize;

use crate::limits::SECRET_BYTES_MAX;

/// Where a secret stands: `{ file = "…" }`, `{ env = "…" }`, or `{ credential = "…" }` (a systemd credential).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// A file. A line break at its end does not count.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file of this name in the directory `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Why a secret cannot be read. It never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret's file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is larger than any secret.
    #[error("the secret's file {} has more than {SECRET_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The variable is not set, or is not text.
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// There is nothing in it.
    #[error("the secret is empty")]
    Empty,
}

impl Secret {
    /// Reads it.
    pub fn read(&self) -> Result<String, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path.clone())?,
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::NotSet(name.clone()))?,
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SecretError::NotSet("CREDENTIALS_DIRECTORY".to_owned()))?;
                read_file(PathBuf::from(directory).join(name))?
            }
        };
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() { Err(SecretError::Empty) } else { Ok(text.to_owned()) }
    }
}

fn read_file(path: PathBuf) -> Result<String, SecretError> {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > SECRET_BYTES_MAX => return Err(SecretError::TooLarge { path }),
        _ => {}
    }
    std::fs::read_to_string(&path).map_err(|error| SecretError::Read { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_file_ends_before_its_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("a b\r\n", "a b"), ("abc\n\n", "abc\n")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::File(path.clone()).read().unwrap(), secret);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::File(path.clone()).read(), Err(SecretError::Empty)));
        std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(Secret::File(path).read(), Err(SecretError::TooLarge { .. })));
    }
}
