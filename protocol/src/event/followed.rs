//! How far the files that an agent follows are in its log: a table, written by the agent and read by its next start.

use serde::{Deserialize, Serialize};

use super::{EventError, fits};
use crate::ids::{Stream, Timestamp};
use crate::limits::{FOLLOWED_BYTES_MAX, FOLLOWED_FILES_MAX, FOLLOWED_NAME_BYTES_MAX, INPUT_NAME_BYTES_MAX};
use crate::wire::{Writer, take_bytes, take_varint};

/// The table of files of one input. It stands in the batch of the events that lines of these files have led to, in one
/// stream: what is there of the one is there of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed<'a> {
    /// The stream that the table stands in.
    pub stream: Stream,
    /// The input's name.
    pub input: &'a str,
    /// Counts the tables and the places of the input, in both streams: of two tables the one with the higher number
    /// counts.
    pub number: u64,
    /// A file that the table does not name and that was last written at this time or before counts as read; 0 for none.
    pub horizon: Timestamp,
    /// The files.
    #[serde(borrow)]
    pub files: FilePlaces<'a>,
}

impl Followed<'_> {
    pub(super) fn check(&self) -> Result<(), EventError> {
        fits("input", self.input, INPUT_NAME_BYTES_MAX)?;
        if self.files.is_whole() { Ok(()) } else { Err(EventError::Statement) }
    }
}

/// How far one file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePlace<'a> {
    /// Names this place among all of the input, in both streams: a file that was truncated has a new one.
    pub number: u64,
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
    /// When the file was created, in microseconds since 1970; 0 where the file system does not say. Inodes are used
    /// again.
    pub born_us: u64,
    /// So many bytes at the file's beginning are in the fingerprint.
    pub known: u64,
    /// The first bytes of the SHA-256 of these bytes.
    pub fingerprint: [u8; 8],
    /// Events of the table's stream: all lines that end at this byte or before are in the log.
    pub end: u64,
    /// The same of the other stream, as far as that was on disk when the table was written.
    pub other_end: u64,
    /// Whether it was read to its end and is not written any more.
    pub is_finished: bool,
    /// The last part of the path at which it was found first.
    pub name: &'a str,
}

/// Places of files one behind the other; the layout stands in this crate's `README.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePlaces<'a>(#[serde(borrow)] &'a [u8]);

impl<'a> FilePlaces<'a> {
    /// Of these bytes, which are checked with the event.
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Writes at most [`FOLLOWED_FILES_MAX`] places to `out`; `None` when there are more, or a name is over its limit.
    pub fn write(places: &[FilePlace<'_>], out: &'a mut [u8; FOLLOWED_BYTES_MAX]) -> Option<Self> {
        let mut writer = Writer::new(out);
        for place in places {
            let name = place.name.as_bytes();
            if name.len() > FOLLOWED_NAME_BYTES_MAX {
                return None;
            }
            let FilePlace { number, device, inode, born_us, known, .. } = *place;
            [number, device, inode, born_us, known].into_iter().for_each(|number| writer.varint(number));
            writer.bytes(&place.fingerprint);
            [place.end, place.other_end].into_iter().for_each(|number| writer.varint(number));
            writer.bytes(&[u8::from(place.is_finished), name.len() as u8]);
            writer.bytes(name);
        }
        let len = writer.written().filter(|_| places.len() <= FOLLOWED_FILES_MAX)?;
        Some(Self(out.get(..len)?))
    }

    /// The places; ends at what is none.
    pub fn iter(&self) -> impl Iterator<Item = FilePlace<'a>> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || take_place(&mut rest))
    }

    fn is_whole(&self) -> bool {
        let (mut rest, mut places) = (self.0, 0);
        while !rest.is_empty() && places <= FOLLOWED_FILES_MAX {
            if take_place(&mut rest).is_none() {
                return false;
            }
            places += 1;
        }
        rest.is_empty() && places <= FOLLOWED_FILES_MAX
    }
}

fn take_place<'a>(rest: &mut &'a [u8]) -> Option<FilePlace<'a>> {
    let [number, device, inode, born_us] =
        [take_varint(rest)?, take_varint(rest)?, take_varint(rest)?, take_varint(rest)?];
    let known = take_varint(rest)?;
    let fingerprint = take_bytes(rest)?;
    let [end, other_end] = [take_varint(rest)?, take_varint(rest)?];
    let [state, len] = take_bytes(rest)?;
    let (name, left) = rest.split_at_checked(usize::from(len))?;
    *rest = left;
    let name = core::str::from_utf8(name).ok().filter(|name| name.len() <= FOLLOWED_NAME_BYTES_MAX)?;
    (state <= 1).then_some(FilePlace {
        number,
        device,
        inode,
        born_us,
        known,
        fingerprint,
        end,
        other_end,
        is_finished: state == 1,
        name,
    })
}
