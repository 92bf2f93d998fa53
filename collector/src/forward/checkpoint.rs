//! How far a forward has come, and what the operator has asked of it: one small JSON file a forward and partition.
//!
//! A destination that keeps the checkpoint with the events has the last word on it. The operator's orders raise the
//! generation: the destination's checkpoint of an older generation does not count any more.

use std::io;
use std::path::{Path, PathBuf};

use afferent_host::files;
use afferent_protocol::ids::{Offset, SourceId};
use serde::{Deserialize, Serialize};

use crate::limits::FORWARD_FILE_BYTES_MAX;
use crate::log::address::Partition;
use crate::terms::PlaceText;

/// How far a forward has come in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The first event that is not delivered.
    pub place: PlaceText,
    /// Number of times that the operator has moved the forward.
    pub generation: u32,
    /// Events before this offset may be at the destination, of an earlier generation.
    pub seen_until: Offset,
    /// Dead letters before this offset of the log were sent again.
    pub replayed_until: Offset,
}

impl Checkpoint {
    /// A checkpoint that nothing was delivered before.
    pub fn new(place: PlaceText) -> Self {
        Self { place, generation: 0, seen_until: Offset::ZERO, replayed_until: Offset::ZERO }
    }

    /// The first offset that is not delivered.
    pub fn next(&self) -> Offset {
        self.place.0.offset
    }

    /// Whether the event at an offset may be at the destination already.
    pub fn may_be_there(&self, offset: Offset) -> bool {
        offset < self.seen_until
    }

    /// As text, for destinations: one line of JSON of at most 300 bytes.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a checkpoint has no keys but texts")
    }

    /// Reads the text of [`Checkpoint::to_text`].
    ///
    /// # Errors
    /// When it is not such a text.
    pub fn from_text(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("{text:?} is not a checkpoint of a forward: {error}"))
    }
}

/// The file of a forward in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub checkpoint: Checkpoint,
    /// The destination that the checkpoint is about, for example a URL and a table.
    pub target: String,
    /// The generation of the checkpoint that the destination keeps; `None` if it keeps none.
    #[serde(default)]
    pub there: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether the operator has moved the forward since it last agreed with its destination: then the destination's
    /// checkpoint does not count, of whatever generation it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// Dead letters before this offset of the log are to be sent again.
    #[serde(default)]
    pub replay_until: Offset,
}

/// The files of all forwards.
#[derive(Clone, Debug)]
pub(super) struct ForwardFiles {
    directory: PathBuf,
}

/// A file of a forward cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}; {remedy}", path.display())]
pub struct ForwardFileError {
    path: PathBuf,
    error: io::Error,
    remedy: &'static str,
}

const DISK: &str = "check the disk and the permissions of the directory";

impl ForwardFiles {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, name: &SourceId, partition: Partition) -> PathBuf {
        self.directory.join(name.as_str()).join(format!("{partition}.json"))
    }

    /// Reads the file of a forward; `None` if it was never started.
    ///
    /// # Errors
    /// When the disk fails, or the file is not one of a forward: nobody knows then what was delivered.
    pub fn read(&self, name: &SourceId, partition: Partition) -> Result<Option<Kept>, ForwardFileError> {
        let path = self.path(name, partition);
        let failed = |error: io::Error, remedy| ForwardFileError { path: path.clone(), error, remedy };
        let damaged = |why: String| {
            let remedy = "restore the file, or remove it: then the forward begins at its `from`, or where its \
                          destination says";
            failed(io::Error::new(io::ErrorKind::InvalidData, why), remedy)
        };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error, DISK)),
            Ok(about) if about.len() > FORWARD_FILE_BYTES_MAX => {
                return Err(damaged(format!("it has {} bytes; the limit is {FORWARD_FILE_BYTES_MAX}", about.len())));
            }
            Ok(_) => {}
        }
        let bytes = std::fs::read(&path).map_err(|error| failed(error, DISK))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Replaces the file of a forward; durable on return.
    pub fn write(&self, name: &SourceId, partition: Partition, kept: &Kept) -> Result<(), ForwardFileError> {
        let path = self.path(name, partition);
        let folder = path.parent().unwrap_or(Path::new("."));
        let json = serde_json::to_vec(kept).expect("it has no keys but texts");
        let written = files::make_directory(&self.directory)
            .and_then(|()| files::make_directory(folder))
            .and_then(|()| files::replace(&path, &json));
        written.map_err(|error| ForwardFileError { path, error, remedy: DISK })
    }
}
