//! What happened: a time, a subject, and a body that only ever grows at its end.
//!
//! An [`Event`] borrows its text, so that it can be made from a line of input or read out of a batch without a copy.
//! The order of the variants and of the fields of [`Body`] and of the enums in it *is* the wire format
//! (see `README.md` in this crate): new variants go to the end, and nothing is ever removed or reordered. Beside its
//! fields a variant has a row in the table of [`Kind`].

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Sequence, Stream, Subject, Timestamp};
use crate::limits::{MESSAGE_BYTES_MAX, TEXT_BYTES_MAX, UNIT_BYTES_MAX};

mod followed;
mod kinds;
mod life_cycle;

pub use followed::{FilePlace, FilePlaces, Followed};
pub use kinds::{Change, Kind, TYPE_PREFIX, TYPE_SUFFIX};
pub use life_cycle::{LaneEnd, LaneEnds, LifeCycle, PreviousStop, ResealReason};

/// What happened on a machine at a point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// By the source's clock. It never orders anything: sequence does.
    pub time: Timestamp,
    /// What it is about.
    pub subject: Subject<'a>,
    /// What happened.
    pub body: Body<'a>,
}

/// What happened; each variant has a row in the table of [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body<'a> {
    /// A sensor's value.
    #[serde(borrow)]
    Sample(Sample<'a>),
    /// A machine broke down.
    Breakdown(Breakdown<'a>),
    /// A machine works again.
    Recovery(Recovery<'a>),
    /// A machine went into another state.
    State(State<'a>),
    /// An alarm changed.
    Alarm(Alarm<'a>),
    /// Events that were given up, declared in their place.
    Loss(Loss),
    /// The source's clock was set.
    ClockStep(ClockStep),
    /// Something about the carrier of events itself.
    LifeCycle(LifeCycle<'a>),
    /// What a consumer concluded and fed back.
    Derived(Derived<'a>),
    /// How far the log of a device is in the log of its agent.
    Progress(Progress),
    /// How far the files that an agent follows are in its log.
    Followed(Followed<'a>),
}

/// A sensor's value at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample<'a> {
    /// The value.
    #[serde(borrow)]
    pub value: Value<'a>,
    /// Its unit as a UCUM code (`Cel`, `mm/s`, `%`); empty for none.
    pub unit: &'a str,
    /// How far the value can be trusted.
    pub quality: Quality,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value<'a> {
    /// A finite number with a fraction.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A switch.
    Bool(bool),
    /// A short text.
    Text(&'a str),
}

/// How far a value can be trusted (OPC UA's three classes of a status code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quality {
    /// As measured.
    #[default]
    Good,
    /// Perhaps: a substitute, or a sensor out of its range.
    Uncertain,
    /// Not to be used.
    Bad,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// For finding faults in software.
    Debug,
    /// Nothing to do.
    Info,
    /// To be looked at.
    Warning,
    /// Something does not work.
    #[default]
    Error,
    /// The machine or a person is in danger.
    Fatal,
}

impl Severity {
    /// The number on OpenTelemetry's scale (`SeverityNumber`, 1 to 24).
    pub const fn number(self) -> u8 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warning => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

/// A machine broke down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown<'a> {
    /// The machine's own code for it; may be empty.
    pub code: &'a str,
    /// How severe it is.
    pub severity: Severity,
    /// For people; may be empty.
    pub message: &'a str,
}

/// A machine works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery<'a> {
    /// The code of the breakdown that ended; empty for any.
    pub code: &'a str,
    /// For people; may be empty.
    pub message: &'a str,
}

/// A machine went into another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State<'a> {
    /// The new state.
    pub state: MachineState,
    /// Why, for people; may be empty.
    pub reason: &'a str,
}

/// The states of a machine or of a part of it (OPC 40001-1 UA for Machinery, `MachineryItemState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MachineState {
    /// It cannot be used and cannot tell why.
    NotAvailable,
    /// Taken out of service on purpose, as for maintenance.
    OutOfService,
    /// Ready, and doing nothing.
    NotExecuting,
    /// At work.
    Executing,
}

/// An alarm changed (the life cycle of ISA-18.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm<'a> {
    /// Names the condition; the same for all transitions of one alarm.
    pub condition: &'a str,
    /// What changed.
    pub transition: AlarmTransition,
    /// 1 (lowest) to 1000 (highest), as the severity of OPC UA conditions.
    pub priority: u16,
    /// For people; may be empty.
    pub message: &'a str,
}

impl Alarm<'_> {
    /// Serious only when it is raised, and by its priority.
    const fn severity(&self) -> Severity {
        match self.transition {
            AlarmTransition::Raised if self.priority > 666 => Severity::Error,
            AlarmTransition::Raised => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

/// What changed about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmTransition {
    /// The condition became true.
    Raised,
    /// The condition became false.
    Cleared,
    /// Somebody has seen it.
    Acknowledged,
    /// Somebody put it aside for a time.
    Shelved,
    /// It counts again.
    Unshelved,
}

/// Events that were given up: this range of this stream will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The stream that has the hole.
    pub stream: Stream,
    /// The epoch of that stream.
    pub epoch: Epoch,
    /// The first sequence that is lost.
    pub first: Sequence,
    /// The first sequence that is not lost.
    pub end: Sequence,
    /// Why.
    pub reason: LossReason,
    /// Chain hash of the last batch in the hole, so that the chain can be checked across it; zeros when nobody knows it.
    pub chain: [u8; 32],
}

/// Why events were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossReason {
    /// The ring was full and these were the oldest of the least class.
    Evicted,
    /// The disk gave back something else than what was written.
    Corrupt,
    /// The last write before a stop was incomplete. Its producers had not been told "accepted", unless the disk damaged
    /// it afterwards; the range is what its head claims, or one event when the head is gone too.
    TornTail,
    /// A device could not keep them.
    DeviceFull,
    /// The next log refused them for good.
    Refused,
    /// They had been accepted, and are gone from the ring log: a file was lost, emptied or put back from a copy.
    Vanished,
    /// As [`LossReason::Vanished`], and there may have been more behind the range's end.
    VanishedAtLeast,
}

/// The source's clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStep {
    /// What the old clock would have shown.
    pub before: Timestamp,
    /// What the new clock showed at the same moment.
    pub after: Timestamp,
}

