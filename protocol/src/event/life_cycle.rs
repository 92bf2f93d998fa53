//! What becomes of agents, collectors, their links and their logs. The order of the variants is the wire format; each
//! has a row in the table of [`Change`](super::Change).

use serde::{Deserialize, Serialize};

use super::{EventError, Severity, fits};
use crate::ids::{Epoch, Offset, Sequence, Stream, Timestamp};
use crate::limits::{HEARTBEAT_BYTES_MAX, HEARTBEAT_LANES_MAX, STATEMENT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::wire::{Writer, take_bytes, take_varint};

/// Something about the carrier of events itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifeCycle<'a> {
    /// An agent began.
    Started {
        /// How it had stopped the time before.
        previous: PreviousStop,
        /// The version of its software.
        #[serde(borrow)]
        version: &'a str,
        /// What the start had to mend, for people; empty when nothing.
        repairs: &'a str,
    },
    /// An agent ended on purpose.
    Stopped {
        /// Why, as `signal`; may be empty.
        reason: &'a str,
    },
    /// A connection is there again.
    LinkUp {
        /// To whom.
        peer: &'a str,
    },
    /// A connection is gone.
    LinkDown {
        /// To whom.
        peer: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A collector has seen a source for the first time and holds it to this key from now on.
    KeyPinned {
        /// The source.
        source: &'a str,
        /// Its Ed25519 public key.
        key: [u8; 32],
    },
    /// A collector refused what somebody sent as this source.
    Refused {
        /// The source that it claimed to be.
        source: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A collector found that these will not come, and nobody has declared them yet.
    Gap {
        /// The source.
        source: &'a str,
        /// The stream that has the hole.
        stream: Stream,
        /// The epoch of that stream.
        epoch: Epoch,
        /// The first sequence that is missing.
        first: Sequence,
        /// The first sequence that is there again.
        end: Sequence,
    },
    /// The disk of a log refused a write; it goes on elsewhere or not at all.
    DiskTrouble {
        /// What happened and what was done.
        message: &'a str,
    },
    /// An agent was given another configuration while it ran.
    Configured {
        /// What became of it.
        message: &'a str,
    },
    /// A collector binds all of its log so far; see [`crate::attestation`].
    Attested {
        /// The attestation's bytes.
        #[serde(borrow)]
        attestation: &'a [u8],
    },
    /// Retention removes the beginning of a collector's log. It is in the log before anything is removed.
    Trimmed {
        /// The oldest offset that stays.
        until: Offset,
        /// Which rule asks for it, for people.
        rule: &'a str,
    },
    /// Retention empties the batches of one stream: their events go, their places in the log stay. It is in the log before
    /// anything is removed.
    Emptied {
        /// The stream.
        stream: Stream,
        /// Batches before this offset are concerned.
        until: Offset,
        /// Which rule asks for it, for people.
        rule: &'a str,
    },
    /// What a collector knows of a stream of a source, re-logged before retention removes where it stood.
    LaneKept {
        /// The source.
        source: &'a str,
        /// The stream.
        stream: Stream,
        /// The epoch of that stream.
        epoch: Epoch,
        /// The first sequence that has not come.
        end: Sequence,
        /// The latest event time so far.
        time_last: Timestamp,
        /// Chain hash of the batch that ends there.
        chain: [u8; 32],
    },
    /// A collector opened its log for writing: the first event of a term, at the offset `first`.
    TermBegun {
        /// The log's id.
        log_id: [u8; 16],
        /// The partition.
        partition: u32,
        /// The term, a random number.
        term: u64,
        /// The first offset of the term.
        first: Offset,
    },
    /// An agent is alive: everything that it had accepted when this was made is before these ends.
    Heartbeat {
        /// Names one run of the agent.
        instance: [u8; 16],
        /// Where its lanes ended.
        #[serde(borrow)]
        lanes: LaneEnds<'a>,
    },
    /// The first event of an epoch that holds events of another epoch once more: its sequence n (from 1 on) was `first` +
    /// n − 1 there.
    Resealed {
        /// The stream of both epochs.
        stream: Stream,
        /// The other epoch.
        epoch: Epoch,
        /// The first sequence there.
        first: Sequence,
        /// Why.
        reason: ResealReason,
    },
    /// An agent that had been here before found neither its ring log nor the ring's witness: what it had accepted and not
    /// shipped is unknown.
    RingReplaced {
        /// What was found, for people.
        message: &'a str,
    },
    /// Two machines speak for one source, with the same key.
    Conflict {
        /// The source.
        source: &'a str,
        /// The boots of both.
        boots: [[u8; 16]; 2],
        /// Their addresses where the collector sees them, for people.
        addresses: &'a str,
    },
    /// The log was put back to an earlier state: an agent holds a signed acknowledgement of a place that it does not have.
    RolledBack {
        /// The agent.
        source: &'a str,
        /// The term of that place.
        term: u64,
        /// How far that term reaches in this log.
        until: Offset,
        /// How far it had come.
        end: Offset,
        /// When the acknowledgement was made, by the collector's clock.
        time: Timestamp,
    },
    /// An operator says that nothing more is to be expected of a source.
    Retired {
        /// The source.
        source: &'a str,
        /// Who says so; unverified unless the interface asked for a login.
        who: &'a str,
        /// Why.
        why: &'a str,
    },
    /// An operator says that a source may come with this key from now on, and not with the one before.
    KeyReplaced {
        /// The source.
        source: &'a str,
        /// Its new Ed25519 public key.
        key: [u8; 32],
        /// Who says so; unverified unless the interface asked for a login.
        who: &'a str,
    },
    /// A key of the log endorses another one; see [`crate::endorsement`].
    KeyEndorsed {
        /// The endorsement's bytes.
        #[serde(borrow)]
        endorsement: &'a [u8],
    },
    /// A source holds, in its ring log, events under a name that it had before.
    Alias {
        /// The source.
        source: &'a str,
        /// The name that it had.
        former: &'a str,
    },
    /// A source that has delivered nothing gave way to others: its name is held to no key from now on.
    Forgotten {
        /// The source.
        source: &'a str,
    },
    /// Part of a file that an agent follows is gone before the agent has read it, or perhaps is.
    Unread {
        /// The file.
        file: &'a str,
        /// How far the agent has read it, in bytes.
        from: u64,
        /// So many bytes behind that are gone at least; 0 where nobody knows of any.
        bytes_least: u64,
        /// What happened to the file.
        reason: &'a str,
    },
}

/// Why events stand in another epoch once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResealReason {
    /// The next log has something else in the epoch: the ring log was put back from a copy, or is used twice.
    Diverged,
    /// The source has another key than the one that signed them.
    OtherKey,
}

/// Where a lane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneEnd {
    /// Its stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
    /// The first sequence that was not accepted.
    pub end: Sequence,
    /// The first eight bytes of the last batch's chain hash, little-endian: where two histories of a lane have parted, it
    /// tells of which this is the end. Zero where nobody knows it.
    pub check: u64,
}

