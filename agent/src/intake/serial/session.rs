//! What is said on one open port, without the port: frames in, answers and batches out.

use std::collections::BTreeMap;

use afferent_protocol::batch::{Batch, ChainHash, ClockReading};
use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, ClockStep, Event, Progress, Ticks};
use afferent_protocol::frame;
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId, Timestamp};
use afferent_protocol::session::{
    Check, Control, Hello, Lane, Offered, ReceiverLane, Resume, Verdict, Welcome, is_control,
};

use super::clock::DeviceClock;
use super::{SerialMetrics, SerialSettings};
use crate::ring_log::DeviceProgress;

/// What came of a frame.
#[derive(Debug, Default)]
pub struct Heard<'a> {
    /// Frames to answer with.
    pub answers: Vec<u8>,
    /// What is to be told.
    pub said: Vec<Said>,
    /// All lanes that the device holds.
    pub holds: Option<Vec<Lane>>,
    /// A batch to store; then [`Session::is_durable`].
    pub stored: Option<Stored<'a>>,
}

/// Something about the device that is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is there.
    Up,
    /// Somebody is refused, or something of the device.
    Refused {
        /// Who it says that it is.
        source: SourceId,
        /// Why.
        reason: String,
    },
    /// Its clock has jumped.
    ClockStep(ClockStep),
}

/// A device's batch that is the next one of its lane.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its events, by UTC.
    pub events: Vec<Event<'a>>,
    /// How far the device is with them.
    pub progress: DeviceProgress,
    lane: Lane,
    offered: Offered,
}

/// Who is on the port.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It has not said.
    Unknown,
    /// The device that is to be here.
    Known,
    /// Another one.
    Refused(SourceId),
}

#[derive(Debug)]
struct LaneState {
    receiver: ReceiverLane,
    /// A hello of the lane was answered since the port was opened.
    greeted: bool,
    /// It was told that a batch of the lane is refused.
    told: bool,
}

/// An open port; see the module.
#[derive(Debug)]
pub struct Session {
    agent: SourceId,
    device: SourceId,
    standing: Standing,
    /// A hello that came before anybody has said who it is.
    hello: Option<Hello>,
    lanes: BTreeMap<Lane, LaneState>,
    metrics: SerialMetrics,
}

impl Session {
    /// A port that was just opened, with what the log has of the device.
    pub fn new(settings: &SerialSettings, known: &[DeviceProgress], metrics: SerialMetrics) -> Self {
        let lanes = known.iter().map(|known| {
            let lane = Lane { stream: known.progress.stream, epoch: known.progress.epoch };
            (lane, LaneState { receiver: restored(lane, &known.progress), greeted: false, told: false })
        });
        let (agent, device) = (settings.agent, settings.device);
        Self { agent, device, standing: Standing::Unknown, hello: None, lanes: lanes.collect(), metrics }
    }

    /// Takes what a frame has carried.
    pub fn take<'a>(&mut self, payload: &'a [u8], arrived: &ClockReading, clock: &mut DeviceClock) -> Heard<'a> {
        let mut heard = Heard::default();
        if let Some(request) = ClockRequest::decode(payload) {
            if self.is_known(request.source, &mut heard) {
                heard.said.extend(clock.asked(&request, arrived).map(Said::ClockStep));
                let (boot, tick_us, wall) = (request.boot, request.tick_us, arrived.wall);
                let reply = ClockReply { boot, tick_us, synchronised: arrived.synchronised, wall };
                put_frame(&reply.encode(), &mut heard.answers);
                if let Some(hello) = self.hello.take() {
                    self.greet(&hello, &mut heard);
                }
            }
        } else if is_control(payload) {
            match Control::decode(payload) {
                Ok(Control::Hello(hello)) if self.standing == Standing::Known => self.greet(&hello, &mut heard),
                Ok(Control::Hello(hello)) => self.hello = Some(hello),
                _ => self.metrics.unknown.add(1),
            }
        } else {
            match Batch::parse(payload) {
                Ok((batch, [])) if self.is_known(batch.header().source, &mut heard) => {
                    self.batch(&batch, arrived, clock, &mut heard);
                }
                Ok((_, [])) => {}
                _ => self.metrics.unknown.add(1),
            }
        }
        if self.standing == Standing::Known {
            self.metrics.last_seen.set(arrived.wall.micros() as f64 / 1e6);
        }
        heard
    }

    /// Whether the one who says to be `source` is to be on this port. Another one is refused, and that is told once.
    fn is_known(&mut self, source: SourceId, heard: &mut Heard<'_>) -> bool {
        if source == self.device {
            if self.standing != Standing::Known {
                self.standing = Standing::Known;
                heard.said.push(Said::Up);
            }
            return true;
        }
        if self.standing != Standing::Refused(source) {
            self.standing = Standing::Refused(source);
            self.hello = None;
            let reason =
                format!("this port is for {}; mend the cabling, or `device` in the configuration", self.device);
            heard.said.push(Said::Refused { source, reason });
        }
        false
    }

    fn greet(&mut self, hello: &Hello, heard: &mut Heard<'_>) {
        let holds: Vec<Lane> = hello.lanes.iter().map(|held| held.lane).collect();
        self.lanes.retain(|lane, _| holds.contains(lane));
        let mut lanes = heapless::Vec::new();
        for held in &hello.lanes {
            let is_new = !self.lanes.contains_key(&held.lane);
            let state = self.lanes.entry(held.lane).or_insert_with(|| LaneState {
                receiver: ReceiverLane::new(held.lane),
                greeted: false,
                told: false,
            });
            state.greeted = true;
            // Of a lane that is new here nobody knows whether something is missing: another agent may have it.
            let gap = state.receiver.hello(held).filter(|_| !is_new);
            self.metrics.gaps.add(gap.map_or(0, SequenceRange::count));
            lanes.push(state.receiver.resume()).expect("as many as in the hello");
        }
        put_frame(&Control::Welcome(Welcome { session: hello.session, lanes }).encode(), &mut heard.answers);
        heard.holds = Some(holds);
    }

    fn batch<'a>(&mut self, batch: &Batch<'a>, arrived: &ClockReading, clock: &DeviceClock, heard: &mut Heard<'a>) {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.greeted) else { return };
        let offered = offered(batch);
        match state.receiver.offer(&offered) {
            Verdict::Accept => match read(batch, &self.agent, arrived, clock) {
                Ok((events, ticks)) => {
                    let Check(check) = Check::of(&offered.chain);
                    let (Lane { stream, epoch }, end) = (lane, offered.range.end);
                    let progress = Progress { stream, epoch, end, check, ticks: Some(ticks) };
                    let progress = DeviceProgress { device: self.device, time: arrived.wall, progress };
                    heard.stored = Some(Stored { events, progress, lane, offered });
                }
                Err(reason) => refuse(state, self.device, reason, heard),
            },
            Verdict::Duplicate => {
                self.metrics.duplicates.add(1);
                put_frame(&ack(state.receiver.resume()).encode(), &mut heard.answers);
            }
            Verdict::Early { missing_from, nack: true } => {
                put_frame(&Control::Nack { lane, from: missing_from }.encode(), &mut heard.answers);
            }
            Verdict::Early { nack: false, .. } => {}
            Verdict::Conflict => {
                // The ack shows the device that the log here is another one: it begins a new epoch.
                put_frame(&ack(state.receiver.resume()).encode(), &mut heard.answers);
                refuse(state, self.device, "it contradicts what is there: two devices share a name".into(), heard);
            }
        }
    }

    /// The batch is on disk: acks it.
    pub fn is_durable(&mut self, stored: &Stored<'_>, answers: &mut Vec<u8>) {
        self.metrics.batches.add(1);
        let state = self.lanes.get_mut(&stored.lane).expect("a batch is stored between two frames");
        state.receiver.accepted(&stored.offered);
        put_frame(&ack(state.receiver.durable()).encode(), answers);
    }
}

