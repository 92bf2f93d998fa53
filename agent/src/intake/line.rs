//! One line of input, a JSON object, to an event.
//!
//! ```text
//! {"subject":"88-C/spindle/temperature","value":81.4,"unit":"Cel","time":"2021-09-13T23:54:31Z"}
//! {"subject":"88-C","type":"breakdown","code":"E42","severity":"error","message":"spindle stuck"}
//! {"subject":"88-C","type":"recovery","code":"E42"}
//! {"subject":"88-C","type":"state","state":"executing"}
//! {"subject":"88-C","type":"alarm","condition":"oil","transition":"raised","priority":500}
//! {"subject":"88-C","type":"derived","kind":"com.example.wear.v1","data":{"hours":120}}
//! ```
//!
//! Texts without escapes are borrowed from the line. Everything that is wrong is refused with the field and the remedy.

mod fields;
mod values;

use std::fmt::Write;

use afferent_protocol::event::{
    self, Alarm, AlarmTransition, Body, Breakdown, Derived, Event, EventError, MachineState, Quality, Recovery, Sample,
    Severity, State, Value,
};
use afferent_protocol::ids::{NameError, Subject, Timestamp};

use crate::intake::time;
use crate::intake::unit::{UnitError, Units};
use crate::limits::{LINE_BYTES_MAX, REFUSAL_BYTES_MAX, TIME_NUMBER_MIN};
pub use fields::{Field, FieldSet, Fields};
pub use values::{Number, Text, Time};

/// Why a line was refused. The text is for the producer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is longer than the limit.
    #[error("the line has over {LINE_BYTES_MAX} bytes; send less text in it, and end lines with \\n")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("byte {0} of the line is not UTF-8; send text as UTF-8")]
    NotUtf8(usize),
    /// Not one JSON object, or a field with a wrong type.
    #[error("{0}")]
    Json(String),
    /// A field that this type must have.
    #[error("`{0}` is missing; {1} needs it")]
    Missing(Field, Kind),
    /// A field that this type does not have.
    #[error("`{0}` is not a field of {1}; its fields are {2}")]
    Foreign(Field, Kind, FieldSet),
    /// The name is unknown.
    #[error("`{field}` is {given:?}; use one of {known}")]
    Name {
        /// The field.
        field: Field,
        /// The given name.
        given: String,
        /// The known names.
        known: &'static str,
    },
    /// Only the agent itself writes this type.
    #[error("`type` is {0:?}, which only an agent itself writes")]
    Own(String),
    /// The subject is not a valid path.
    #[error("the subject {0}; write a path such as 88-C/spindle/temperature")]
    Subject(NameError),
    /// The time cannot be parsed, or is out of range.
    #[error(
        "`time` is {0:?}; write RFC 3339 as \"2021-09-13T23:54:31Z\" or whole microseconds since 1970, up to the year \
         9999"
    )]
    Time(String),
    /// The number is probably in a different unit.
    #[error(
        "`time` is {0}, which as microseconds since 1970 is before 2000-01-02; if it counts seconds or milliseconds, \
         send microseconds; if that time is right, send RFC 3339 such as \"1970-01-01T00:00:00Z\""
    )]
    OtherUnit(i64),
    /// Not a UCUM code.
    #[error("{0}")]
    Unit(#[from] UnitError),
    /// The protocol rejects the event.
    #[error("{0}")]
    Event(#[from] EventError),
}

impl LineError {
    /// The text, cut to its limit.
    pub fn text(&self) -> String {
        cut(self.to_string(), REFUSAL_BYTES_MAX)
    }
}

/// Cuts a text at a character's border, so that it has at most `bytes_max` bytes.
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// The types of events that a producer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sensor's value.
    Sample,
    /// A machine broke down.
    Breakdown,
    /// A machine works again.
    Recovery,
    /// The state of a machine has changed.
    State,
    /// An alarm changed.
    Alarm,
    /// A conclusion of a consumer.
    Derived,
}

/// The types that a producer may send, as a refusal lists them.
const TYPES: &str = "sample, breakdown, recovery, state, alarm, derived";

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sample => "a sample",
            Self::Breakdown => "a breakdown",
            Self::Recovery => "a recovery",
            Self::State => "a state",
            Self::Alarm => "an alarm",
            Self::Derived => "a derived event",
        })
    }
}

