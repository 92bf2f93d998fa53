//! `data`: one object per kind of event.
//!
//! | kind | members |
//! |---|---|
//! | sample | `value` (number, boolean or text), `unit`, `quality`; `valuetype` is `integer` where `value` is a whole number as text |
//! | breakdown | `code`, `severity`, `message` |
//! | recovery | `code`, `message` |
//! | state | `state`, `reason` |
//! | alarm | `condition`, `transition`, `priority`, `message` |
//! | loss | `stream`, `epoch`, `first`, `end`, `reason`, `chain` (hexadecimal, or null when nobody knows it) |
//! | clock step | `before`, `after` (times), `step_us` |
//! | life cycle | `change`, and what belongs to it |
//! | progress | `stream`, `epoch`, `end`, `check` (hexadecimal), of the device that is the subject; `ticks` (`events`, `boot`, `offset_us`; null where none): of so many events right before it, tick = time − offset |
//! | derived | the JSON document of its maker; as a JSON text when it is no JSON |
//!
//! Whole numbers beyond 2^53 are texts of their digits, and offsets always are ([`crate::whole`]).

use std::fmt;

use afferent_protocol::batch::CHAIN_START;
use afferent_protocol::event::{Body, ClockStep, Derived, LifeCycle, Loss, Sample, Value};
use afferent_protocol::ids::Timestamp;
use afferent_protocol::sign::PublicKey;
use serde::{Serialize, Serializer};

use super::names;
use super::text::{put_decimal, put_json_string};
use super::time::put_rfc3339;
use crate::whole;

/// The content type of everything but derived events that are no JSON.
pub const JSON: &str = "application/json";
/// The content type of a derived event whose text is no JSON.
const TEXT: &str = "text/plain";

/// What stands in `data`.
pub(super) enum Content<'e, 'a> {
    Body(&'e Body<'a>),
    Json(&'a str),
    Text(&'a str),
}

/// What stands in the `data` of this event.
pub(super) fn content_of<'e, 'a>(body: &'e Body<'a>) -> Content<'e, 'a> {
    match body {
        Body::Derived(Derived { json, .. }) if is_json(json) => Content::Json(json),
        Body::Derived(Derived { json, .. }) => Content::Text(json),
        body => Content::Body(body),
    }
}

impl Content<'_, '_> {
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
            // In JSON control characters occur between tokens only, where a blank does as well: one event stays one line.
            Self::Json(json) => out.extend(json.bytes().map(|byte| if byte < b' ' { b' ' } else { byte })),
            Self::Text(text) => put_json_string(out, text),
        }
    }
}

/// Whether this is one JSON document that readers with the usual limit on nesting can read.
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
            Body::LifeCycle(change) => life_cycle_of(change).serialize(to),
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
            Body::Sample(_) => unreachable!("a sample is written by hand"),
            Body::Derived(_) => unreachable!("a derived event is its own content"),
        }
    }
}

