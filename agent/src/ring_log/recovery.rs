//! What a start has found and mended.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Epoch, Sequence, Stream};
use afferent_protocol::session::Lane;

use super::devices::Tables;

/// What a start has found and mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether there was no log.
    pub is_new: bool,
    /// The lanes that were there, oldest first.
    pub lanes: Vec<RecoveredLane>,
    /// How each stream goes on, by its number.
    pub streams: [StreamStart; 2],
    /// Damage that was met.
    pub damage: Damage,
    /// Losses that no start before has declared. They are durable in `critical`, unless `undeclared` is not zero.
    pub losses: Vec<Loss>,
    /// Whether the disk has not taken all of them yet. They come before anything else that is appended.
    pub undeclared: bool,
    /// The last batch of `critical`: it shows how the agent had stopped.
    pub last_critical: Option<LastCritical>,
    /// How far devices and followed files are in the log, by the agent's stream.
    pub tables: [Tables; 2],
    /// What the ring's witness was found to know.
    pub witness: WitnessStart,
    /// Why the disk does not take the witness.
    pub witness_trouble: Option<String>,
    /// Lanes that are sealed again, because a different key has signed them.
    pub resealed: u32,
    /// Ring and witness were both gone although the agent had been here before: what it had accepted and not shipped is
    /// unknown. For people; see [`Recovery::note_identity`].
    pub replaced: Option<String>,
    /// Files with the name of a segment that belong to a different log or cannot be opened: they are not touched.
    pub foreign_files: u32,
}

/// Damage that was met, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Segment headers of which one of the two copies is damaged.
    pub header_copies: u32,
    /// Files whose header is damaged in both copies: nothing in them can be read.
    pub headers: u32,
    /// Stretches in segments that cannot be read although whole entries follow.
    pub stretches: u32,
    /// Lanes that end in a write that did not finish, or in damage.
    pub torn_tails: u32,
    /// Pieces of files that the disk did not give.
    pub unreadable_pieces: u32,
}

/// How the ring's witness goes together with the files that a start has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WitnessStart {
    /// There is none, nor is there a ring; or there is one and the witness is gone.
    #[default]
    Gone,
    /// It knows all that was accepted.
    Whole,
    /// It lags behind the ring: it was put back from an earlier copy, or could not be written.
    Behind,
    /// The witness belongs to a different ring than the files.
    OtherLog,
    /// It is there, and the ring's files are not.
    Alone,
}

/// The last batch of `critical` that a start has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCritical {
    /// The clock when it was made.
    pub clock: ClockReading,
    /// Whether its last event is that the agent stops.
    pub stopped: bool,
}

/// A lane that a start has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredLane {
    /// The lane.
    pub lane: Lane,
    /// The first sequence that is held.
    pub first: Sequence,
    /// The first sequence that is not on disk.
    pub end: Sequence,
    /// Whether it was written under a former name of the agent: it is kept and not shipped.
    pub foreign: bool,
}

/// How a stream goes on after a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// In a new epoch, for there is none of this stream in the log.
    #[default]
    First,
    /// The stream continues in its epoch.
    Continued,
    /// In a new epoch, for the one before ended in a write that did not finish, or in damage.
    TornTail {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch: the end of the previous one is unknown.
    Unknown {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch: the previous one was written under a former name.
    Renamed {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch, for not all that was accepted in the one before is there.
    Vanished {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch, for an earlier start had ended the one before.
    Ended {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch: the previous one was signed with a different key.
    OtherKey {
        /// The epoch before.
        before: Epoch,
    },
    /// In a new epoch, for the disk does not take writes to the segment before.
    Unwritable {
        /// The epoch before.
        before: Epoch,
    },
}

impl Recovery {
    /// Whether everything was whole.
    pub fn is_clean(&self) -> bool {
        let goes_on = |start: &StreamStart| {
            matches!(start, StreamStart::First | StreamStart::Continued | StreamStart::Ended { .. })
        };
        let knows = self.is_new || self.witness == WitnessStart::Whole;
        self.damage == Damage::default()
            && self.losses.is_empty()
            && self.foreign_files == 0
            && self.streams.iter().all(goes_on)
            && knows
            && self.witness_trouble.is_none()
            && self.replaced.is_none()
            && self.resealed == 0
    }

    /// Whether the agent had run before this start, as its key shows: then a ring and a witness that are both new have
    /// replaced others. They are new until the ring has a critical event: the first one records it. A witness alone
    /// knows what was in the ring.
    pub fn note_identity(&mut self, existed: bool) {
        let is_written = |lane: &RecoveredLane| lane.lane.stream == Stream::Critical && lane.end > Sequence::ZERO;
        let is_known = self.witness == WitnessStart::Alone || self.lanes.iter().any(is_written);
        if existed && !is_known {
            let found = "the ring log and its witness are new, although the agent's key was there: what it had \
                         accepted and not shipped is unknown";
            self.replaced = Some(found.to_owned());
        }
    }
}

impl fmt::Display for Recovery {
    /// What was repaired, for people; empty when everything was whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            write!(f, "{separator}{text}")?;
            separator = "; ";
            Ok(())
        };
        for (stream, start) in Stream::ALL.into_iter().zip(self.streams) {
            let why = match start {
                StreamStart::First | StreamStart::Continued | StreamStart::Ended { .. } => continue,
                StreamStart::Vanished { .. } => "accepted events are missing",
                StreamStart::OtherKey { .. } => "the agent's key has changed",
                StreamStart::TornTail { .. } => "its last write was incomplete",
                StreamStart::Unknown { .. } => "its end is unknown",
                StreamStart::Renamed { .. } => "the agent's name has changed",
                StreamStart::Unwritable { .. } => "the disk refused its last segment",
            };
            part(f, format_args!("{stream} continues in a new epoch, as {why}"))?;
        }
        let Damage { header_copies, headers, stretches, torn_tails: _, unreadable_pieces } = self.damage;
        let counts = [
            (header_copies, "damaged header copies"),
            (headers, "files without a readable header"),
            (stretches, "damaged ranges"),
            (unreadable_pieces, "ranges that the disk could not read"),
            (self.foreign_files, "files of a different log"),
        ];
        for (count, what) in counts {
            if count > 0 {
                part(f, format_args!("{count} {what}"))?;
            }
        }
        for loss in &self.losses {
            let Loss { stream, epoch, first, end, reason, .. } = loss;
            let more = if *reason == LossReason::VanishedAtLeast { ", at least" } else { "" };
            part(f, format_args!("lost: {stream} {epoch}, {first} to {end}{more}"))?;
        }
        let of_witness = match self.witness {
            WitnessStart::Gone if !self.is_new => Some("the ring's witness is missing and was recreated"),
            WitnessStart::Gone | WitnessStart::Whole => None,
            WitnessStart::Behind => Some("the ring's witness is older than the ring"),
            WitnessStart::OtherLog => Some("the ring's witness belongs to a different ring"),
            WitnessStart::Alone => Some("the ring log is missing, but its witness exists"),
        };
        if let Some(found) = of_witness {
            part(f, format_args!("{found}"))?;
        }
        if let Some(trouble) = &self.witness_trouble {
            part(f, format_args!("the disk does not take the ring's witness: {trouble}"))?;
        }
        if self.resealed > 0 {
            part(f, format_args!("{} epochs of another key are sealed again", self.resealed))?;
        }
        if let Some(replaced) = &self.replaced {
            part(f, format_args!("{replaced}"))?;
        }
        if self.undeclared {
            part(f, format_args!("the disk has not taken the declaration yet"))?;
        }
        Ok(())
    }
}