impl Kind {
    /// The fields that it must have, and those that it may have, besides `subject`, `type` and `time`.
    const fn fields(self) -> (FieldSet, FieldSet) {
        use Field::{
            Code, Condition, Data, Kind, Message, Priority, Quality, Reason, Severity, State, Transition, Unit, Value,
        };
        match self {
            Self::Sample => (FieldSet::of(&[Value]), FieldSet::of(&[Unit, Quality])),
            Self::Breakdown => (FieldSet::of(&[]), FieldSet::of(&[Code, Severity, Message])),
            Self::Recovery => (FieldSet::of(&[]), FieldSet::of(&[Code, Message])),
            Self::State => (FieldSet::of(&[State]), FieldSet::of(&[Reason])),
            Self::Alarm => (FieldSet::of(&[Condition, Transition]), FieldSet::of(&[Priority, Message])),
            Self::Derived => (FieldSet::of(&[Kind, Data]), FieldSet::of(&[])),
        }
    }

    /// What a line of this kind is; none where producers have nothing to say.
    pub(crate) const fn of(kind: event::Kind) -> Option<Self> {
        match kind {
            event::Kind::Sample => Some(Self::Sample),
            event::Kind::Breakdown => Some(Self::Breakdown),
            event::Kind::Recovery => Some(Self::Recovery),
            event::Kind::State => Some(Self::State),
            event::Kind::Alarm => Some(Self::Alarm),
            event::Kind::Derived => Some(Self::Derived),
            event::Kind::Loss
            | event::Kind::ClockStep
            | event::Kind::LifeCycle
            | event::Kind::Progress
            | event::Kind::Followed => None,
        }
    }

    fn named(name: &str) -> Result<Self, LineError> {
        match event::Kind::named(name) {
            Some(kind) => Self::of(kind).ok_or_else(|| LineError::Own(name.to_owned())),
            None => Err(unknown(Field::Type, name, TYPES)),
        }
    }
}

/// Reads lines; remembers the units that it has checked.
#[derive(Debug, Default)]
pub struct LineParser {
    units: Units,
}

impl LineParser {
    /// Reads one line, without its end.
    pub fn parse<'a>(&mut self, line: &'a [u8]) -> Result<ParsedLine<'a>, LineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|error| LineError::NotUtf8(error.valid_up_to() + 1))?;
        // What some editors put at the beginning of a file.
        let text = text.trim_start_matches('\u{feff}');
        let fields: Fields<'a> =
            serde_json::from_str(text).map_err(|error| LineError::Json(explained(&error, text)))?;
        let kind = match &fields.kind {
            None => Kind::Sample,
            Some(name) => Kind::named(name)?,
        };
        fields_of_kind(&fields, kind)?;
        let time = fields.time.as_ref().map(read_time).transpose()?;
        if let Some(unit) = &fields.unit {
            self.units.check(unit)?;
        }
        Ok(ParsedLine { fields, kind, time })
    }
}

/// A line whose fields are those of its type; [`ParsedLine::event`] reads what is in them.
#[derive(Debug)]
pub struct ParsedLine<'a> {
    fields: Fields<'a>,
    kind: Kind,
    time: Option<Timestamp>,
}

impl ParsedLine<'_> {
    /// The time that the line gives.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// The event, which borrows from here; its time is `now` where the line had none. Whether it keeps the protocol's
    /// limits is checked once, where it is handed over: see [`EventSink::push`](super::sink::EventSink::push).
    pub fn event(&self, now: Timestamp) -> Result<Event<'_>, LineError> {
        let fields = &self.fields;
        let subject = fields.subject.as_deref().ok_or(LineError::Missing(Field::Subject, self.kind))?;
        let subject = Subject::new(subject).map_err(LineError::Subject)?;
        Ok(Event { time: self.time.unwrap_or(now), subject, body: self.body()? })
    }

    /// Whether an agent takes the line: for who sends it to one.
    pub fn check(&self) -> Result<(), LineError> {
        Ok(self.event(Timestamp::default())?.check()?)
    }

    fn body(&self) -> Result<Body<'_>, LineError> {
        let fields = &self.fields;
        let message = fields.message.as_deref().unwrap_or("");
        let code = fields.code.as_deref().unwrap_or("");
        Ok(match self.kind {
            Kind::Sample => Body::Sample(Sample {
                value: match fields.value.as_ref().ok_or(LineError::Missing(Field::Value, self.kind))? {
                    Number::Float(value) => Value::Float(*value),
                    Number::Integer(value) => Value::Integer(*value),
                    Number::Bool(value) => Value::Bool(*value),
                    Number::Text(value) => Value::Text(value),
                },
                unit: fields.unit.as_deref().unwrap_or(""),
                quality: fields.quality.as_deref().map_or(Ok(Quality::Good), quality)?,
            }),
            Kind::Breakdown => Body::Breakdown(Breakdown {
                code,
                severity: fields.severity.as_deref().map_or(Ok(Severity::Error), severity)?,
                message,
            }),
            Kind::Recovery => Body::Recovery(Recovery { code, message }),
            Kind::State => Body::State(State {
                state: machine_state(fields.state.as_deref().unwrap_or(""))?,
                reason: fields.reason.as_deref().unwrap_or(""),
            }),
            Kind::Alarm => Body::Alarm(Alarm {
                condition: fields.condition.as_deref().unwrap_or(""),
                transition: transition(fields.transition.as_deref().unwrap_or(""))?,
                priority: fields.priority.unwrap_or(500),
                message,
            }),
            Kind::Derived => Body::Derived(Derived {
                kind: fields.derived_kind.as_deref().unwrap_or(""),
                json: fields.data.map_or("null", serde_json::value::RawValue::get),
            }),
        })
    }
}

