//! Signed messages: what agent and collector send each other over MQTT beside batches.
//!
//! A [`Control`] message with its sender, the nonce that it answers, and a signature over all of it:
//!
//! ```text
//! 0       4     8          72        73    74     90      106      122  154
//! ├───────┼─────┼──────────┼─────────┼─────┼──────┼───────┼────────┼────┼───────────────────────┬─────────┐
//! │"AFS1" │ crc │signature │direction│kind │log id│ nonce │ answer │key │ fields of the direction│ content │
//! └───────┴─────┴──────────┴─────────┴─────┴──────┴───────┴────────┴────┴───────────────────────┴─────────┘
//!                └── the crc covers ──────────────────────────────────────────────────────────────────────▶│
//!                            └── SHA-256 of the source's name, a zero, and this is what is signed ────────▶│
//! ```
//!
//! `nonce` is the agent's, drawn for one connection; a collector's message counts for the connection whose nonce it
//! repeats and for no other. `answer` is the collector's: its Welcome brings one, and a hello that repeats it is
//! *proved*: it was sent now, and by the owner of the key.

extern crate alloc;
use alloc::vec::Vec;

use super::{Control, ControlError};
use crate::attestation::{ATTESTATION_LEN, Attestation};
use crate::batch::ClockReading;
use crate::checksum::crc32c;
use crate::endorsement::{ENDORSEMENT_LEN, Endorsement};
use crate::ids::{Offset, SourceId, Timestamp};
use crate::limits::{ENDORSEMENTS_MAX, FORMER_NAMES_MAX, SIGNED_BYTES_MAX};
use crate::sign::{Context, Identity, PublicKey, Verifier, sha256};
use crate::wire::{Writer, take_bytes, take_varint};

const MAGIC: [u8; 4] = *b"AFS1";
/// Where the part begins that is signed.
const SIGNED_FROM: usize = 72;

/// 128 random bits; zeros mean none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// Stands where there is none.
    pub const NONE: Self = Self([0; 16]);
}

/// Names one run of an agent: random, and never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub [u8; 16]);

/// The id of a log; zeros where it is unknown.
pub type LogId = [u8; 16];

/// A place in a unified log: log, partition, term and offset. It holds only if that term reaches that far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Id of the log.
    pub log_id: LogId,
    /// Partition of the log.
    pub partition: u32,
    /// Term in which the offset was assigned.
    pub term: u64,
    /// Offset in the partition.
    pub offset: Offset,
}

/// A signed message of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// Id of the log that the agent knows; zeros when it knows none.
    pub log_id: LogId,
    /// The agent's nonce, drawn for this connection.
    pub nonce: Nonce,
    /// The nonce that the newest welcome of this connection brought; [`Nonce::NONE`] before the first.
    pub answer: Nonce,
    /// The agent's key, which signs the message.
    pub key: PublicKey,
    /// The agent's run: drawn at each start.
    pub instance: Instance,
    /// The agent's clocks when it signed the message.
    pub clock: ClockReading,
    /// Former names under which the agent holds events; at most [`FORMER_NAMES_MAX`] are written.
    pub former: Vec<SourceId>,
    /// The content.
    pub content: UpContent,
}

/// The content of an agent's message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few are kept: each is read, judged and dropped")]
pub enum UpContent {
    /// A message of the session.
    Control(Control),
    /// Whether the connection with this nonce is up. The last will is fixed when a connection is made, and states that
    /// it is not.
    State {
        /// Whether it is up.
        online: bool,
    },
}

/// A signed message of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// The agent's nonce of the connection that this answers.
    pub nonce: Nonce,
    /// The collector's nonce: a hello that repeats it is proved.
    pub answer: Nonce,
    /// The collector's key, which signs the message.
    pub key: PublicKey,
    /// How far the collector's log is on disk.
    pub place: Place,
    /// When the collector signed the message, by its clock.
    pub time: Timestamp,
    /// Whether the newest hello of this connection was a proved one.
    pub is_proved: bool,
    /// Leads from a key that the agent may trust to `key`, in order; at most [`ENDORSEMENTS_MAX`] are written.
    pub endorsements: Vec<[u8; ENDORSEMENT_LEN]>,
    /// The newest attestation, when it is new.
    pub attestation: Option<[u8; ATTESTATION_LEN]>,
    /// The content.
    pub content: Control,
}

/// A signed message whose signature was not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<T> {
    message: T,
    key: PublicKey,
    signature: [u8; 64],
    /// The bytes that are signed, without the name before them.
    signed: Vec<u8>,
}

