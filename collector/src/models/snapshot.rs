//! A model's state in a file.
//!
//! ```text
//! 0        8          12
//! ├────────┼──────────┼─────────────────────────────────────────────
//! │ magic  │ CRC-32C  │ contents in postcard: whose state, up to where, which log, the state
//! └────────┴──────────┴─────────────────────────────────────────────
//! ```
//!
//! The checksum covers the contents. The log, and its state, are recognised by the last term and the last batch of the
//! snapshot.

use std::ops::ControlFlow;

use afferent_protocol::checksum::crc32c;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::{LogId, Place};
use serde::{Deserialize, Serialize};

use super::{CountedFrom, Definition};
use crate::log::ReadLog;
use crate::log::events::{Walk, WalkItem};
use crate::terms::PlaceError;

const MAGIC: [u8; 8] = *b"AFFMDL4\n";
/// Files without a partition: they are of partition 0.
const MAGIC_BEFORE: [u8; 8] = *b"AFFMDL3\n";
const HEAD_LEN: usize = 12;

/// A batch of the log, by which a different log is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMark {
    /// The offset of its first event.
    pub first: Offset,
    /// Its checksum.
    pub crc: u32,
}

/// A model's state up to an offset of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it continues: the log, the partition, its last term, the first offset that it does not include.
    pub place: Place,
    /// Ingest time of the last event that it includes.
    pub time: Timestamp,
    /// The last batch that it includes; `None` when it includes none.
    pub mark: Option<BatchMark>,
    /// The first offset that the model counts from.
    pub counts_from: CountedFrom,
    /// The state, from [`super::AnyModel::save`].
    pub state: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Contents<'a> {
    model: &'a str,
    fingerprint: u64,
    offset: Offset,
    term: (LogId, u64),
    time: Timestamp,
    mark: Option<BatchMark>,
    counts_from: CountedFrom,
    #[serde(borrow)]
    state: &'a [u8],
    partition: u32,
}

/// Why a file is not a usable snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The file is damaged.
    #[error("it is damaged")]
    Damaged,
    /// The snapshot is of a different model, version, layout or settings.
    #[error("it is from {0}, or from other settings or another version of this program")]
    Foreign(String),
    /// The snapshot is of a different log.
    #[error("it is from another log, which had another batch at offset {0}")]
    OtherLog(Offset),
    /// The log does not have the snapshot's events.
    #[error("it is from another state of the log: {0}")]
    OtherState(#[from] PlaceError),
}

impl Snapshot {
    /// The bytes of the snapshot's file.
    pub fn encode(&self, definition: &Definition) -> Vec<u8> {
        let model = definition.id.to_string();
        let fingerprint = definition.of.fingerprint();
        let Self { place: Place { log_id, partition, term, offset }, time, mark, counts_from, state } = self;
        let (offset, term, partition) = (*offset, (*log_id, *term), *partition);
        let (time, mark, counts_from) = (*time, *mark, *counts_from);
        let contents = Contents { model: &model, fingerprint, offset, term, time, mark, counts_from, state, partition };
        let contents = postcard::to_stdvec(&contents).expect("numbers and texts of known length");
        let mut bytes = Vec::with_capacity(HEAD_LEN + contents.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&crc32c(&contents).to_le_bytes());
        bytes.extend_from_slice(&contents);
        bytes
    }

