//! Control messages: everything of a session but the batches.
//!
//! `"AFC1" ‖ crc32c(rest) ‖ rest`, where the rest is [`Control`] as postcard would write it. A batch begins with its own magic, so one
//! look at the first four bytes tells the two apart.

use super::Check;
use crate::checksum::crc32c;
use crate::ids::{Epoch, Sequence, SourceId, Stream};
use crate::limits::{CONTROL_BYTES_MAX, LANES_MAX, SOURCE_BYTES_MAX};
use crate::wire::{Writer, take_bytes, take_varint};

const MAGIC: [u8; 4] = *b"AFC1";
const HEAD_LEN: usize = 8;

// The variants of `Control`, in postcard's numbering.
const HELLO: u8 = 0;
const WELCOME: u8 = 1;
const ACK: u8 = 2;
const NACK: u8 = 3;

/// One epoch of one stream: what is sequenced, acked and resumed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
}

/// What a sender holds of a lane: `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The lane.
    pub lane: Lane,
    /// The oldest sequence that it still has.
    pub first: Sequence,
    /// The first sequence that it does not have yet.
    pub end: Sequence,
}

/// Where a receiver wants a lane to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The lane.
    pub lane: Lane,
    /// The first sequence that it does not have on disk.
    pub end: Sequence,
    /// Check of the batch that ends there; `None` when it has no such batch.
    pub check: Option<Check>,
}

/// What a sender holds, oldest epoch first.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What its signature covers: the source's name, a zero, and the hello's bytes with [`UNSIGNED`] as signature.
    pub fn signed_bytes(&self, source: &SourceId) -> heapless::Vec<u8, CONTROL_BYTES_MAX> {
        let mut bytes = heapless::Vec::new();
        bytes.resize(CONTROL_BYTES_MAX, 0).expect("to its capacity");
        let mut out = Writer::new(&mut bytes);
        out.bytes(source.as_str().as_bytes());
        out.byte(0);
        self.put(&mut out, &UNSIGNED);
        let len = out.written().expect("the longest hello fits");
        bytes.truncate(len);
        bytes
    }

    fn put(&self, out: &mut Writer<'_>, signature: &Signature) {
        put_hello(out, self.session, &self.key, &self.lanes, signature);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            session: take_u32(bytes)?,
            key: take_bytes(bytes)?,
            lanes: take_list(bytes, |bytes| {
                Some(Held { lane: take_lane(bytes)?, first: take_sequence(bytes)?, end: take_sequence(bytes)? })
            })?,
            signature: [take_bytes(bytes)?, take_bytes(bytes)?],
        })
    }
}

/// Where a receiver wants to go on, for every lane of the hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// That of the hello.
    pub session: u32,
    /// Where to go on.
    pub lanes: heapless::Vec<Resume, LANES_MAX>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let len = self.write(&mut bytes).expect("the longest control message fits");
        bytes.truncate(len);
        bytes
    }

    /// Writes the message to the start of `out`; gives its length, or `None` when it does not fit.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out.get_mut(HEAD_LEN..)?);
        match self {
            Self::Hello(hello) => {
                writer.byte(HELLO);
                hello.put(&mut writer, &hello.signature);
            }
            Self::Welcome(welcome) => {
                writer.byte(WELCOME);
                writer.varint(welcome.session.into());
                writer.varint(welcome.lanes.len() as u64);
                welcome.lanes.iter().for_each(|resume| put_resume(&mut writer, resume));
            }
            Self::Ack(resume) => {
                writer.byte(ACK);
                put_resume(&mut writer, resume);
            }
            Self::Nack { lane, from } => {
                writer.byte(NACK);
                put_lane(&mut writer, *lane);
                writer.varint(from.get());
            }
        }
        let len = writer.written()?;
        finish(out, len)
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [kind] = take_bytes(bytes)?;
        Some(match kind {
            HELLO => Self::Hello(Hello::take(bytes)?),
            WELCOME => Self::Welcome(Welcome { session: take_u32(bytes)?, lanes: take_list(bytes, take_resume)? }),
            ACK => Self::Ack(take_resume(bytes)?),
            NACK => Self::Nack { lane: take_lane(bytes)?, from: take_sequence(bytes)? },
            _ => return None,
        })
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut rest = content(bytes)?;
        Self::take(&mut rest).filter(|_| rest.is_empty()).ok_or(ControlError::Content)
    }
}

/// Writes an unsigned hello to the start of `out`, as [`Control::write`] would: for senders that have no room for a
/// [`Hello`].
pub fn write_hello(session: u32, lanes: &[Held], out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out.get_mut(HEAD_LEN..)?);
    writer.byte(HELLO);
    put_hello(&mut writer, session, &[0; 32], lanes, &UNSIGNED);
    let len = writer.written()?;
    finish(out, len)
}

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// A welcome, to the hello of this session.
    Welcome(u32),
    /// An ack.
    Ack,
    /// A nack: the end of its lane is the first sequence that is missing.
    Nack,
}