fn refuse(state: &mut LaneState, source: SourceId, reason: String, heard: &mut Heard<'_>) {
    if !std::mem::replace(&mut state.told, true) {
        heard.said.push(Said::Refused { source, reason });
    }
}

/// The events of a batch, by UTC, and how that was made of their ticks.
fn read<'a>(
    batch: &Batch<'a>,
    agent: &SourceId,
    arrived: &ClockReading,
    clock: &DeviceClock,
) -> Result<(Vec<Event<'a>>, Ticks), String> {
    let header = batch.header();
    if header.is_emptied() {
        return Err("its batch is without the records, as only a collector's retention makes them".to_owned());
    }
    let mut events = Vec::new();
    for record in codec::records(batch, &mut []).map_err(|error| error.to_string())? {
        let event = record.map_err(|error| error.to_string())?.event;
        let Event { subject, body, .. } = event;
        event.check().map_err(|error| error.to_string())?;
        let is_carriers = matches!(body, Body::Loss(_) | Body::LifeCycle(_)) && subject.as_str() == agent.as_str();
        if event.stream() != header.stream || matches!(body, Body::Progress(_)) || is_carriers {
            return Err(format!(
                "its {} about {subject} is not a device's to tell in {}",
                body.type_name(),
                header.stream
            ));
        }
        events.push(event);
    }
    let tick_last = events.iter().map(|event| event.time).max().unwrap_or_default();
    let offset_us = clock.offset_us(&header.clock, tick_last, arrived);
    for event in &mut events {
        event.time = Timestamp::clamped(event.time.micros() + offset_us);
    }
    let ticks = Ticks { events: events.len() as u32, boot: header.clock.boot, offset_us };
    Ok((events, ticks))
}

/// A lane that goes on where the log has it.
fn restored(lane: Lane, progress: &Progress) -> ReceiverLane {
    let mut receiver = ReceiverLane::new(lane);
    let first = Sequence::new(progress.end.get().saturating_sub(1));
    let range = SequenceRange { first, end: progress.end };
    receiver.recovered(&Offered { range, previous: [0; 32], chain: link_chain(progress.check) });
    receiver
}

/// In place of the chain hash stands a batch's checksum.
fn link_chain(check: u64) -> ChainHash {
    let mut chain = [0; 32];
    chain[..8].copy_from_slice(&check.to_le_bytes());
    chain
}

fn offered(batch: &Batch<'_>) -> Offered {
    let header = batch.header();
    Offered { range: header.range(), previous: header.previous, chain: link_chain(header.crc.into()) }
}

/// Appends the frame of a payload.
pub(super) fn put_frame(payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + frame::frame_len_max(payload.len()), 0);
    let len = frame::encode(payload, &mut out[start..]).expect("room was made");
    out.truncate(start + len);
}

fn ack(resume: Resume) -> Control {
    Control::Ack([resume].into_iter().collect())
}