    /// Decodes the bytes of a snapshot's file.
    pub fn decode(bytes: &[u8], definition: &Definition) -> Result<Self, SnapshotError> {
        let (head, contents) = bytes.split_at_checked(HEAD_LEN).ok_or(SnapshotError::Damaged)?;
        let names_partition = head[..8] == MAGIC;
        let is_known = names_partition || head[..8] == MAGIC_BEFORE;
        if !is_known || head[8..] != crc32c(contents).to_le_bytes() {
            return Err(SnapshotError::Damaged);
        }
        let partition_0: &[u8] = if names_partition { &[] } else { &[0] };
        let contents = [contents, partition_0].concat();
        let contents: Contents<'_> = postcard::from_bytes(&contents).map_err(|_| SnapshotError::Damaged)?;
        if contents.model != definition.id.to_string() || contents.fingerprint != definition.of.fingerprint() {
            return Err(SnapshotError::Foreign(contents.model.to_owned()));
        }
        let Contents { offset, term: (log_id, term), time, mark, counts_from, state, partition, .. } = contents;
        let place = Place { log_id, partition, term, offset };
        Ok(Self { place, time, mark, counts_from, state: state.to_vec() })
    }

    /// Whether it was made from this state of this log. A removed batch cannot be compared any more, and one that
    /// retention has emptied has a different checksum.
    pub fn check_log(&self, log: &dyn ReadLog) -> Result<(), SnapshotError> {
        log.terms().check(&self.place, log.kept().end.max(self.place.offset))?;
        let Some(mark) = self.mark else { return Ok(()) };
        if mark.first < log.kept().start {
            return Ok(());
        }
        let mut found = false;
        let first = mark.first..Offset::new(mark.first.get() + 1);
        let read = Walk::over(log, first).run(&mut Vec::new(), &mut |part| {
            found = matches!(part, WalkItem::Entry(entry) if entry.first() == mark.first
                && (entry.header().crc == mark.crc || entry.header().is_emptied()));
            ControlFlow::Break(())
        });
        if read.is_ok() && found { Ok(()) } else { Err(SnapshotError::OtherLog(mark.first)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BuiltIn;
    use super::*;

    fn definition(of: &str, settings: &str) -> Definition {
        Definition::new("kpi", 2, of, settings.parse().unwrap()).unwrap()
    }

    fn snapshot() -> Snapshot {
        let (offset, time) = (Offset::new(7), Timestamp::new(8).unwrap());
        let mark = Some(BatchMark { first: Offset::new(5), crc: 9 });
        let counts_from = CountedFrom { offset: Offset::new(2), time: Some(time), samples: Some((offset, time)) };
        let place = Place { log_id: [4; 16], partition: 300, term: 6, offset };
        Snapshot { place, time, mark, counts_from, state: vec![1, 2, 3] }
    }

    #[test]
    fn a_file_that_names_no_partition_is_of_partition_0() {
        let definition = definition("kpi", "");
        let of_0 = Snapshot { place: Place { partition: 0, ..snapshot().place }, ..snapshot() };
        let now = of_0.encode(&definition);
        // The partition is the last byte.
        let contents = &now[HEAD_LEN..now.len() - 1];
        let before = [&MAGIC_BEFORE[..], &crc32c(contents).to_le_bytes(), contents].concat();
        assert_eq!(Snapshot::decode(&before, &definition), Ok(of_0));
    }

    #[test]
    fn what_was_written_is_read_and_any_flipped_bit_is_found() {
        let definition = definition("kpi", "");
        let bytes = snapshot().encode(&definition);
        assert_eq!(Snapshot::decode(&bytes, &definition), Ok(snapshot()));
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(Snapshot::decode(&flipped, &definition), Err(SnapshotError::Damaged), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Snapshot::decode(&bytes[..len], &definition), Err(SnapshotError::Damaged), "{len} bytes");
        }
    }

    #[test]
    fn a_snapshot_of_other_settings_or_of_another_model_is_foreign() {
        let bytes = snapshot().encode(&definition("kpi", ""));
        for other in [definition("states", ""), definition("kpi", "severity_min = \"fatal\"")] {
            assert!(matches!(Snapshot::decode(&bytes, &other), Err(SnapshotError::Foreign(_))));
        }
        let built_in = Definition::built_in(BuiltIn::Kpi(Default::default()));
        assert!(matches!(Snapshot::decode(&bytes, &built_in), Err(SnapshotError::Foreign(_))), "kpi@1");
    }
}
