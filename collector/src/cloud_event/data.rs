//! `data`: one object per kind of event.
//!
//! The members and their order are in [`crate::kinds::TYPES`], and for changes of the life cycle in
//! [`crate::kinds::CHANGES`]. Beyond their names:
//!
//! | kind | member |
//! |---|---|
//! | sample | `value` is a number, a boolean or a text; `valuetype` is `integer` beside a whole number as text |
//! | loss | `chain` is hexadecimal, or null when it is unknown |
//! | clock step | `before` and `after` are times |
//! | life cycle | the members of `change` follow it |
//! | progress | of the device that is the subject; `check` is hexadecimal; `ticks`: null, or see below |
//! | followed | `horizon` is a time; `files`: a list, see below |
//! | derived | `data` is the JSON document of its maker, or a JSON text when it is not JSON |
//!
//! `ticks` of a progress row has `events`, `boot` and `offset_us`: for this number of events right before it, tick =
//! time − offset. Each of `files` has `number`, `device`, `inode`, `born_us`, `known`, `fingerprint` (hexadecimal),
//! `end`, `other_end`, `finished` and `name`. Whole numbers beyond 2^53 are texts of their digits, and offsets always
//! are ([`crate::whole`]).

use afferent_protocol::batch::CHAIN_START;
use afferent_protocol::event::{Body, ClockStep, Derived, Loss, Sample, Value};
use serde::{Serialize, Serializer};

use super::text::{Hex, put_decimal, put_json_string};
use super::{followed, life_cycle, names};
use crate::rfc3339::time_text;
use crate::whole;

/// The content type of all events except derived events that are not JSON.
pub const JSON: &str = "application/json";
/// The content type of a derived event whose text is not JSON.
const TEXT: &str = "text/plain";

/// The content of `data`.
pub(super) enum DataContent<'e, 'a> {
    Body(&'e Body<'a>),
    Json(&'a str),
    Text(&'a str),
}

/// The content of an event's `data`.
pub(super) fn content_of<'e, 'a>(body: &'e Body<'a>) -> DataContent<'e, 'a> {
    match body {
        Body::Derived(Derived { json, .. }) if is_json(json) => DataContent::Json(json),
        Body::Derived(Derived { json, .. }) => DataContent::Text(json),
        body => DataContent::Body(body),
    }
}

impl DataContent<'_, '_> {
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Text(_) => TEXT,
            _ => JSON,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Body(Body::Sample(sample)) => put_sample(out, sample),
            Self::Body(body) => serde_json::to_writer(out, &Data(body)).expect("bodies have no keys but texts"),
            // In JSON, control characters occur between tokens only, where a blank is allowed as well: one event stays
            // one line.
            Self::Json(json) => out.extend(json.bytes().map(|byte| if byte < b' ' { b' ' } else { byte })),
            Self::Text(text) => put_json_string(out, text),
        }
    }
}

