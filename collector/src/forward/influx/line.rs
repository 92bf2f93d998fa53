//! An event as a line: `measurement,tags fields nanosecond`.
//!
//! A measurement is a type of events. Tags say where an event belongs and have few values each; what differs from event
//! to event is in fields. Tags are in the order of their names, which saves the destination the sorting.

use afferent_protocol::event::{Alarm, AlarmTransition, Body, MachineState, Quality, Sample, State, Value};

use super::super::event::ForwardEvent;
use super::super::sink::Rejection;
use super::escape::{put_measurement, put_tag, put_text};
use super::time::nanosecond;
use crate::cloud_event::names;
use crate::cloud_event::text::put_decimal;
use crate::kinds::short_name;
use crate::limits::INFLUX_KEY_BYTES_MAX;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineStyle {
    /// Before the name of each measurement.
    pub prefix: String,
    /// Whether texts are fields.
    pub texts: bool,
}

/// Appends the line of an event; nothing if it has no field.
///
/// # Errors
/// When line protocol cannot hold the event; then nothing is appended.
pub(super) fn put(out: &mut Vec<u8>, style: &LineStyle, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
    let nanosecond = nanosecond(event)?;
    let begin = out.len();
    put_series(out, style, event);
    let bytes = out.len() - begin;
    if bytes > INFLUX_KEY_BYTES_MAX {
        out.truncate(begin);
        let what = "its type, source, subject and code are";
        return Err(Rejection(format!("{what} {bytes} bytes; InfluxDB takes {INFLUX_KEY_BYTES_MAX} at most")));
    }
    let mut fields = Fields { out, texts: style.texts, separator: b' ' };
    match event.body() {
        Some(Body::Sample(sample)) => put_sample(&mut fields, sample),
        body => {
            put_body(&mut fields, event, body);
            fields.whole("severitynumber", event.severity.into());
            fields.whole("offset", i64::try_from(event.address.offset.get()).unwrap_or(i64::MAX));
            fields.text("id", event.id);
        }
    }
    if fields.separator == b' ' {
        out.truncate(begin);
        return Ok(());
    }
    out.push(b' ');
    put_decimal(out, nanosecond.unsigned_abs());
    out.push(b'\n');
    Ok(())
}

/// Appends the measurement and the tags.
fn put_series(out: &mut Vec<u8>, style: &LineStyle, event: &ForwardEvent<'_>) {
    let machine = event.machine();
    let subject = event.subject.unwrap_or_default();
    put_measurement(out, &style.prefix, short_name(event.kind));
    match event.body() {
        Some(Body::Breakdown(breakdown)) => put_tag(out, "code", breakdown.code),
        Some(Body::Recovery(recovery)) => put_tag(out, "code", recovery.code),
        Some(Body::Alarm(alarm)) => put_tag(out, "condition", alarm.condition),
        _ => {}
    }
    put_tag(out, "machine", machine);
    if let Some(sample) = event.sample() {
        let is_finite = !matches!(sample.value, Value::Float(value) if !value.is_finite());
        put_tag(out, "quality", names::quality(if is_finite { sample.quality } else { Quality::Bad }));
    }
    put_tag(out, "source", event.source);
    put_tag(out, "subject", subject);
    if let Some(sample) = event.sample() {
        put_tag(out, "unit", sample.unit);
    }
}

/// A field has one type for ever at the destination, so each type of value has its own.
fn put_sample(fields: &mut Fields<'_>, sample: &Sample<'_>) {
    match sample.value {
        Value::Float(value) if value.is_finite() => fields.number("value", value),
        // Line protocol has no such number. The log takes none from agents either.
        Value::Float(value) => fields.text("text", &value.to_string()),
        Value::Integer(whole) => {
            fields.number("value", whole as f64);
            fields.whole("wholevalue", whole);
        }
        Value::Bool(value) => fields.switch("boolean", value),
        // The value of a sample may be empty.
        Value::Text(text) => fields.quoted("text", text),
    }
}

fn put_body(fields: &mut Fields<'_>, event: &ForwardEvent<'_>, body: Option<&Body<'_>>) {
    match body {
        Some(Body::Breakdown(breakdown)) => {
            fields.text("severity", names::severity(breakdown.severity));
            fields.text("message", breakdown.message);
        }
        Some(Body::Recovery(recovery)) => fields.text("message", recovery.message),
        Some(Body::State(state)) => put_state(fields, state),
        Some(Body::Alarm(alarm)) => put_alarm(fields, alarm),
        _ => {
            let mut data = Vec::new();
            event.put_data(&mut data);
            fields.text("data", &String::from_utf8_lossy(&data));
        }
    }
}

fn put_state(fields: &mut Fields<'_>, state: &State<'_>) {
    let number = match state.state {
        MachineState::NotAvailable => 0,
        MachineState::OutOfService => 1,
        MachineState::NotExecuting => 2,
        MachineState::Executing => 3,
    };
    fields.text("state", names::machine_state(state.state));
    fields.whole("statenumber", number);
    fields.text("reason", state.reason);
}

fn put_alarm(fields: &mut Fields<'_>, alarm: &Alarm<'_>) {
    fields.text("transition", names::alarm_transition(alarm.transition));
    match alarm.transition {
        AlarmTransition::Raised => fields.switch("active", true),
        AlarmTransition::Cleared => fields.switch("active", false),
        AlarmTransition::Acknowledged | AlarmTransition::Shelved | AlarmTransition::Unshelved => {}
    }
    fields.whole("priority", alarm.priority.into());
    fields.text("message", alarm.message);
}

/// The fields of a line.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    texts: bool,
    /// What comes before the next one: a blank before the first one, then commas.
    separator: u8,
}

impl Fields<'_> {
    #[inline]
    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
    }

    /// The shortest decimal that reads back as the same number.
    fn number(&mut self, name: &str, value: f64) {
        self.name(name);
        serde_json::to_writer(&mut *self.out, &value).expect("a growing buffer takes any number");
    }

    fn whole(&mut self, name: &str, value: i64) {
        self.name(name);
        if value < 0 {
            self.out.push(b'-');
        }
        put_decimal(self.out, value.unsigned_abs());
        self.out.push(b'i');
    }

    fn switch(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An empty text is no field.
    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.quoted(name, text);
        }
    }

    fn quoted(&mut self, name: &str, text: &str) {
        if self.texts {
            self.name(name);
            put_text(self.out, text);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
