//! The collector's own events.

use afferent_protocol::batch::CHAIN_START;
use afferent_protocol::event::{Body, Event, LifeCycle, PreviousStop};
use afferent_protocol::ids::{Offset, SequenceRange, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::limits::TEXT_BYTES_MAX;
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

use crate::sources::LaneKept;

/// An event of the collector itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The collector began.
    Started {
        /// How it had stopped the time before.
        previous: PreviousStop,
        /// The version of its software.
        version: String,
        /// What the start had to mend, for people.
        repairs: String,
    },
    /// The collector ends on purpose.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A source is held to this key from now on.
    KeyPinned {
        /// The source.
        source: SourceId,
        /// Its key.
        key: PublicKey,
    },
    /// Something that came in this source's name was refused.
    Refused {
        /// The source.
        source: SourceId,
        /// Why.
        reason: String,
    },
    /// These will not come, and nobody has declared them yet.
    Gap {
        /// The source.
        source: SourceId,
        /// The lane that has the hole.
        lane: Lane,
        /// What is missing.
        range: SequenceRange,
    },
    /// All that is in the log from one offset up to another is bound by this hash.
    Sealed {
        /// The first offset.
        first: Offset,
        /// The first one after it.
        end: Offset,
        /// See [`afferent_protocol::sign::Stretch`].
        hash: [u8; 32],
    },
    /// Retention removes what is before this offset.
    Trimmed {
        /// The oldest offset that stays.
        until: Offset,
        /// Which rule asks for it.
        rule: String,
    },
    /// Retention empties the batches of a stream before this offset.
    Emptied {
        /// The stream.
        stream: Stream,
        /// The offset.
        until: Offset,
        /// Which rule asks for it.
        rule: String,
    },
    /// How far a lane has come.
    LaneKept {
        /// The source.
        source: SourceId,
        /// The lane.
        lane: Lane,
        /// How far.
        kept: LaneKept,
    },
    /// Nothing more is to be expected of a source, an operator says.
    Retired {
        /// The source.
        source: SourceId,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
    },
    /// A source is held to this key from now on and not to the one before, an operator says.
    KeyReplaced {
        /// The source.
        source: SourceId,
        /// Its new key.
        key: PublicKey,
        /// Who says so.
        who: String,
    },
    /// The disk of the log refused something, or gave back something else than what was written.
    DiskTrouble {
        /// What happened and what was done.
        message: String,
    },
}

/// An event that waits for its batch.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub time: Timestamp,
    pub notice: Notice,
}

impl Told {
    /// Whether `other` says nothing that this one does not say: a disk that fails for hours is told once.
    pub fn repeats(&self, other: &Notice) -> bool {
        self.notice == *other
            || matches!((&self.notice, other), (Notice::DiskTrouble { .. }, Notice::DiskTrouble { .. }))
    }

    /// The event, with the collector as its subject.
    pub fn with_event<T>(&self, own: &SourceId, take: impl FnOnce(&Event<'_>) -> T) -> T {
        let subject = Subject::new(own.as_str()).expect("a source's name is a path of one level");
        let event = |life_cycle| Event { time: self.time, subject, body: Body::LifeCycle(life_cycle) };
        match &self.notice {
            Notice::Started { previous, version, repairs } => {
                let (version, repairs) = (clip(version), clip(repairs));
                take(&event(LifeCycle::Started { previous: *previous, version, repairs }))
            }
            Notice::Stopped { reason } => take(&event(LifeCycle::Stopped { reason: clip(reason) })),
            Notice::KeyPinned { source, key } => {
                take(&event(LifeCycle::KeyPinned { source: source.as_str(), key: key.0 }))
            }
            Notice::Refused { source, reason } => {
                take(&event(LifeCycle::Refused { source: source.as_str(), reason: clip(reason) }))
            }
            Notice::Gap { source, lane, range } => take(&event(LifeCycle::Gap {
                source: source.as_str(),
                stream: lane.stream,
                epoch: lane.epoch,
                first: range.first,
                end: range.end,
            })),
            Notice::Sealed { first, end, hash } => {
                take(&event(LifeCycle::Sealed { first: *first, end: *end, hash: *hash }))
            }
            Notice::Trimmed { until, rule } => take(&event(LifeCycle::Trimmed { until: *until, rule: clip(rule) })),
            Notice::Emptied { stream, until, rule } => {
                take(&event(LifeCycle::Emptied { stream: *stream, until: *until, rule: clip(rule) }))
            }
            Notice::LaneKept { source, lane, kept } => take(&event(LifeCycle::LaneKept {
                source: source.as_str(),
                stream: lane.stream,
                epoch: lane.epoch,
                end: kept.end,
                time_last: kept.time_last,
                chain: kept.chain.unwrap_or(CHAIN_START),
            })),
            Notice::Retired { source, who, why } => {
                take(&event(LifeCycle::Retired { source: source.as_str(), who: clip(who), why: clip(why) }))
            }
            Notice::KeyReplaced { source, key, who } => {
                take(&event(LifeCycle::KeyReplaced { source: source.as_str(), key: key.0, who: clip(who) }))
            }
            Notice::DiskTrouble { message } => take(&event(LifeCycle::DiskTrouble { message: clip(message) })),
        }
    }
}

/// As much of a text as an event takes.
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