/// Where lanes end, as a heartbeat has it: for each lane its stream (a byte), its epoch and its end (varints), and its
/// check (eight bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneEnds<'a>(#[serde(borrow)] &'a [u8]);

impl<'a> LaneEnds<'a> {
    /// Of these bytes, which are checked with the event.
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Writes at most [`HEARTBEAT_LANES_MAX`] lanes to `out`; `None` when there are more.
    pub fn write(lanes: &[LaneEnd], out: &'a mut [u8; HEARTBEAT_BYTES_MAX]) -> Option<Self> {
        let mut writer = Writer::new(out);
        for lane in lanes.get(..lanes.len().min(HEARTBEAT_LANES_MAX + 1))? {
            writer.byte(lane.stream.number());
            writer.varint(lane.epoch.get());
            writer.varint(lane.end.get());
            writer.bytes(&lane.check.to_le_bytes());
        }
        let len = writer.written().filter(|_| lanes.len() <= HEARTBEAT_LANES_MAX)?;
        Some(Self(out.get(..len)?))
    }

    /// The lanes; ends at what is none.
    pub fn iter(&self) -> impl Iterator<Item = LaneEnd> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || take_lane_end(&mut rest))
    }

    fn is_whole(&self) -> bool {
        let mut rest = self.0;
        let mut lanes = 0;
        while !rest.is_empty() && lanes <= HEARTBEAT_LANES_MAX {
            if take_lane_end(&mut rest).is_none() {
                return false;
            }
            lanes += 1;
        }
        rest.is_empty() && lanes <= HEARTBEAT_LANES_MAX
    }
}

