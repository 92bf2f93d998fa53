//! The collector's own events.

use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::CHAIN_START;
use afferent_protocol::endorsement::ENDORSEMENT_LEN;
use afferent_protocol::event::{Body, Event, LifeCycle, PreviousStop};
use afferent_protocol::ids::{Offset, SequenceRange, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::limits::TEXT_BYTES_MAX;
use afferent_protocol::session::Lane;
use afferent_protocol::session::signed::Place;
use afferent_protocol::sign::PublicKey;

use crate::sources::LaneKept;

/// An event of the collector itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The collector began.
    Started {
        /// How the run before had stopped.
        previous: PreviousStop,
        /// The version of its software.
        version: String,
        /// What the start repaired, for people.
        repairs: String,
    },
    /// The collector stops on purpose.
    Stopped {
        /// The reason of the stop, for people.
        reason: String,
    },
    /// A source is held to this key from now on.
    KeyPinned {
        /// The pinned source.
        source: SourceId,
        /// The key that it is held to.
        key: PublicKey,
    },
    /// A message in this source's name was refused.
    Refused {
        /// The source that the message named.
        source: SourceId,
        /// The refusal in words.
        reason: String,
    },
    /// A gap: these records will not come, and no loss declares them yet.
    Gap {
        /// The source of the lane.
        source: SourceId,
        /// The lane that has the hole.
        lane: Lane,
        /// The missing records.
        range: SequenceRange,
    },
    /// A term of the log begins, or began.
    TermBegun {
        /// Log, partition and term, and the term's first offset.
        first: Place,
    },
    /// An attestation of the log.
    Attested {
        /// The attestation's bytes.
        attestation: [u8; ATTESTATION_LEN],
    },
    /// An agent has an acknowledgement of a place that this log does not have.
    RolledBack {
        /// The agent that sent the acknowledgement.
        source: SourceId,
        /// The term of the acknowledged place.
        term: u64,
        /// The end of that term in this log.
        until: Offset,
        /// The end of the log that was acknowledged.
        end: Offset,
        /// The time of the acknowledgement.
        time: Timestamp,
    },
    /// Two machines send as one source.
    Conflict {
        /// The source that both claim to be.
        source: SourceId,
        /// The boot ids of both.
        boots: [[u8; 16]; 2],
        /// The client addresses of both, for people.
        addresses: String,
    },
    /// An operator has retired a source: no more of it is expected.
    Retired {
        /// The retired source.
        source: SourceId,
        /// The operator's name.
        who: String,
        /// The operator's reason.
        why: String,
    },
    /// An operator has replaced the key of a source.
    KeyReplaced {
        /// The source whose key is replaced.
        source: SourceId,
        /// Its new key.
        key: PublicKey,
        /// The operator's name.
        who: String,
    },
    /// A key of the log endorses its successor.
    KeyEndorsed {
        /// The endorsement's bytes.
        endorsement: [u8; ENDORSEMENT_LEN],
    },
    /// A source holds events under a former name.
    Alias {
        /// The source by its present name.
        source: SourceId,
        /// Its former name.
        former: SourceId,
    },
    /// A source that has delivered nothing was dropped to make room for others.
    Forgotten {
        /// The forgotten source.
        source: SourceId,
    },
    /// Retention trims the log: removes the entries before this offset.
    Trimmed {
        /// The oldest offset that stays.
        until: Offset,
        /// The rule of retention that asks for it.
        rule: String,
    },
    /// Retention empties the batches of a stream before this offset.
    Emptied {
        /// The stream that is emptied.
        stream: Stream,
        /// The first offset that stays as it is.
        until: Offset,
        /// The rule of retention that asks for it.
        rule: String,
    },
    /// The end of a lane.
    LaneKept {
        /// The source of the lane.
        source: SourceId,
        /// The lane that is re-logged.
        lane: Lane,
        /// Its end, and how it got there.
        kept: LaneKept,
    },
    /// The disk of the log refused an operation, or returned other bytes than were written.
    DiskTrouble {
        /// The failure and the repair, for people.
        message: String,
    },
}

/// A notice that waits to be written as an event of the next batch.
#[derive(Clone, Debug)]
pub(super) struct PendingNotice {
    pub time: Timestamp,
    pub notice: Notice,
}

impl PendingNotice {
    /// Whether `other` adds nothing to this event: a disk that fails for hours is logged once.
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
            Notice::TermBegun { first: Place { log_id, partition, term, offset } } => {
                let (log_id, partition, term, first) = (*log_id, *partition, *term, *offset);
                take(&event(LifeCycle::TermBegun { log_id, partition, term, first }))
            }
            Notice::Attested { attestation } => take(&event(LifeCycle::Attested { attestation })),
            Notice::RolledBack { source, term, until, end, time } => take(&event(LifeCycle::RolledBack {
                source: source.as_str(),
                term: *term,
                until: *until,
                end: *end,
                time: *time,
            })),
            Notice::Conflict { source, boots, addresses } => {
                take(&event(LifeCycle::Conflict { source: source.as_str(), boots: *boots, addresses: clip(addresses) }))
            }
            Notice::Retired { source, who, why } => {
                take(&event(LifeCycle::Retired { source: source.as_str(), who: clip(who), why: clip(why) }))
            }
            Notice::KeyReplaced { source, key, who } => {
                take(&event(LifeCycle::KeyReplaced { source: source.as_str(), key: key.0, who: clip(who) }))
            }
            Notice::KeyEndorsed { endorsement } => take(&event(LifeCycle::KeyEndorsed { endorsement })),
            Notice::Alias { source, former } => {
                take(&event(LifeCycle::Alias { source: source.as_str(), former: former.as_str() }))
            }
            Notice::Forgotten { source } => take(&event(LifeCycle::Forgotten { source: source.as_str() })),
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
            Notice::DiskTrouble { message } => take(&event(LifeCycle::DiskTrouble { message: clip(message) })),
        }
    }
}

/// As much of a text as an event can hold.
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