/// What a receiver says, read lane after lane: for senders that have no room for a [`Welcome`].
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its kind.
    pub kind: AnswerKind,
    left: u32,
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads all of a message but a hello, or nothing.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ControlError> {
        Self::of(content(bytes)?).ok_or(ControlError::Content)
    }

    fn of(mut rest: &'a [u8]) -> Option<Self> {
        let [kind] = take_bytes(&mut rest)?;
        let (kind, left) = match kind {
            WELCOME => (AnswerKind::Welcome(take_u32(&mut rest)?), take_u32(&mut rest)?),
            ACK => (AnswerKind::Ack, 1),
            NACK => (AnswerKind::Nack, 1),
            _ => return None,
        };
        let mut all = Self { kind, left, rest };
        while all.left > 0 {
            all.next()?;
        }
        (left <= LANES_MAX as u32 && all.rest.is_empty()).then_some(Self { kind, left, rest })
    }
}

impl Iterator for Answer<'_> {
    type Item = Resume;

    // Never inlined: one copy checks and reads.
    #[inline(never)]
    fn next(&mut self) -> Option<Resume> {
        self.left = self.left.checked_sub(1)?;
        take_end(&mut self.rest, self.kind != AnswerKind::Nack)
    }
}

/// What follows the checksum.
fn content(bytes: &[u8]) -> Result<&[u8], ControlError> {
    if !is_control(bytes) || bytes.len() > CONTROL_BYTES_MAX {
        return Err(ControlError::Foreign);
    }
    let (crc, rest) = bytes.get(4..).and_then(<[u8]>::split_first_chunk).ok_or(ControlError::Foreign)?;
    if u32::from_le_bytes(*crc) == crc32c(rest) { Ok(rest) } else { Err(ControlError::Crc) }
}

/// Writes magic and checksum before the `len` bytes of content; gives the length of all.
fn finish(out: &mut [u8], len: usize) -> Option<usize> {
    let (head, rest) = out.split_first_chunk_mut::<HEAD_LEN>()?;
    let [m, a, g, i, crc @ ..] = head;
    [*m, *a, *g, *i] = MAGIC;
    *crc = crc32c(rest.get(..len)?).to_le_bytes();
    Some(HEAD_LEN + len)
}

fn put_hello(out: &mut Writer<'_>, session: u32, key: &[u8; 32], lanes: &[Held], signature: &Signature) {
    out.varint(session.into());
    out.bytes(key);
    out.varint(lanes.len() as u64);
    for held in lanes {
        put_lane(out, held.lane);
        out.varint(held.first.get());
        out.varint(held.end.get());
    }
    signature.iter().for_each(|half| out.bytes(half));
}

fn put_lane(out: &mut Writer<'_>, lane: Lane) {
    out.byte(lane.stream.number());
    out.varint(lane.epoch.get());
}

fn take_lane(bytes: &mut &[u8]) -> Option<Lane> {
    let [stream] = take_bytes(bytes)?;
    Some(Lane { stream: Stream::from_number(stream)?, epoch: Epoch::new(take_varint(bytes)?) })
}

fn put_resume(out: &mut Writer<'_>, resume: &Resume) {
    put_lane(out, resume.lane);
    out.varint(resume.end.get());
    match resume.check {
        None => out.byte(0),
        Some(check) => {
            out.byte(1);
            out.varint(check.0);
        }
    }
}

fn take_resume(bytes: &mut &[u8]) -> Option<Resume> {
    take_end(bytes, true)
}

fn take_end(bytes: &mut &[u8], has_check: bool) -> Option<Resume> {
    let (lane, end) = (take_lane(bytes)?, take_sequence(bytes)?);
    let check = match if has_check { take_bytes(bytes)? } else { [0] } {
        [0] => None,
        [1] => Some(Check(take_varint(bytes)?)),
        _ => return None,
    };
    Some(Resume { lane, end, check })
}

fn take_sequence(bytes: &mut &[u8]) -> Option<Sequence> {
    take_varint(bytes).map(Sequence::new)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take_varint(bytes)?.try_into().ok()
}

fn take_list<T>(bytes: &mut &[u8], take: fn(&mut &[u8]) -> Option<T>) -> Option<heapless::Vec<T, LANES_MAX>> {
    let mut list = heapless::Vec::new();
    for _ in 0..take_varint(bytes)? {
        list.push(take(bytes)?).ok()?;
    }
    Some(list)
}

// Session, key, length and signature, then per lane: stream, epoch, two sequences or a sequence and an optional check.
const HELLO_LEN_MAX: usize = 5 + 32 + 5 + 64 + LANES_MAX * (1 + 10 + 10 + 11);
const _: () = assert!(HEAD_LEN + 1 + HELLO_LEN_MAX <= CONTROL_BYTES_MAX, "whatever the kind");
const _: () = assert!(SOURCE_BYTES_MAX + 1 + HELLO_LEN_MAX <= CONTROL_BYTES_MAX, "with the name before it");
