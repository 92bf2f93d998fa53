//! Who makes events: no two are alike.

use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, Event, MachineState, Quality, Sample, Severity, State, Value,
};
use afferent_protocol::ids::{Subject, Timestamp};

use crate::oracle::Content;
use crate::rng::Rng;

/// An event with its texts.
#[derive(Debug)]
pub struct OwnedEvent {
    time: Timestamp,
    subject: String,
    /// Makes it unlike all others.
    number: u64,
    text: String,
    kind: u64,
}

impl OwnedEvent {
    /// Another event of this agent.
    pub fn new(agent: usize, number: u64, time: Timestamp, text_bytes_max: u64, rng: &mut Rng) -> Self {
        let subject = format!("machine-{agent}/part-{}/value", rng.below(12));
        let len = if rng.per_mille(300) { rng.below(text_bytes_max) } else { rng.below(16) };
        let text = format!("{agent}:{number}:{}", "x".repeat(len as usize));
        // A quarter is critical.
        let kind = if rng.per_mille(250) { 3 + rng.below(3) } else { rng.below(3) };
        Self { time, subject, number, text, kind }
    }

    /// The event.
    pub fn event(&self) -> Event<'_> {
        let sample = |value, unit| Body::Sample(Sample { value, unit, quality: Quality::Good });
        let text = &self.text[..];
        let short = &text[..text.len().min(1000)];
        let body = match self.kind {
            0 => sample(Value::Integer(self.number as i64), "Cel"),
            1 => sample(Value::Float(self.number as f64 + 0.5), "mm/s"),
            2 => sample(Value::Text(short), ""),
            3 => Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: text }),
            4 => Body::State(State { state: MachineState::Executing, reason: short }),
            _ => Body::Alarm(Alarm {
                condition: short,
                transition: AlarmTransition::Raised,
                priority: 500,
                message: text,
            }),
        };
        Event { time: self.time, subject: Subject::new(&self.subject).expect("it is a path"), body }
    }

    /// What it must say when it is read, wherever that is.
    pub fn content(&self) -> Content {
        let text = &self.text[..];
        let short = &text[..text.len().min(1000)];
        let body = match self.kind {
            0 => format!("sample value={} unit=\"Cel\" quality=good", self.number),
            1 => format!("sample value={}.5 unit=\"mm/s\" quality=good", self.number),
            2 => format!("sample value={short:?} unit=\"\" quality=good"),
            3 => format!("breakdown code=\"E42\" severity=error message={text:?}"),
            4 => format!("state state=executing reason={short:?}"),
            _ => format!("alarm condition={short:?} transition=raised priority=500 message={text:?}"),
        };
        Content::of(self.time.micros(), &self.subject, &body)
    }
}