/// Whether a message is a signed one.
pub fn is_signed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Whether a signed message is a collector's.
pub fn is_down(bytes: &[u8]) -> bool {
    is_signed(bytes) && bytes.get(SIGNED_FROM) == Some(&DOWN)
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const CONTROL: u8 = 0;
const STATE: u8 = 1;

impl Up {
    /// The message's bytes, signed by the source with this name.
    ///
    /// # Panics
    /// When `identity` is not the one whose key it names.
    pub fn sign(&self, source: &SourceId, identity: &Identity) -> Vec<u8> {
        assert_eq!(identity.public_key(), self.key, "a message names the key that signs it");
        finish(source, identity, |out| {
            let kind = if matches!(self.content, UpContent::Control(_)) { CONTROL } else { STATE };
            put_head(out, UP, kind, &self.log_id, self.nonce, self.answer, &self.key);
            out.bytes(&self.instance.0);
            out.bytes(&self.clock.boot);
            out.byte(u8::from(self.clock.synchronised));
            out.varint(self.clock.monotonic_us);
            out.signed(self.clock.wall.micros());
            let former = self.former.get(..FORMER_NAMES_MAX).unwrap_or(&self.former);
            out.varint(former.len() as u64);
            former.iter().for_each(|name| out.text(name.as_str()));
            match &self.content {
                UpContent::Control(control) => control.put(out),
                UpContent::State { online } => out.byte(u8::from(*online)),
            }
        })
    }

    /// Reads an agent's message.
    pub fn read(bytes: &[u8]) -> Result<Unverified<Self>, ControlError> {
        let (signed, signature) = parts(bytes, UP)?;
        let mut rest = &signed[1..];
        let message = Self::take(&mut rest).filter(|_| rest.is_empty()).ok_or(ControlError::Content)?;
        Ok(Unverified { key: message.key, message, signature, signed: signed.into() })
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [kind] = take_bytes(bytes)?;
        Some(Self {
            log_id: take_bytes(bytes)?,
            nonce: Nonce(take_bytes(bytes)?),
            answer: Nonce(take_bytes(bytes)?),
            key: PublicKey(take_bytes(bytes)?),
            instance: Instance(take_bytes(bytes)?),
            clock: {
                let boot = take_bytes(bytes)?;
                let synchronised = take_bool(bytes)?;
                let monotonic_us = take_varint(bytes)?;
                ClockReading { wall: take_time(bytes)?, monotonic_us, synchronised, boot }
            },
            former: take_list(bytes, FORMER_NAMES_MAX, take_name)?,
            content: match kind {
                CONTROL => UpContent::Control(Control::take(bytes)?),
                STATE => UpContent::State { online: take_bool(bytes)? },
                _ => return None,
            },
        })
    }
}

impl Down {
    /// The message's bytes, signed for the source with this name.
    ///
    /// # Panics
    /// When `identity` is not the one whose key it names.
    pub fn sign(&self, source: &SourceId, identity: &Identity) -> Vec<u8> {
        assert_eq!(identity.public_key(), self.key, "a message names the key that signs it");
        finish(source, identity, |out| {
            put_head(out, DOWN, CONTROL, &self.place.log_id, self.nonce, self.answer, &self.key);
            out.varint(self.place.partition.into());
            out.varint(self.place.term);
            out.varint(self.place.offset.get());
            out.signed(self.time.micros());
            out.byte(u8::from(self.is_proved));
            let endorsements = self.endorsements.get(..ENDORSEMENTS_MAX).unwrap_or(&self.endorsements);
            out.varint(endorsements.len() as u64);
            endorsements.iter().for_each(|endorsement| out.bytes(endorsement));
            out.byte(u8::from(self.attestation.is_some()));
            self.attestation.iter().for_each(|attestation| out.bytes(attestation));
            self.content.put(out);
        })
    }

    /// Reads a collector's message.
    pub fn read(bytes: &[u8]) -> Result<Unverified<Self>, ControlError> {
        let (signed, signature) = parts(bytes, DOWN)?;
        let mut rest = &signed[1..];
        let message = Self::take(&mut rest).filter(|_| rest.is_empty()).ok_or(ControlError::Content)?;
        Ok(Unverified { key: message.key, message, signature, signed: signed.into() })
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [CONTROL] = take_bytes(bytes)? else { return None };
        let log_id = take_bytes(bytes)?;
        Some(Self {
            nonce: Nonce(take_bytes(bytes)?),
            answer: Nonce(take_bytes(bytes)?),
            key: PublicKey(take_bytes(bytes)?),
            place: Place {
                log_id,
                partition: take_varint(bytes)?.try_into().ok()?,
                term: take_varint(bytes)?,
                offset: Offset::new(take_varint(bytes)?),
            },
            time: take_time(bytes)?,
            is_proved: take_bool(bytes)?,
            endorsements: take_list(bytes, ENDORSEMENTS_MAX, take_bytes)?,
            attestation: if take_bool(bytes)? { Some(take_bytes(bytes)?) } else { None },
            content: Control::take(bytes)?,
        })
    }

    /// The key among `trusted` that signed it, or from which its endorsements lead to the key that did.
    pub fn trusted_by<'k>(&self, trusted: &'k [PublicKey]) -> Option<&'k PublicKey> {
        if let Some(known) = trusted.iter().find(|known| **known == self.key) {
            return Some(known);
        }
        let mut key = self.key;
        for bytes in self.endorsements.iter().rev() {
            let endorsement = Endorsement::read(bytes)?;
            if (endorsement.key, endorsement.log_id) != (key, self.place.log_id) {
                return None;
            }
            key = endorsement.by;
            if let Some(known) = trusted.iter().find(|known| **known == key) {
                return Some(known);
            }
        }
        None
    }

    /// The attestation that it brings, if the key that it names has signed it.
    pub fn attested(&self) -> Option<Attestation> {
        self.attestation.as_ref().and_then(|bytes| Attestation::read(bytes)?.verify())
    }
}