/// Appends a sample. By hand, because nearly all events are samples.
fn put_sample(out: &mut Vec<u8>, sample: &Sample<'_>) {
    out.extend_from_slice(br#"{"value":"#);
    match sample.value {
        // The library's float is the shortest one that reads back as the same number.
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
    // Beside a text of digits: it was measured as a number.
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

#[derive(Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum LifeCycleData<'a> {
    Started {
        previous: &'static str,
        version: &'a str,
        repairs: &'a str,
    },
    Stopped {
        reason: &'a str,
    },
    LinkUp {
        peer: &'a str,
    },
    LinkDown {
        peer: &'a str,
        reason: &'a str,
    },
    KeyPinned {
        source: &'a str,
        key: String,
    },
    Refused {
        source: &'a str,
        reason: &'a str,
    },
    Gap {
        source: &'a str,
        stream: &'static str,
        epoch: String,
        #[serde(serialize_with = "whole::serialize")]
        first: u64,
        #[serde(serialize_with = "whole::serialize")]
        end: u64,
    },
    DiskTrouble {
        message: &'a str,
    },
    Configured {
        message: &'a str,
    },
    Trimmed {
        until: String,
        rule: &'a str,
    },
    Emptied {
        stream: &'static str,
        until: String,
        rule: &'a str,
    },
    LaneKept {
        source: &'a str,
        stream: &'static str,
        epoch: String,
        #[serde(serialize_with = "whole::serialize")]
        end: u64,
        time_last: String,
        chain: String,
    },
    Attested {
        attestation: String,
    },
    TermBegun {
        log_id: String,
        partition: u32,
        term: String,
        first: String,
    },
    Heartbeat {
        instance: String,
        lanes: Vec<LaneEnd>,
    },
    Resealed {
        stream: &'static str,
        epoch: String,
        #[serde(serialize_with = "whole::serialize")]
        first: u64,
        reason: &'static str,
    },
    RingReplaced {
        message: &'a str,
    },
    Conflict {
        source: &'a str,
        boots: [String; 2],
        addresses: &'a str,
    },
    RolledBack {
        source: &'a str,
        term: String,
        until: String,
        end: String,
        time: String,
    },
    Retired {
        source: &'a str,
        who: &'a str,
        why: &'a str,
    },
    KeyReplaced {
        source: &'a str,
        key: String,
        who: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        why: &'a str,
    },
    KeyEndorsed {
        endorsement: String,
    },
    Alias {
        source: &'a str,
        former: &'a str,
    },
}

#[derive(Serialize)]
struct LaneEnd {
    stream: &'static str,
    epoch: String,
    #[serde(serialize_with = "whole::serialize")]
    end: u64,
    check: String,
}

fn life_cycle_of<'a>(change: &LifeCycle<'a>) -> LifeCycleData<'a> {
    match *change {
        LifeCycle::Started { previous, version, repairs } => {
            LifeCycleData::Started { previous: names::previous_stop(previous), version, repairs }
        }
        LifeCycle::Stopped { reason } => LifeCycleData::Stopped { reason },
        LifeCycle::LinkUp { peer } => LifeCycleData::LinkUp { peer },
        LifeCycle::LinkDown { peer, reason } => LifeCycleData::LinkDown { peer, reason },
        LifeCycle::KeyPinned { source, key } => LifeCycleData::KeyPinned { source, key: PublicKey(key).to_string() },
        LifeCycle::Refused { source, reason } => LifeCycleData::Refused { source, reason },
        LifeCycle::Gap { source, stream, epoch, first, end } => LifeCycleData::Gap {
            source,
            stream: stream.name(),
            epoch: epoch.to_string(),
            first: first.get(),
            end: end.get(),
        },
        LifeCycle::DiskTrouble { message } => LifeCycleData::DiskTrouble { message },
        LifeCycle::Configured { message } => LifeCycleData::Configured { message },
        LifeCycle::Trimmed { until, rule } => LifeCycleData::Trimmed { until: until.to_string(), rule },
        LifeCycle::Emptied { stream, until, rule } => {
            LifeCycleData::Emptied { stream: stream.name(), until: until.to_string(), rule }
        }
        LifeCycle::LaneKept { source, stream, epoch, end, time_last, chain } => LifeCycleData::LaneKept {
            source,
            stream: stream.name(),
            epoch: epoch.to_string(),
            end: end.get(),
            time_last: time_text(time_last),
            chain: Hex(&chain).to_string(),
        },
        LifeCycle::Attested { attestation } => LifeCycleData::Attested { attestation: Hex(attestation).to_string() },
        LifeCycle::TermBegun { log_id, partition, term, first } => LifeCycleData::TermBegun {
            log_id: Hex(&log_id).to_string(),
            partition,
            term: format!("{term:016x}"),
            first: first.to_string(),
        },
        LifeCycle::Heartbeat { instance, lanes } => LifeCycleData::Heartbeat {
            instance: Hex(&instance).to_string(),
            lanes: lanes
                .iter()
                .map(|lane| LaneEnd {
                    stream: lane.stream.name(),
                    epoch: lane.epoch.to_string(),
                    end: lane.end.get(),
                    check: format!("{:016x}", lane.check),
                })
                .collect(),
        },
        LifeCycle::Resealed { stream, epoch, first, reason } => LifeCycleData::Resealed {
            stream: stream.name(),
            epoch: epoch.to_string(),
            first: first.get(),
            reason: names::reseal_reason(reason),
        },
        LifeCycle::RingReplaced { message } => LifeCycleData::RingReplaced { message },
        LifeCycle::Conflict { source, boots, addresses } => {
            LifeCycleData::Conflict { source, boots: boots.map(|boot| Hex(&boot).to_string()), addresses }
        }
        LifeCycle::RolledBack { source, term, until, end, time } => LifeCycleData::RolledBack {
            source,
            term: format!("{term:016x}"),
            until: until.to_string(),
            end: end.to_string(),
            time: time_text(time),
        },
        LifeCycle::Retired { source, who, why } => LifeCycleData::Retired { source, who, why },
        LifeCycle::KeyReplaced { source, key, who } => {
            // The reason is the second line.
            let (who, why) = who.split_once('\n').unwrap_or((who, ""));
            LifeCycleData::KeyReplaced { source, key: PublicKey(key).to_string(), who, why }
        }
        LifeCycle::KeyEndorsed { endorsement } => {
            LifeCycleData::KeyEndorsed { endorsement: Hex(endorsement).to_string() }
        }
        LifeCycle::Alias { source, former } => LifeCycleData::Alias { source, former },
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn time_text(time: Timestamp) -> String {
    let mut text = Vec::with_capacity(27);
    put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}
