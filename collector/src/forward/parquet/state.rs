//! The state object: `_afferent/FORWARD-pPARTITION.json` beside the files.
//!
//! It has the checkpoint of the files that are complete, and, while a part is being written, the end of that part: then
//! files of it may be there. A reader of the files needs it only to leave such a part out.

use afferent_protocol::ids::Offset;
use serde::{Deserialize, Serialize};

use super::super::checkpoint::Checkpoint;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LakeState {
    /// Always 1: another number is of a later version.
    version: u32,
    /// All events before it are there.
    pub checkpoint: Checkpoint,
    /// The part that is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<Writing>,
}

/// A part that is being written: it begins at the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writing {
    /// Its exclusive end.
    pub end: Offset,
    /// Its files.
    pub files: Vec<String>,
}

/// The path of the object.
pub(super) fn path(forward: &str, partition: u32) -> String {
    format!("_afferent/{forward}-p{partition}.json")
}

impl LakeState {
    pub fn new(checkpoint: Checkpoint, writing: Option<Writing>) -> Self {
        Self { version: 1, checkpoint, writing }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("it has no keys but texts");
        json.push(b'\n');
        json
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not such an object.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let state: Self =
            serde_json::from_slice(json).map_err(|error| format!("it is no state of a forward: {error}"))?;
        match state.version {
            1 => Ok(state),
            version => Err(format!("it is of version {version}, and this collector knows version 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_and_others_are_refused() {
        let place = "1042@0000000000000abc.09090909090909090909090909090909".parse().unwrap();
        let writing =
            Writing { end: Offset::new(2042), files: vec!["day=2026-11-30/type=sample/a.parquet".to_owned()] };
        for writing in [None, Some(writing)] {
            let state = LakeState::new(Checkpoint::new(place), writing);
            assert_eq!(LakeState::read(&state.to_json()), Ok(state));
        }
        let later = String::from_utf8(LakeState::new(Checkpoint::new(place), None).to_json()).unwrap();
        assert!(
            LakeState::read(later.replace("\"version\": 1", "\"version\": 2").as_bytes()).unwrap_err().contains('2')
        );
        assert!(LakeState::read(b"{}").is_err());
    }
}
