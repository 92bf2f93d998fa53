//! Names of versions of models.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::limits::MODEL_NAME_BYTES_MAX;

/// Names one version of a model, as `kpi@2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct ModelId {
    name: String,
    version: u32,
}

/// The text is not the name of a model's version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a model: write its name (1 to {MODEL_NAME_BYTES_MAX} of a-z, 0-9, - and _) and version (from 1), as \
     kpi@2"
)]
pub struct ModelIdError(String);

impl ModelId {
    /// Checks a name and a version.
    pub fn new(name: &str, version: u32) -> Result<Self, ModelIdError> {
        let taken = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if !(1..=MODEL_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(taken) || version == 0 {
            return Err(ModelIdError(format!("{}@{version}", name.chars().take(64).collect::<String>())));
        }
        Ok(Self { name: name.to_owned(), version })
    }

    /// The name without the version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl FromStr for ModelId {
    type Err = ModelIdError;

    fn from_str(text: &str) -> Result<Self, ModelIdError> {
        let error = || ModelIdError(text.chars().take(64).collect());
        let (name, version) = text.split_once('@').ok_or_else(error)?;
        Self::new(name, version.parse().map_err(|_| error())?)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl From<ModelId> for String {
    fn from(id: ModelId) -> Self {
        id.to_string()
    }
}
