//! Control messages: everything of a session but the batches.
//!
//! `"AFC2" ‖ crc32c(rest) ‖ rest`, where the rest is [`Control`] as postcard would write it. A batch begins with its
//! own magic, so one look at the first four bytes distinguishes them.

use super::Check;
use crate::checksum::crc32c;
use crate::ids::{Epoch, Sequence, SequenceRange, Stream};
use crate::limits::{CONTROL_BYTES_MAX, LANES_MAX};
use crate::wire::{Writer, take_bytes, take_varint};

const MAGIC: [u8; 4] = *b"AFC2";
const HEAD_LEN: usize = 8;

// The variants of `Control`, in postcard's numbering.
const HELLO: u8 = 0;
const WELCOME: u8 = 1;
const ACK: u8 = 2;
const NACK: u8 = 3;
const ASK: u8 = 4;
const COMMON: u8 = 5;
const AGAIN: u8 = 6;

/// One epoch of one stream: what is sequenced, acked and resumed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The stream.
    pub stream: Stream,
    /// The epoch of the lane.
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
    /// Counts up with every hello of a connection: answers to others are not for it.
    pub session: u32,
    /// What it holds. `first` is the oldest sequence that it can still send, acked or not; on a serial line, the end of
    /// what was acked.
    pub lanes: heapless::Vec<Held, LANES_MAX>,
}

impl Hello {
    fn put(&self, out: &mut Writer<'_>) {
        put_hello(out, self.session, &self.lanes);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            session: take_u32(bytes)?,
            lanes: take_list(bytes, |bytes| {
                Some(Held { lane: take_lane(bytes)?, first: take_sequence(bytes)?, end: take_sequence(bytes)? })
            })?,
        })
    }
}

/// Where a receiver wants to go on, for every lane of the hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session of the hello that it answers.
    pub session: u32,
    /// Where each lane continues.
    pub lanes: heapless::Vec<Resume, LANES_MAX>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// From the sender: what it holds.
    Hello(Hello),
    /// From the receiver: where to go on.
    Welcome(Welcome),
    /// From the receiver: everything of these lanes before their `end` is on its disk.
    Ack(heapless::Vec<Resume, LANES_MAX>),
    /// From the receiver: a gap, send again from here.
    Nack {
        /// The lane.
        lane: Lane,
        /// The first sequence that is missing.
        from: Sequence,
    },
    /// From the sender, whose lane the receiver contradicts: which of these ends of batches of its own (of one lane,
    /// the largest first) does the receiver have as well, with the same check?
    Ask(heapless::Vec<Resume, LANES_MAX>),
    /// From the receiver: the largest of the ends asked for that it has with the same check. For none of them `end` 0,
    /// and the check of the largest one asked for (on a serial line none), so that the sender knows which question it
    /// answers.
    Common(Resume),
    /// From the receiver, whose log is damaged: send these once more, if they are still there.
    Again {
        /// The lane.
        lane: Lane,
        /// The sequences.
        range: SequenceRange,
    },
}