/// Appends the JSON of an event's `data`, on one line; returns its content type.
pub(crate) fn put(out: &mut Vec<u8>, body: &Body<'_>) -> &'static str {
    let from = out.len();
    let content = content_of(body);
    content.put(out);
    super::text::escape_line_ends(out, from);
    content.content_type()
}

/// Whether this is one JSON document within the usual limit on nesting.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

struct Data<'e, 'a>(&'e Body<'a>);

impl Serialize for Data<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Body::Breakdown(body) => {
                #[derive(Serialize)]
                struct Breakdown<'a> {
                    code: &'a str,
                    severity: &'static str,
                    message: &'a str,
                }
                let severity = names::severity(body.severity);
                Breakdown { code: body.code, severity, message: body.message }.serialize(to)
            }
            Body::Recovery(body) => body.serialize(to),
            Body::State(body) => {
                #[derive(Serialize)]
                struct State<'a> {
                    state: &'static str,
                    reason: &'a str,
                }
                State { state: names::machine_state(body.state), reason: body.reason }.serialize(to)
            }
            Body::Alarm(body) => {
                #[derive(Serialize)]
                struct Alarm<'a> {
                    condition: &'a str,
                    transition: &'static str,
                    priority: u16,
                    message: &'a str,
                }
                let transition = names::alarm_transition(body.transition);
                Alarm { condition: body.condition, transition, priority: body.priority, message: body.message }
                    .serialize(to)
            }
            Body::Loss(loss) => loss_of(loss).serialize(to),
            Body::ClockStep(step) => clock_step_of(step).serialize(to),
            Body::LifeCycle(change) => life_cycle::LifeCycleData(change).serialize(to),
            Body::Progress(progress) => {
                #[derive(Serialize)]
                struct Progress {
                    stream: &'static str,
                    epoch: String,
                    #[serde(serialize_with = "whole::serialize")]
                    end: u64,
                    check: String,
                    ticks: Option<Ticks>,
                }
                /// Of the `events` before this one: tick = time − `offset_us`.
                #[derive(Serialize)]
                struct Ticks {
                    events: u32,
                    boot: String,
                    #[serde(serialize_with = "whole::signed")]
                    offset_us: i64,
                }
                let (epoch, check) = (progress.epoch.to_string(), format!("{:016x}", progress.check));
                let ticks = progress.ticks.map(|ticks| Ticks {
                    events: ticks.events,
                    boot: Hex(&ticks.boot).to_string(),
                    offset_us: ticks.offset_us,
                });
                Progress { stream: progress.stream.name(), epoch, end: progress.end.get(), check, ticks }.serialize(to)
            }
            Body::Followed(table) => followed::FollowedData(table).serialize(to),
            Body::Sample(_) => unreachable!("a sample is written by hand"),
            Body::Derived(_) => unreachable!("a derived event is its own content"),
        }
    }
}

/// Appends a sample. It is written without serde, because nearly all events are samples.
fn put_sample(out: &mut Vec<u8>, sample: &Sample<'_>) {
    out.extend_from_slice(br#"{"value":"#);
    match sample.value {
        // The library writes the shortest float that reads back as the same number.
        Value::Float(value) => serde_json::to_writer(&mut *out, &value).expect("a growing buffer takes any number"),
        Value::Integer(value) => {
            let quote: &[u8] = if whole::is_exact(value) { b"" } else { b"\"" };
            out.extend_from_slice(quote);
            if value < 0 {
                out.push(b'-');
            }
            put_decimal(out, value.unsigned_abs());
            out.extend_from_slice(quote);
        }
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Text(value) => put_json_string(out, value),
    }
    out.extend_from_slice(br#","unit":"#);
    put_json_string(out, sample.unit);
    out.extend_from_slice(br#","quality":""#);
    out.extend_from_slice(names::quality(sample.quality).as_bytes());
    out.push(b'"');
    // A type beside a text of digits: the value was measured as a number.
    if matches!(sample.value, Value::Integer(value) if !whole::is_exact(value)) {
        out.extend_from_slice(br#","valuetype":"integer""#);
    }
    out.push(b'}');
}

#[derive(Serialize)]
struct LossData {
    stream: &'static str,
    epoch: String,
    #[serde(serialize_with = "whole::serialize")]
    first: u64,
    #[serde(serialize_with = "whole::serialize")]
    end: u64,
    reason: &'static str,
    chain: Option<String>,
}

fn loss_of(loss: &Loss) -> LossData {
    LossData {
        stream: loss.stream.name(),
        epoch: loss.epoch.to_string(),
        first: loss.first.get(),
        end: loss.end.get(),
        reason: names::loss_reason(loss.reason),
        chain: (loss.chain != CHAIN_START).then(|| Hex(&loss.chain).to_string()),
    }
}

#[derive(Serialize)]
struct ClockStepData {
    before: String,
    after: String,
    #[serde(serialize_with = "whole::signed")]
    step_us: i64,
}

fn clock_step_of(step: &ClockStep) -> ClockStepData {
    ClockStepData {
        before: time_text(step.before),
        after: time_text(step.after),
        step_us: step.after.micros() - step.before.micros(),
    }
}
