//! The end of a row by hand, as a microcontroller writes it: the same bytes as postcard's, without its code.

use crate::event::{Body, Change, Kind, LifeCycle, Progress, Sample, Value};
use crate::wire::Writer;

/// The fields behind the variant of most bodies, in this order; each is present in some of them.
struct Row<'a> {
    /// Variants and whatever else is known to be a byte.
    head: [u8; 3],
    head_len: usize,
    one: Option<&'a str>,
    byte: Option<u8>,
    numbers: [u64; 4],
    numbers_len: usize,
    bytes: &'a [u8],
    other: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn numbers(&mut self, numbers: &[u64]) {
        self.numbers.iter_mut().zip(numbers).for_each(|(place, number)| *place = *number);
        self.numbers_len = numbers.len();
    }

    fn texts(&mut self, one: &'a str, other: &'a str) {
        (self.one, self.other) = (Some(one), Some(other));
    }

    // Never inlined: it would be copied into the arms.
    #[inline(never)]
    fn put(&self, out: &mut Writer<'_>) {
        out.bytes(self.head.get(..self.head_len).unwrap_or(&[]));
        self.one.into_iter().for_each(|text| out.text(text));
        self.byte.into_iter().for_each(|byte| out.byte(byte));
        self.numbers.iter().take(self.numbers_len).for_each(|number| out.varint(*number));
        out.bytes(self.bytes);
        self.other.into_iter().for_each(|text| out.text(text));
    }
}

/// Writes a row from the number of the body's variant on; `unit` is the place of a sample's unit in the dictionary.
pub fn put(out: &mut Writer<'_>, body: &Body<'_>, unit: u8) {
    let (head, numbers) = ([0; 3], [0; 4]);
    let mut row = Row { head, head_len: 1, one: None, byte: None, numbers, numbers_len: 0, bytes: &[], other: None };
    match body {
        Body::Sample(body) => return sample(out, body, unit),
        Body::Progress(body) => return progress(out, body),
        // Only agents follow files, and they write by postcard.
        Body::Followed(_) => return out.refuse(),
        Body::LifeCycle(body) => {
            if !life_cycle(&mut row, body) {
                return out.refuse();
            }
        }
        Body::Breakdown(body) => {
            row.head[0] = Kind::Breakdown.number();
            row.byte = Some(body.severity as u8);
            row.texts(body.code, body.message);
        }
        Body::Recovery(body) => {
            row.head[0] = Kind::Recovery.number();
            row.texts(body.code, body.message);
        }
        Body::State(body) => {
            (row.head, row.head_len) = ([Kind::State.number(), body.state as u8, 0], 2);
            row.other = Some(body.reason);
        }
        Body::Alarm(body) => {
            row.head[0] = Kind::Alarm.number();
            row.byte = Some(body.transition as u8);
            row.numbers(&[body.priority.into()]);
            row.texts(body.condition, body.message);
        }
        Body::Loss(body) => {
            (row.head, row.head_len) = ([Kind::Loss.number(), body.stream.number(), 0], 2);
            // The reason is one byte either way.
            row.numbers(&[body.epoch.get(), body.first.get(), body.end.get(), body.reason as u64]);
            row.bytes = &body.chain;
        }
        Body::ClockStep(body) => {
            row.head[0] = Kind::ClockStep.number();
            row.numbers(&[body.before, body.after].map(|time| zigzag(time.micros())));
        }
        Body::Derived(body) => {
            row.head[0] = Kind::Derived.number();
            row.texts(body.kind, body.json);
        }
    }
    row.put(out);
}

fn sample(out: &mut Writer<'_>, sample: &Sample<'_>, unit: u8) {
    out.byte(Kind::Sample.number());
    match sample.value {
        Value::Float(value) => {
            out.byte(0);
            out.bytes(&value.to_le_bytes());
        }
        Value::Integer(value) => {
            out.byte(1);
            out.varint(zigzag(value));
        }
        Value::Bool(value) => {
            out.byte(2);
            out.byte(u8::from(value));
        }
        Value::Text(text) => {
            out.byte(3);
            out.text(text);
        }
    }
    out.byte(unit);
    out.byte(sample.quality as u8);
}

fn progress(out: &mut Writer<'_>, body: &Progress) {
    out.bytes(&[Kind::Progress.number(), body.stream.number()]);
    [body.epoch.get(), body.end.get(), body.check].into_iter().for_each(|number| out.varint(number));
    out.byte(u8::from(body.ticks.is_some()));
    if let Some(ticks) = &body.ticks {
        out.varint(ticks.events.into());
        out.bytes(&ticks.boot);
        out.varint(zigzag(ticks.offset_us));
    }
}

/// Whether a device can send this event.
fn life_cycle<'a>(row: &mut Row<'a>, body: &'a LifeCycle<'a>) -> bool {
    row.head = [Kind::LifeCycle.number(), 0, 0];
    row.head_len = 2;
    let change = match body {
        LifeCycle::Started { previous, version, repairs } => {
            (row.head[2], row.head_len) = (*previous as u8, 3);
            row.texts(version, repairs);
            Change::Started
        }
        LifeCycle::Stopped { reason: one } => {
            row.one = Some(one);
            Change::Stopped
        }
        LifeCycle::LinkUp { peer: one } => {
            row.one = Some(one);
            Change::LinkUp
        }
        LifeCycle::LinkDown { peer, reason } => {
            row.texts(peer, reason);
            Change::LinkDown
        }
        LifeCycle::KeyPinned { source, key } => {
            row.one = Some(source);
            row.bytes = key;
            Change::KeyPinned
        }
        LifeCycle::Refused { source, reason } => {
            row.texts(source, reason);
            Change::Refused
        }
        LifeCycle::Gap { source, stream, epoch, first, end } => {
            row.one = Some(source);
            row.byte = Some(stream.number());
            row.numbers(&[epoch.get(), first.get(), end.get()]);
            Change::Gap
        }
        LifeCycle::DiskTrouble { message: one } => {
            row.one = Some(one);
            Change::DiskTrouble
        }
        LifeCycle::Configured { message: one } => {
            row.one = Some(one);
            Change::Configured
        }
        LifeCycle::Trimmed { until, rule } => {
            row.numbers(&[until.get()]);
            row.other = Some(rule);
            Change::Trimmed
        }
        LifeCycle::Emptied { stream, until, rule } => {
            row.byte = Some(stream.number());
            row.numbers(&[until.get()]);
            row.other = Some(rule);
            Change::Emptied
        }
        LifeCycle::LaneKept { source, stream, epoch, end, time_last, chain } => {
            row.one = Some(source);
            row.byte = Some(stream.number());
            row.numbers(&[epoch.get(), end.get(), zigzag(time_last.micros())]);
            row.bytes = chain;
            Change::LaneKept
        }
        // Postcard writes the events there that only agents and collectors send.
        _ => return false,
    };
    row.head[1] = change.number();
    true
}

#[inline(never)]
const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}