fn take_lane_end(rest: &mut &[u8]) -> Option<LaneEnd> {
    let [stream] = take_bytes(rest)?;
    let stream = Stream::from_number(stream)?;
    let (epoch, end) = (Epoch::new(take_varint(rest)?), Sequence::new(take_varint(rest)?));
    Some(LaneEnd { stream, epoch, end, check: u64::from_le_bytes(take_bytes(rest)?) })
}

/// How an agent had stopped the time before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreviousStop {
    /// Its log is new: there was none.
    None,
    /// It stopped on purpose.
    Clean,
    /// It died while the machine went on.
    Crash,
    /// The machine went down without telling it.
    PowerLoss,
}

impl PreviousStop {
    /// How severe a start after it is.
    pub(super) const fn of_start(self) -> Severity {
        match self {
            Self::None | Self::Clean => Severity::Info,
            Self::Crash | Self::PowerLoss => Severity::Warning,
        }
    }
}

impl LifeCycle<'_> {
    pub(super) fn check(&self) -> Result<(), EventError> {
        let texts: [(&'static str, &str); 2] = match *self {
            Self::Started { version, repairs, .. } => [("version", version), ("repairs", repairs)],
            Self::Stopped { reason } => [("reason", reason), ("", "")],
            Self::LinkUp { peer } => [("peer", peer), ("", "")],
            Self::LinkDown { peer, reason } => [("peer", peer), ("reason", reason)],
            Self::Gap { first, end, .. } if first > end => return Err(EventError::Range),
            Self::KeyPinned { source, .. }
            | Self::Forgotten { source }
            | Self::Gap { source, .. }
            | Self::LaneKept { source, .. }
            | Self::RolledBack { source, .. } => [("source", source), ("", "")],
            Self::Refused { source, reason } => [("source", source), ("reason", reason)],
            Self::DiskTrouble { message } | Self::Configured { message } | Self::RingReplaced { message } => {
                [("message", message), ("", "")]
            }
            Self::Trimmed { rule, .. } | Self::Emptied { rule, .. } => [("rule", rule), ("", "")],
            Self::Conflict { source, addresses, .. } => [("source", source), ("addresses", addresses)],
            Self::KeyReplaced { source, who, .. } => [("source", source), ("who", who)],
            Self::Alias { source, former } => [("source", source), ("former", former)],
            Self::Unread { file, reason, .. } => [("file", file), ("reason", reason)],
            Self::Retired { source, who, why } => {
                fits("source", source, TEXT_BYTES_MAX)?;
                [("who", who), ("why", why)]
            }
            Self::Attested { attestation: statement } | Self::KeyEndorsed { endorsement: statement } => {
                return if statement.len() <= STATEMENT_BYTES_MAX { Ok(()) } else { Err(EventError::Statement) };
            }
            Self::Heartbeat { lanes, .. } => {
                return if lanes.is_whole() { Ok(()) } else { Err(EventError::Statement) };
            }
            Self::TermBegun { .. } | Self::Resealed { .. } => return Ok(()),
        };
        texts.into_iter().try_for_each(|(field, text)| fits(field, text, TEXT_BYTES_MAX))
    }
}
