//! Subscriptions on disk: one small JSON file each, replaced as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use afferent_host::files;
use afferent_protocol::ids::{Offset, SourceId};
use serde::{Deserialize, Serialize};

use super::super::{Filter, FilterError};
use crate::limits::{SHARES_MAX, SUBSCRIPTION_FILE_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::log::address::Partition;
use crate::shares::ClientAddress;
use crate::terms::{PlaceError, PlaceText, Terms};

/// The stored part of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The filter of the events.
    #[serde(default)]
    pub filter: FilterText,
    /// The cursor of each share.
    pub cursors: Vec<PlaceText>,
    /// The future time at which it begins, in microseconds since 1970: earlier entries are not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<i64>,
    /// The maker; `None` in files from before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Creation>,
}

/// The maker of a subscription, and its use since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Creation {
    /// The client's address.
    pub by: ClientAddress,
    /// The time, in microseconds since 1970, by the collector's clock.
    pub at: i64,
    /// The furthest use.
    pub used: Use,
}

/// The use of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// No client has fetched from it: it may give way to others.
    Never,
    /// A client has fetched from it, and none has moved it.
    Read,
    /// It was committed, or reset.
    Moved,
}

/// A filter as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterText {
    /// Only subjects that match this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only these types.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only these sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only these severities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

impl FilterText {
    /// Reads a new filter: it may name only types that exist.
    pub fn fresh(&self) -> Result<Filter, FilterError> {
        Filter::new(self.subject.as_deref(), self.kind.as_deref(), self.source.as_deref())?;
        self.filter()
    }

    /// Reads a stored filter.
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let filter = Filter::kept(self.subject.as_deref(), self.kind.as_deref(), self.source.as_deref())?;
        self.severity.as_deref().map_or(Ok(filter.clone()), |severity| filter.with_severity(severity))
    }
}

impl Subscription {
    /// The partition of all its cursors.
    pub fn partition(&self) -> Partition {
        Partition::new(self.cursors.first().map_or(0, |place| place.0.partition))
    }

    /// Number of shares.
    pub fn shares(&self) -> u32 {
        self.cursors.len() as u32
    }

    /// Whether all its cursors are in a log with these terms, which ends at `end`.
    ///
    /// # Errors
    /// When one is not: the log was restored to an earlier state, or started over.
    pub fn check(&self, terms: &Terms, end: Offset) -> Result<(), PlaceError> {
        self.cursors.iter().try_for_each(|cursor| terms.check(&cursor.0, end))
    }

    /// Records a use; returns whether it is the furthest so far.
    pub(super) fn used(&mut self, used: Use) -> bool {
        match &mut self.made {
            Some(made) if made.used < used => {
                made.used = used;
                true
            }
            _ => false,
        }
    }

    /// The smallest offset of its cursors.
    pub fn place(&self) -> Offset {
        self.cursors.iter().map(|cursor| cursor.0.offset).min().unwrap_or_default()
    }
}

/// The disk failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed: {error}; check the disk and the permissions of the directory")]
pub struct StoreError {
    what: String,
    error: io::Error,
}

/// The directory of the files.
#[derive(Debug)]
pub(super) struct SubscriptionFiles {
    directory: PathBuf,
}

impl SubscriptionFiles {
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        files::make_directory(directory)
            .map_err(|error| StoreError { what: format!("creating {}", directory.display()), error })?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// All readable subscriptions; unreadable files are moved aside.
    pub fn read_all(&self) -> Result<Vec<(SourceId, Subscription)>, StoreError> {
        let failed = |error| StoreError { what: format!("listing {}", self.directory.display()), error };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            let Some(name) = name.and_then(|name| SourceId::new(name).ok()) else { continue };
            match read(&path) {
                Ok(kept) if found.len() < SUBSCRIPTIONS_MAX => found.push((name, kept)),
                Ok(_) => tracing::error!(path = %path.display(), "too many subscriptions; ignoring this one"),
                Err(error) => {
                    tracing::error!(path = %path.display(), error, "a subscription cannot be read; it is kept as \
                                                                    *.json.bad");
                    let _ = std::fs::rename(&path, path.with_extension("json.bad"));
                }
            }
        }
        Ok(found)
    }

    /// Replaces a subscription's file; durable on return.
    pub fn write(&self, name: &SourceId, kept: &Subscription) -> Result<(), StoreError> {
        let path = self.path(name);
        let written = serde_json::to_vec(kept).map_err(Into::into).and_then(|json| files::replace(&path, &json));
        written.map_err(|error| StoreError { what: format!("writing {}", path.display()), error })
    }

    pub fn remove(&self, name: &SourceId) -> Result<(), StoreError> {
        let path = self.path(name);
        let removed = std::fs::remove_file(&path).and_then(|()| files::sync_directory(&self.directory));
        removed.map_err(|error| StoreError { what: format!("removing {}", path.display()), error })
    }

    fn path(&self, name: &SourceId) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> Result<Subscription, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(SUBSCRIPTION_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let kept: Subscription = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    kept.filter.filter().map_err(|error| error.to_string())?;
    let shares = kept.cursors.len();
    if shares == 0 || shares > SHARES_MAX as usize {
        return Err(format!("{shares} shares"));
    }
    Ok(kept)
}
