//! Secrets: a configuration names where a secret is stored, never the secret itself.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::limits::SECRET_BYTES_MAX;

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// `{ file = "/path" }`
    File(PathBuf),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ credential = "name" }`: a file of systemd's `LoadCredential=`
    Credential(String),
}

/// A secret, which its `Debug` text hides.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Why a secret cannot be read. It never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The secret's file cannot be read.
    #[error("cannot read the secret in {}: {error}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reports.
        error: io::Error,
    },
    /// The secret's file is larger than any secret.
    #[error("the secret in {} has more than {SECRET_BYTES_MAX} bytes", .path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// The secret has no bytes.
    #[error("the secret is empty")]
    Empty,
    /// The secret's environment variable is missing or not UTF-8.
    #[error("the secret's environment variable {0} is not set, or is not UTF-8")]
    Env(String),
    /// systemd gave no credentials.
    #[error("systemd gave no credential {0:?}; add LoadCredential={0}:/path to the unit")]
    NoCredentials(String),
    /// The credential's name contains a path.
    #[error("the credential {0:?} is not a file name")]
    CredentialName(String),
}

impl Secret {
    /// Reads the secret; one line end at its end does not belong to it.
    pub fn read(&self) -> Result<SecretText, SecretError> {
        self.read_with(&|name| std::env::var(name).ok())
    }

    fn read_with(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretText, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path)?,
            Self::Env(name) => env(name).ok_or_else(|| SecretError::Env(name.clone()))?,
            Self::Credential(name) => {
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err(SecretError::CredentialName(name.clone()));
                }
                let directory = env("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read_file(&Path::new(&directory).join(name))?
            }
        };
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() { Err(SecretError::Empty) } else { Ok(SecretText(text.to_owned())) }
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| SecretError::File { path: path.to_owned(), error })?;
    if text.len() as u64 > SECRET_BYTES_MAX { Err(SecretError::TooLarge { path: path.to_owned() }) } else { Ok(text) }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        const FORMS: &str = "{ file = \"/path\" }, { env = \"NAME\" } or { credential = \"name\" }";
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORMS)
            }
            // The text must not come back in a message, as it is perhaps the secret itself.
            fn visit_str<E: Error>(self, _: &str) -> Result<Secret, E> {
                Err(E::custom(format_args!("a secret does not stand in the configuration; write {FORMS}")))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let one = |name: &str, value: String| match name {
                    "file" => Some(Secret::File(value.into())),
                    "env" => Some(Secret::Env(value)),
                    "credential" => Some(Secret::Credential(value)),
                    _ => None,
                };
                let wrong = || A::Error::custom(format_args!("a secret is one of {FORMS}"));
                let (name, value): (String, String) = map.next_entry()?.ok_or_else(wrong)?;
                let secret = one(&name, value).ok_or_else(wrong)?;
                if map.next_key::<String>()?.is_some() { Err(wrong()) } else { Ok(secret) }
            }
        }
        deserializer.deserialize_any(SecretVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_from_files_variables_and_credentials() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "hush\r\n").unwrap();
        let place = directory.path().display().to_string();
        let env = |name: &str| match name {
            "PASSWORD" => Some("hush".to_owned()),
            "CREDENTIALS_DIRECTORY" => Some(place.clone()),
            _ => None,
        };
        for secret in [Secret::File(path), Secret::Env("PASSWORD".into()), Secret::Credential("password".into())] {
            assert_eq!(secret.read_with(&env).unwrap().reveal(), "hush", "{secret:?}");
        }
        for secret in [
            Secret::File("/nonexistent".into()),
            Secret::Env("OTHER".into()),
            Secret::Credential("../password".into()),
            Secret::Credential("other".into()),
        ] {
            assert!(secret.read_with(&env).is_err(), "{secret:?}");
        }
        let error = Secret::Credential("password".into()).read_with(&|_| None).unwrap_err().to_string();
        assert!(error.contains("LoadCredential=password:"), "{error}");
    }

    #[test]
    fn a_secret_in_a_file_ends_before_its_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("a b\r\n", "a b"), ("abc\n\n", "abc\n")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::File(path.clone()).read().unwrap().reveal(), secret);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::File(path.clone()).read(), Err(SecretError::Empty)));
        // The control: as large as a secret may be, it is read.
        std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX as usize]).unwrap();
        assert!(Secret::File(path.clone()).read().is_ok());
        std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(Secret::File(path).read(), Err(SecretError::TooLarge { .. })));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", SecretText("hush".to_owned())), "SecretText(…)");
    }
}