impl<T> Unverified<T> {
    /// The message, without checking its signature.
    pub const fn claim(&self) -> &T {
        &self.message
    }

    /// The message, if it is signed with this key and about this source.
    pub fn verify(self, source: &SourceId, verifier: &Verifier) -> Option<T> {
        let hash = signed_hash(source, &self.signed);
        verifier.verify_in(Context::Control, &hash, &self.signature).then_some(self.message)
    }

    /// The message, if it is signed with the key that it names, and about this source.
    pub fn verify_own_key(self, source: &SourceId) -> Option<T> {
        let verifier = self.key.verifier()?;
        self.verify(source, &verifier)
    }
}

fn put_head(
    out: &mut Writer<'_>,
    direction: u8,
    kind: u8,
    log_id: &LogId,
    nonce: Nonce,
    answer: Nonce,
    key: &PublicKey,
) {
    out.bytes(&[direction, kind]);
    out.bytes(log_id);
    out.bytes(&nonce.0);
    out.bytes(&answer.0);
    out.bytes(&key.0);
}

fn signed_hash(source: &SourceId, signed: &[u8]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(source.as_bytes().len() + 1 + signed.len());
    bytes.extend_from_slice(source.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(signed);
    sha256(&bytes)
}

fn finish(source: &SourceId, identity: &Identity, put: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = alloc::vec![0; SIGNED_BYTES_MAX];
    let mut writer = Writer::new(&mut bytes[SIGNED_FROM..]);
    put(&mut writer);
    let len = writer.written().expect("the longest signed message fits");
    bytes.truncate(SIGNED_FROM + len);
    let signature = identity.sign_in(Context::Control, &signed_hash(source, &bytes[SIGNED_FROM..]));
    bytes[8..SIGNED_FROM].copy_from_slice(&signature);
    bytes[..4].copy_from_slice(&MAGIC);
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What is signed, direction included, and the signature.
fn parts(bytes: &[u8], direction: u8) -> Result<(&[u8], [u8; 64]), ControlError> {
    if !is_signed(bytes) || bytes.len() > SIGNED_BYTES_MAX {
        return Err(ControlError::Foreign);
    }
    let crc = bytes.get(4..8).ok_or(ControlError::Foreign)?;
    let signed = bytes.get(SIGNED_FROM..).filter(|signed| signed.len() > 1).ok_or(ControlError::Foreign)?;
    if *crc != crc32c(&bytes[8..]).to_le_bytes() {
        return Err(ControlError::Crc);
    }
    if signed[0] != direction {
        return Err(ControlError::Foreign);
    }
    let signature = bytes[8..SIGNED_FROM].try_into().expect("sixty-four bytes");
    Ok((signed, signature))
}

fn take_bool(bytes: &mut &[u8]) -> Option<bool> {
    match take_bytes(bytes)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let raw = take_varint(bytes)?;
    Timestamp::new((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn take_name(bytes: &mut &[u8]) -> Option<SourceId> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (name, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    SourceId::new(core::str::from_utf8(name).ok()?).ok()
}

fn take_list<T>(bytes: &mut &[u8], count_max: usize, take: fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = usize::try_from(take_varint(bytes)?).ok().filter(|count| *count <= count_max)?;
    (0..count).map(|_| take(bytes)).collect()
}

// Head, instance, boot, clock; names; or place, time, endorsements and attestation; then the longest control message.
const _: () = assert!(
    SIGNED_BYTES_MAX
        >= SIGNED_FROM
            + 82
            + 16
            + 16
            + 1
            + 20
            + FORMER_NAMES_MAX * (1 + crate::limits::SOURCE_BYTES_MAX)
            + crate::limits::CONTROL_BYTES_MAX
);
const _: () = assert!(
    SIGNED_BYTES_MAX
        >= SIGNED_FROM
            + 82
            + 40
            + 2
            + ENDORSEMENTS_MAX * ENDORSEMENT_LEN
            + ATTESTATION_LEN
            + crate::limits::CONTROL_BYTES_MAX
);
