//! The end of a row by hand, as a microcontroller writes it: the same bytes as postcard's, without its code.

use crate::event::{Body, LifeCycle, Value};
use crate::wire::Writer;

/// Writes a row from the number of the body's variant on; `unit` is the place of a sample's unit in the dictionary.
pub fn put(out: &mut Writer<'_>, body: &Body<'_>, unit: u8) {
    match body {
        Body::Sample(sample) => {
            out.byte(0);
            match sample.value {
                Value::Float(value) => {
                    out.byte(0);
                    out.bytes(&value.to_le_bytes());
                }
                Value::Integer(value) => {
                    out.byte(1);
                    out.signed(value);
                }
                Value::Bool(value) => out.bytes(&[2, u8::from(value)]),
                Value::Text(text) => {
                    out.byte(3);
                    out.text(text);
                }
            }
            out.bytes(&[unit, sample.quality as u8]);
        }
        Body::Breakdown(body) => {
            out.byte(1);
            out.text(body.code);
            out.byte(body.severity as u8);
            out.text(body.message);
        }
        Body::Recovery(body) => texts(out, &[2], body.code, body.message),
        Body::State(body) => {
            out.bytes(&[3, body.state as u8]);
            out.text(body.reason);
        }
        Body::Alarm(body) => {
            out.byte(4);
            out.text(body.condition);
            out.byte(body.transition as u8);
            out.varint(body.priority.into());
            out.text(body.message);
        }
        Body::Loss(body) => {
            out.bytes(&[5, body.stream.number()]);
            [body.epoch.get(), body.first.get(), body.end.get()].into_iter().for_each(|number| out.varint(number));
            out.byte(body.reason as u8);
            out.bytes(&body.chain);
        }
        Body::ClockStep(body) => {
            out.byte(6);
            out.signed(body.before.micros());
            out.signed(body.after.micros());
        }
        Body::LifeCycle(body) => life_cycle(out, body),
        Body::Derived(body) => texts(out, &[8], body.kind, body.json),
        Body::Progress(body) => {
            out.bytes(&[9, body.stream.number()]);
            [body.epoch.get(), body.end.get(), body.check].into_iter().for_each(|number| out.varint(number));
            match &body.ticks {
                None => out.byte(0),
                Some(ticks) => {
                    out.byte(1);
                    out.varint(ticks.events.into());
                    out.bytes(&ticks.boot);
                    out.signed(ticks.offset_us);
                }
            }
        }
    }
}

fn life_cycle(out: &mut Writer<'_>, body: &LifeCycle<'_>) {
    match *body {
        LifeCycle::Started { previous, version, repairs } => texts(out, &[7, 0, previous as u8], version, repairs),
        LifeCycle::Stopped { reason } => text(out, &[7, 1], reason),
        LifeCycle::LinkUp { peer } => text(out, &[7, 2], peer),
        LifeCycle::LinkDown { peer, reason } => texts(out, &[7, 3], peer, reason),
        LifeCycle::KeyPinned { source, key } => {
            text(out, &[7, 4], source);
            out.bytes(&key);
        }
        LifeCycle::Refused { source, reason } => texts(out, &[7, 5], source, reason),
        LifeCycle::Gap { source, stream, epoch, first, end } => {
            text(out, &[7, 6], source);
            out.byte(stream.number());
            [epoch.get(), first.get(), end.get()].into_iter().for_each(|number| out.varint(number));
        }
        LifeCycle::DiskTrouble { message } => text(out, &[7, 7], message),
        LifeCycle::Configured { message } => text(out, &[7, 8], message),
        LifeCycle::Sealed { first, end, hash } => {
            out.bytes(&[7, 9]);
            [first.get(), end.get()].into_iter().for_each(|number| out.varint(number));
            out.bytes(&hash);
        }
        LifeCycle::Trimmed { until, rule } => {
            out.bytes(&[7, 10]);
            out.varint(until.get());
            out.text(rule);
        }
        LifeCycle::Emptied { stream, until, rule } => {
            out.bytes(&[7, 11, stream.number()]);
            out.varint(until.get());
            out.text(rule);
        }
        LifeCycle::LaneKept { source, stream, epoch, end, time_last, chain } => {
            text(out, &[7, 12], source);
            out.byte(stream.number());
            [epoch.get(), end.get()].into_iter().for_each(|number| out.varint(number));
            out.signed(time_last.micros());
            out.bytes(&chain);
        }
    }
}

fn text(out: &mut Writer<'_>, head: &[u8], text: &str) {
    out.bytes(head);
    out.text(text);
}

fn texts(out: &mut Writer<'_>, head: &[u8], one: &str, other: &str) {
    text(out, head, one);
    out.text(other);
}
