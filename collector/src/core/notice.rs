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
    /// A term of the log begins, or began.
    TermBegun {
        /// Log, partition and term, and the term's first offset.
        first: Place,
    },
    /// The log is bound up to here.
    Attested {
        /// The attestation's bytes.
        attestation: [u8; ATTESTATION_LEN],
    },
    /// An agent has an acknowledgement of a place that this log does not have.
    RolledBack {
        /// The agent.
        source: SourceId,
        /// The term of that place.
        term: u64,
        /// How far that term reaches here.
        until: Offset,
        /// How far it had come.
        end: Offset,
        /// When the acknowledgement was made.
        time: Timestamp,
    },
    /// Two machines speak for one source.
    Conflict {
        /// The source.
        source: SourceId,
        /// The boots of both.
        boots: [[u8; 16]; 2],
        /// Their addresses, for people.
        addresses: String,
    },
    /// An operator says that nothing more is to be expected of a source.
    Retired {
        /// The source.
        source: SourceId,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
    },
    /// An operator says that a source may come with this key from now on.
    KeyReplaced {
        /// The source.
        source: SourceId,
        /// Its new key.
        key: PublicKey,
        /// Who says so.
        who: String,
    },
    /// A key of the log endorses another one.
    KeyEndorsed {
        /// The endorsement's bytes.
        endorsement: [u8; ENDORSEMENT_LEN],
    },
    /// A source holds events under a name that it had before.
    Alias {
        /// The source.
        source: SourceId,
        /// The name that it had.
        former: SourceId,
    },
    /// A source that has delivered nothing gave way to others.
    Forgotten {
        /// The source.
        source: SourceId,
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

/// As much of a text as an event takes.
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
