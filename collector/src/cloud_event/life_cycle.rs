//! `data` of a life cycle event: `change`, and the members that belong to it.

use std::fmt::Display;

use afferent_protocol::event::{LaneEnds, LifeCycle};
use afferent_protocol::ids::Timestamp;
use afferent_protocol::sign::PublicKey;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::names;
use super::text::Hex;
use crate::rfc3339::time_text;
use crate::whole;

/// A life cycle event as JSON.
pub(super) struct LifeCycleData<'e, 'a>(pub &'e LifeCycle<'a>);

/// The value of a member.
enum Member<'a> {
    Text(&'a str),
    Made(String),
    Whole(u64),
    Boots([[u8; 16]; 2]),
    Lanes(LaneEnds<'a>),
}

use Member::{Boots, Lanes, Made, Text, Whole};

impl Serialize for LifeCycleData<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("change", self.0.kind().name())?;
        for (name, member) in members(self.0) {
            map.serialize_entry(name, &member)?;
        }
        map.end()
    }
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Text(text) => to.serialize_str(text),
            Made(text) => to.serialize_str(text),
            Whole(number) => whole::serialize(number, to),
            Boots(boots) => boots.map(|boot| Hex(&boot).to_string()).serialize(to),
            Lanes(lanes) => {
                let mut list = to.serialize_seq(None)?;
                for lane in lanes.iter() {
                    list.serialize_element(&LaneEnd {
                        stream: lane.stream.name(),
                        epoch: lane.epoch.to_string(),
                        end: lane.end.get(),
                        check: hex64(lane.check),
                    })?;
                }
                list.end()
            }
        }
    }
}

#[derive(Serialize)]
struct LaneEnd {
    stream: &'static str,
    epoch: String,
    #[serde(serialize_with = "whole::serialize")]
    end: u64,
    check: String,
}

/// The members of this change, in their order.
fn members<'a>(change: &LifeCycle<'a>) -> Vec<(&'static str, Member<'a>)> {
    match *change {
        LifeCycle::Started { previous, version, repairs } => vec![
            ("previous", Text(names::previous_stop(previous))),
            ("version", Text(version)),
            ("repairs", Text(repairs)),
        ],
        LifeCycle::Stopped { reason } => vec![("reason", Text(reason))],
        LifeCycle::LinkUp { peer } => vec![("peer", Text(peer))],
        LifeCycle::LinkDown { peer, reason } => vec![("peer", Text(peer)), ("reason", Text(reason))],
        LifeCycle::KeyPinned { source, key } => vec![("source", Text(source)), ("key", made(PublicKey(key)))],
        LifeCycle::Refused { source, reason } => vec![("source", Text(source)), ("reason", Text(reason))],
        LifeCycle::Gap { source, stream, epoch, first, end } => vec![
            ("source", Text(source)),
            ("stream", Text(stream.name())),
            ("epoch", made(epoch)),
            ("first", Whole(first.get())),
            ("end", Whole(end.get())),
        ],
        LifeCycle::DiskTrouble { message }
        | LifeCycle::Configured { message }
        | LifeCycle::RingReplaced { message } => vec![("message", Text(message))],
        LifeCycle::Trimmed { until, rule } => vec![("until", made(until)), ("rule", Text(rule))],
        LifeCycle::Emptied { stream, until, rule } => {
            vec![("stream", Text(stream.name())), ("until", made(until)), ("rule", Text(rule))]
        }
        LifeCycle::LaneKept { source, stream, epoch, end, time_last, chain } => vec![
            ("source", Text(source)),
            ("stream", Text(stream.name())),
            ("epoch", made(epoch)),
            ("end", Whole(end.get())),
            ("time_last", time(time_last)),
            ("chain", hex(&chain)),
        ],
        LifeCycle::Attested { attestation } => vec![("attestation", hex(attestation))],
        LifeCycle::TermBegun { log_id, partition, term, first } => vec![
            ("log_id", hex(&log_id)),
            ("partition", Whole(partition.into())),
            ("term", Made(hex64(term))),
            ("first", made(first)),
        ],
        LifeCycle::Heartbeat { instance, lanes } => vec![("instance", hex(&instance)), ("lanes", Lanes(lanes))],
        LifeCycle::Resealed { stream, epoch, first, reason } => vec![
            ("stream", Text(stream.name())),
            ("epoch", made(epoch)),
            ("first", Whole(first.get())),
            ("reason", Text(names::reseal_reason(reason))),
        ],
        LifeCycle::Conflict { source, boots, addresses } => {
            vec![("source", Text(source)), ("boots", Boots(boots)), ("addresses", Text(addresses))]
        }
        LifeCycle::RolledBack { source, term, until, end, time: at } => vec![
            ("source", Text(source)),
            ("term", Made(hex64(term))),
            ("until", made(until)),
            ("end", made(end)),
            ("time", time(at)),
        ],
        LifeCycle::Retired { source, who, why } => {
            vec![("source", Text(source)), ("who", Text(who)), ("why", Text(why))]
        }
        LifeCycle::KeyReplaced { source, key, who } => {
            // The second line, if there is one, is the reason.
            let (who, why) = who.split_once('\n').unwrap_or((who, ""));
            let why = Some(("why", Text(why))).filter(|_| !why.is_empty());
            let members = [("source", Text(source)), ("key", made(PublicKey(key))), ("who", Text(who))];
            members.into_iter().chain(why).collect()
        }
        LifeCycle::KeyEndorsed { endorsement } => vec![("endorsement", hex(endorsement))],
        LifeCycle::Alias { source, former } => vec![("source", Text(source)), ("former", Text(former))],
        LifeCycle::Forgotten { source } => vec![("source", Text(source))],
        LifeCycle::Unread { file, from, bytes_least, reason } => vec![
            ("file", Text(file)),
            ("from", Whole(from)),
            ("bytes_least", Whole(bytes_least)),
            ("reason", Text(reason)),
        ],
    }
}

fn made<'a>(value: impl Display) -> Member<'a> {
    Made(value.to_string())
}

fn hex<'a>(bytes: &[u8]) -> Member<'a> {
    made(Hex(bytes))
}

fn hex64(number: u64) -> String {
    format!("{number:016x}")
}

fn time<'a>(time: Timestamp) -> Member<'a> {
    Made(time_text(time))
}