/// Why bytes are no control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The bytes begin differently, or are too few or too many.
    #[error("it is not a control message")]
    Foreign,
    /// The checksum does not match.
    #[error("its checksum does not match: it was damaged")]
    Crc,
    /// The kind of message, or one of its fields, is unknown to this reader.
    #[error("its content is unknown; the sender is newer than this reader: update this side")]
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

    /// Writes the message to the start of `out`; returns its length, or `None` when it does not fit.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out.get_mut(HEAD_LEN..)?);
        self.put(&mut writer);
        let len = writer.written()?;
        finish(out, len)
    }

    /// Writes kind and fields, as in a plain and in a signed message.
    pub(crate) fn put(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Hello(hello) => {
                writer.byte(HELLO);
                hello.put(writer);
            }
            Self::Welcome(welcome) => {
                writer.byte(WELCOME);
                writer.varint(welcome.session.into());
                put_list(writer, &welcome.lanes);
            }
            Self::Ack(lanes) => {
                writer.byte(ACK);
                put_list(writer, lanes);
            }
            Self::Nack { lane, from } => {
                writer.byte(NACK);
                put_lane(writer, *lane);
                writer.varint(from.get());
            }
            Self::Ask(ends) => {
                writer.byte(ASK);
                put_list(writer, ends);
            }
            Self::Common(resume) => {
                writer.byte(COMMON);
                put_resume(writer, resume);
            }
            Self::Again { lane, range } => {
                writer.byte(AGAIN);
                put_lane(writer, *lane);
                writer.varint(range.first.get());
                writer.varint(range.end.get());
            }
        }
    }

    /// Takes kind and fields off the front.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [kind] = take_bytes(bytes)?;
        Some(match kind {
            HELLO => Self::Hello(Hello::take(bytes)?),
            WELCOME => Self::Welcome(Welcome { session: take_u32(bytes)?, lanes: take_list(bytes, take_resume)? }),
            ACK => Self::Ack(take_list(bytes, take_resume)?),
            NACK => Self::Nack { lane: take_lane(bytes)?, from: take_sequence(bytes)? },
            ASK => Self::Ask(take_list(bytes, take_resume)?),
            COMMON => Self::Common(take_resume(bytes)?),
            AGAIN => Self::Again {
                lane: take_lane(bytes)?,
                range: SequenceRange { first: take_sequence(bytes)?, end: take_sequence(bytes)? },
            },
            _ => return None,
        })
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let mut rest = content(bytes)?;
        Self::take(&mut rest).filter(|_| rest.is_empty()).ok_or(ControlError::Content)
    }
}

/// Writes a hello to the start of `out`, as [`Control::write`] would: for senders that have no room for a [`Hello`].
pub fn write_hello(session: u32, lanes: &[Held], out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out.get_mut(HEAD_LEN..)?);
    writer.byte(HELLO);
    put_hello(&mut writer, session, lanes);
    let len = writer.written()?;
    finish(out, len)
}

/// Writes a question for one end to the start of `out`, as [`Control::write`] would.
pub fn write_ask(end: &Resume, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out.get_mut(HEAD_LEN..)?);
    writer.byte(ASK);
    put_list(&mut writer, core::slice::from_ref(end));
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
    /// The end asked for that the receiver has as well; 0 for none.
    Common,
}

/// A receiver's message, read lane by lane: for senders that have no room for a [`Welcome`].
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The kind of the message.
    pub kind: AnswerKind,
    left: u32,
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads all of a message of the kinds above, or nothing.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ControlError> {
        Self::of(content(bytes)?).ok_or(ControlError::Content)
    }

    fn of(mut rest: &'a [u8]) -> Option<Self> {
        let [kind] = take_bytes(&mut rest)?;
        let (kind, left) = match kind {
            WELCOME => (AnswerKind::Welcome(take_u32(&mut rest)?), take_u32(&mut rest)?),
            ACK => (AnswerKind::Ack, take_u32(&mut rest)?),
            NACK => (AnswerKind::Nack, 1),
            COMMON => (AnswerKind::Common, 1),
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

/// Writes magic and checksum before the `len` bytes of content; returns the length of all.
fn finish(out: &mut [u8], len: usize) -> Option<usize> {
    let (head, rest) = out.split_first_chunk_mut::<HEAD_LEN>()?;
    let [m, a, g, i, crc @ ..] = head;
    [*m, *a, *g, *i] = MAGIC;
    *crc = crc32c(rest.get(..len)?).to_le_bytes();
    Some(HEAD_LEN + len)
}

fn put_list(out: &mut Writer<'_>, list: &[Resume]) {
    out.varint(list.len() as u64);
    list.iter().for_each(|resume| put_resume(out, resume));
}

fn put_hello(out: &mut Writer<'_>, session: u32, lanes: &[Held]) {
    out.varint(session.into());
    out.varint(lanes.len() as u64);
    for held in lanes {
        put_lane(out, held.lane);
        out.varint(held.first.get());
        out.varint(held.end.get());
    }
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

// Session and length, then per lane: stream, epoch, two sequences or a sequence and an optional check.
const HELLO_LEN_MAX: usize = 5 + 5 + LANES_MAX * (1 + 10 + 10 + 11);
const _: () = assert!(HEAD_LEN + 1 + HELLO_LEN_MAX <= CONTROL_BYTES_MAX, "whatever the kind");