/// What a consumer concluded and fed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived<'a> {
    /// The CloudEvents type, as `com.example.wear.v1`.
    pub kind: &'a str,
    /// The conclusion, a JSON document.
    pub json: &'a str,
}

/// How far the log of a device (the event's subject) is in the log of its agent. It stands in the batch of the device's
/// events, in the agent's stream of the same name: what is there of the one is there of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The device's stream.
    pub stream: Stream,
    /// The epoch of that stream.
    pub epoch: Epoch,
    /// The device's first sequence that is not in the agent's log.
    pub end: Sequence,
    /// The check of the device's batch that ends there.
    pub check: u64,
    /// The device's own clock; `None` where no events of the device stand right before.
    pub ticks: Option<Ticks>,
}

/// How the ticks of a device (microseconds since one of its boots) became the times of events: `tick = time − offset_us`,
/// exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticks {
    /// So many events right before this one, in its stream and epoch, are of the device.
    pub events: u32,
    /// Names the device's boot.
    pub boot: [u8; 16],
    /// UTC of tick 0 as it was known then, in microseconds.
    pub offset_us: i64,
}

/// Why an event was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// NaN or an infinity.
    #[error("the value is not a finite number; send a text or quality \"bad\" instead")]
    NotFinite,
    /// A text over its limit.
    #[error("`{field}` has {bytes} bytes, and at most {bytes_max} are taken")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// What was given.
        bytes: usize,
        /// What is taken.
        bytes_max: usize,
    },
    /// A unit that cannot be a UCUM code.
    #[error("the unit is not a UCUM code (printable ASCII without spaces, as `Cel`, `mm/s`, `%`, `[degF]`)")]
    Unit,
    /// A priority outside of 1 to 1000.
    #[error("the priority is {0}; it goes from 1 (lowest) to 1000 (highest)")]
    Priority(u16),
    /// A range whose end lies before its first.
    #[error("the range ends before it begins")]
    Range,
    /// Bytes that are no list of lanes or of files, or too many for an attestation or endorsement.
    #[error("the bytes are no list of lanes' ends or of files, no attestation and no endorsement")]
    Statement,
}

impl<'a> Event<'a> {
    /// The stream that carries it.
    pub const fn stream(&self) -> Stream {
        self.body.stream()
    }

    /// Checks what the types cannot: limits of texts, numbers that are numbers, ranges.
    pub fn check(&self) -> Result<(), EventError> {
        match self.body {
            Body::Sample(sample) => {
                match sample.value {
                    Value::Float(value) if !value.is_finite() => return Err(EventError::NotFinite),
                    Value::Text(text) => fits("value", text, TEXT_BYTES_MAX)?,
                    _ => {}
                }
                fits("unit", sample.unit, UNIT_BYTES_MAX)?;
                if is_unit(sample.unit) { Ok(()) } else { Err(EventError::Unit) }
            }
            Body::Breakdown(body) => {
                fits("code", body.code, TEXT_BYTES_MAX)?;
                fits("message", body.message, MESSAGE_BYTES_MAX)
            }
            Body::Recovery(body) => {
                fits("code", body.code, TEXT_BYTES_MAX)?;
                fits("message", body.message, MESSAGE_BYTES_MAX)
            }
            Body::State(body) => fits("reason", body.reason, TEXT_BYTES_MAX),
            Body::Alarm(body) => {
                if body.priority == 0 || body.priority > 1000 {
                    return Err(EventError::Priority(body.priority));
                }
                fits("condition", body.condition, TEXT_BYTES_MAX)?;
                fits("message", body.message, MESSAGE_BYTES_MAX)
            }
            Body::Loss(body) => {
                if body.first <= body.end {
                    Ok(())
                } else {
                    Err(EventError::Range)
                }
            }
            Body::ClockStep(_) | Body::Progress(_) => Ok(()),
            Body::LifeCycle(body) => body.check(),
            Body::Followed(body) => body.check(),
            Body::Derived(body) => {
                fits("type", body.kind, TEXT_BYTES_MAX)?;
                fits("data", body.json, MESSAGE_BYTES_MAX)
            }
        }
    }
}

/// Whether a text can be a UCUM code; what its length may be is another matter.
pub(crate) fn is_unit(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

const fn fits(field: &'static str, text: &str, bytes_max: usize) -> Result<(), EventError> {
    if text.len() <= bytes_max { Ok(()) } else { Err(EventError::TooLong { field, bytes: text.len(), bytes_max }) }
}