fn fields_of_kind(fields: &Fields<'_>, kind: Kind) -> Result<(), LineError> {
    let (needed, possible) = kind.fields();
    let common = FieldSet::of(&[Field::Subject, Field::Type, Field::Time]);
    let taken = needed.with(possible).with(common);
    if let Some(field) = fields.seen.without(taken).first() {
        return Err(LineError::Foreign(field, kind, taken));
    }
    match needed.without(fields.seen).first() {
        Some(field) => Err(LineError::Missing(field, kind)),
        None => Ok(()),
    }
}

fn read_time(given: &Time<'_>) -> Result<Timestamp, LineError> {
    match given {
        Time::Micros(micros) if (0..TIME_NUMBER_MIN).contains(micros) => Err(LineError::OtherUnit(*micros)),
        Time::Micros(micros) => Timestamp::new(*micros).ok_or_else(|| LineError::Time(micros.to_string())),
        Time::Text(text) => time::parse(text, None).ok_or_else(|| LineError::Time(cut(text.to_string(), 64))),
    }
}

fn unknown(field: Field, given: &str, known: &'static str) -> LineError {
    LineError::Name { field, given: cut(given.to_owned(), 64), known }
}

/// `good`, `uncertain` or `bad`.
pub fn quality(name: &str) -> Result<Quality, LineError> {
    Ok(match name {
        "good" => Quality::Good,
        "uncertain" => Quality::Uncertain,
        "bad" => Quality::Bad,
        _ => return Err(unknown(Field::Quality, name, "good, uncertain, bad")),
    })
}

fn severity(name: &str) -> Result<Severity, LineError> {
    Ok(match name {
        "debug" => Severity::Debug,
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        "error" => Severity::Error,
        "fatal" => Severity::Fatal,
        _ => return Err(unknown(Field::Severity, name, "debug, info, warning, error, fatal")),
    })
}

fn machine_state(name: &str) -> Result<MachineState, LineError> {
    Ok(match name {
        "not_available" => MachineState::NotAvailable,
        "out_of_service" => MachineState::OutOfService,
        "not_executing" => MachineState::NotExecuting,
        "executing" => MachineState::Executing,
        _ => return Err(unknown(Field::State, name, "not_available, out_of_service, not_executing, executing")),
    })
}

fn transition(name: &str) -> Result<AlarmTransition, LineError> {
    Ok(match name {
        "raised" => AlarmTransition::Raised,
        "cleared" => AlarmTransition::Cleared,
        "acknowledged" => AlarmTransition::Acknowledged,
        "shelved" => AlarmTransition::Shelved,
        "unshelved" => AlarmTransition::Unshelved,
        _ => return Err(unknown(Field::Transition, name, "raised, cleared, acknowledged, shelved, unshelved")),
    })
}

/// serde_json's message, with the place as a byte of the line, and a remedy where there is a usual one.
fn explained(error: &serde_json::Error, line: &str) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let mut text = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    let found = line.get(error.column().saturating_sub(1)..).unwrap_or("");
    if error.is_data() {
        let _ = write!(text, " (at byte {})", error.column());
        return text;
    }
    let mut text = format!("the line is not one JSON object: {text} (at byte {})", error.column());
    let bare = found.trim_start_matches('-').to_ascii_lowercase();
    if bare.starts_with("nan") || bare.starts_with("inf") {
        text.push_str("; JSON has no NaN and no infinity: leave the sample out, or send a text with quality \"bad\"");
    } else if error.is_eof() {
        text.push_str("; it ends too early: one whole object belongs on one line");
    }
    text
}

#[cfg(test)]
mod tests;
