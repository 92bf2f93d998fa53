//! Control messages: everything of a session but the batches.
//!
//! `"AFC1" ‖ crc32c(rest) ‖ rest`, where the rest is [`Control`] in postcard. A batch begins with its own magic, so one
//! look at the first four bytes tells the two apart.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::checksum::crc32c;
use crate::ids::{Epoch, Sequence, SourceId, Stream};
use crate::limits::{CONTROL_BYTES_MAX, LANES_MAX, SOURCE_BYTES_MAX};

const MAGIC: [u8; 4] = *b"AFC1";
const HEAD_LEN: usize = 8;

/// One epoch of one stream: what is sequenced, acked and resumed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
}

/// What a sender holds of a lane: `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The lane.
    pub lane: Lane,
    /// The oldest sequence that it still has.
    pub first: Sequence,
    /// The first sequence that it does not have yet.
    pub end: Sequence,
}

/// Where a receiver wants a lane to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The lane.
    pub lane: Lane,
    /// The first sequence that it does not have on disk.
    pub end: Sequence,
    /// Check of the batch that ends there; `None` when it has no such batch.
    pub check: Option<Check>,
}

/// What a sender holds, oldest epoch first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Chosen anew for every hello: answers to others are not for it.
    pub session: u32,
    /// Its Ed25519 public key, which a receiver that checks signatures holds it to; zeros where nothing is signed.
    pub key: [u8; 32],
    /// What it holds.
    pub lanes: heapless::Vec<Held, LANES_MAX>,
    /// Ed25519 signature by `key` (two halves of 32 bytes), see [`Hello::signed_bytes`]; [`UNSIGNED`] where nothing is.
    pub signature: Signature,
}

/// An Ed25519 signature in two halves.
pub type Signature = [[u8; 32]; 2];

/// Stands where nothing is signed.
pub const UNSIGNED: Signature = [[0; 32]; 2];

impl Hello {
    /// What its signature covers: the source's name, a zero, and the hello in postcard with [`UNSIGNED`] as signature.
    pub fn signed_bytes(&self, source: &SourceId) -> heapless::Vec<u8, CONTROL_BYTES_MAX> {
        let mut bytes = heapless::Vec::new();
        bytes.extend_from_slice(source.as_str().as_bytes()).expect("a name is short");
        bytes.push(0).expect("a name is short");
        let name_len = bytes.len();
        bytes.resize(CONTROL_BYTES_MAX, 0).expect("to its capacity");
        let unsigned = Self { signature: UNSIGNED, ..self.clone() };
        let len = postcard::to_slice(&unsigned, &mut bytes[name_len..]).expect("the longest hello fits").len();
        bytes.truncate(name_len + len);
        bytes
    }
}

/// Where a receiver wants to go on, for every lane of the hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// That of the hello.
    pub session: u32,
    /// Where to go on.
    pub lanes: heapless::Vec<Resume, LANES_MAX>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// From the sender: what it holds.
    Hello(Hello),
    /// From the receiver: where to go on.
    Welcome(Welcome),
    /// From the receiver: everything of the lane before `end` is on its disk.
    Ack(Resume),
    /// From the receiver: a gap, send again from here.
    Nack {
        /// The lane.
        lane: Lane,
        /// The first sequence that is missing.
        from: Sequence,
    },
}

/// Why bytes are no control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// They begin with something else, or are too few or too many.
    #[error("it is not a control message")]
    Foreign,
    /// The checksum does not match.
    #[error("its checksum does not match: it was damaged")]
    Crc,
    /// A kind of message, or a field of one, that this reader does not know.
    #[error("its content is not known here; the sender is newer than this reader: update this side")]
    Content,
}

/// Whether a message is a control message, and not batches.
pub fn is_control(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

impl Control {
    /// The message's bytes.
    pub fn encode(&self) -> heapless::Vec<u8, CONTROL_BYTES_MAX> {
        let mut bytes = heapless::Vec::new();
        bytes.resize(CONTROL_BYTES_MAX, 0).expect("to its capacity");
        let len = postcard::to_slice(self, &mut bytes[HEAD_LEN..]).expect("the longest control message fits").len();
        bytes.truncate(HEAD_LEN + len);
        let crc = crc32c(&bytes[HEAD_LEN..]);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        if !is_control(bytes) || bytes.len() < HEAD_LEN || bytes.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::Foreign);
        }
        let (head, rest) = bytes.split_at(HEAD_LEN);
        if head[4..] != crc32c(rest).to_le_bytes() {
            return Err(ControlError::Crc);
        }
        match postcard::take_from_bytes(rest) {
            Ok((control, [])) => Ok(control),
            _ => Err(ControlError::Content),
        }
    }
}

// Session, key, length and signature, then per lane: stream, epoch, two sequences or a sequence and an optional check.
const HELLO_LEN_MAX: usize = 5 + 32 + 5 + 64 + LANES_MAX * (1 + 10 + 10 + 11);
const _: () = assert!(HEAD_LEN + 1 + HELLO_LEN_MAX <= CONTROL_BYTES_MAX, "whatever the kind");
const _: () = assert!(SOURCE_BYTES_MAX + 1 + HELLO_LEN_MAX <= CONTROL_BYTES_MAX, "with the name before it");
