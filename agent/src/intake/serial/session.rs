//! The session on one open port, without the port: frames in, answers and batches out.

use std::collections::BTreeMap;

use afferent_protocol::batch::{Batch, ChainHash, ClockReading};
use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, ClockStep, Event, Kind, LifeCycle, Progress, Ticks};
use afferent_protocol::frame;
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId, Timestamp};
use afferent_protocol::session::{
    Check, Control, Hello, Lane, Offered, ReceiverLane, Resume, Verdict, Welcome, is_control,
};

use super::clock::DeviceClock;
use super::{SerialMetrics, SerialSettings};
use crate::ring_log::DeviceProgress;

/// The result of a frame.
#[derive(Debug, Default)]
pub struct Heard<'a> {
    /// Frames to answer with.
    pub answers: Vec<u8>,
    /// Notices to report.
    pub notices: Vec<Notice>,
    /// A batch to store; then [`Session::is_durable`].
    pub stored: Option<Stored<'a>>,
}

/// A notice about the device, to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The device is connected.
    Up,
    /// A different device is refused, or a message of this one.
    Refused {
        /// The name that it claims.
        source: SourceId,
        /// Why it is refused.
        reason: String,
    },
    /// The device's clock has stepped.
    ClockStep(ClockStep),
    /// The device seals events again, as the ring log holds different events under their epoch.
    Resealed,
}

/// A device's batch that is the next one of its lane.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The events of the batch, with times in UTC.
    pub events: Vec<Event<'a>>,
    /// How far the device is with them.
    pub progress: DeviceProgress,
    lane: Lane,
    offered: Offered,
}

/// Who is on the port.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The device has not named itself yet.
    Unknown,
    /// The device that must be on this port.
    Known,
    /// A different device.
    Refused(SourceId),
}

#[derive(Debug)]
struct LaneState {
    receiver: ReceiverLane,
    /// Whether a hello of the lane was answered since the port was opened.
    greeted: bool,
    /// Whether a refused batch of the lane was reported.
    reported: bool,
    /// Whether the log has events of the lane.
    is_stored: bool,
}

/// An open port; see the module.
#[derive(Debug)]
pub struct Session {
    agent: SourceId,
    device: SourceId,
    standing: Standing,
    /// A hello that came before the device named itself.
    hello: Option<Hello>,
    lanes: BTreeMap<Lane, LaneState>,
    /// Lanes of the last hello.
    held: Vec<Lane>,
    /// Whether resealing was reported since the port was opened.
    reported_resealing: bool,
    metrics: SerialMetrics,
}

impl Session {
    /// A port that was just opened, with what the log has of the device.
    pub fn new(settings: &SerialSettings, known: &[DeviceProgress], metrics: SerialMetrics) -> Self {
        let lanes = known.iter().map(|known| {
            let lane = Lane { stream: known.progress.stream, epoch: known.progress.epoch };
            (
                lane,
                LaneState {
                    receiver: restored(lane, &known.progress),
                    greeted: false,
                    reported: false,
                    is_stored: true,
                },
            )
        });
        let (agent, device) = (settings.agent, settings.device);
        let (held, reported_resealing) = (Vec::new(), false);
        let (standing, hello, lanes) = (Standing::Unknown, None, lanes.collect());
        Self { agent, device, standing, hello, lanes, held, reported_resealing, metrics }
    }

    /// Takes what a frame has carried.
    pub fn take<'a>(&mut self, payload: &'a [u8], arrived: &ClockReading, clock: &mut DeviceClock) -> Heard<'a> {
        let mut heard = Heard::default();
        if let Some(request) = ClockRequest::decode(payload) {
            if self.is_known(request.source, &mut heard) {
                heard.notices.extend(clock.asked(&request, arrived).map(Notice::ClockStep));
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
                Ok(Control::Ask(ends)) if self.standing == Standing::Known => self.answer(&ends, &mut heard),
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

    /// Whether `source` is the device of this port. A different one is refused, and that is reported once.
    fn is_known(&mut self, source: SourceId, heard: &mut Heard<'_>) -> bool {
        if source == self.device {
            if self.standing != Standing::Known {
                self.standing = Standing::Known;
                heard.notices.push(Notice::Up);
            }
            return true;
        }
        if self.standing != Standing::Refused(source) {
            self.standing = Standing::Refused(source);
            self.hello = None;
            let reason =
                format!("this port is for {}; correct the cabling, or `device` in the configuration", self.device);
            heard.notices.push(Notice::Refused { source, reason });
        }
        false
    }

    fn greet(&mut self, hello: &Hello, heard: &mut Heard<'_>) {
        self.held = hello.lanes.iter().map(|held| held.lane).collect();
        // Of other lanes, what is in the log stays until the device has got on, see the module's parent.
        self.lanes.retain(|lane, state| self.held.contains(lane) || state.is_stored);
        let mut lanes = heapless::Vec::new();
        for held in &hello.lanes {
            let is_new = !self.lanes.contains_key(&held.lane);
            let state = self.lanes.entry(held.lane).or_insert_with(|| LaneState {
                receiver: ReceiverLane::new(held.lane),
                greeted: false,
                reported: false,
                is_stored: false,
            });
            state.greeted = true;
            // In a lane that is new here it is unknown whether events are missing: a different agent may have them.
            let gap = state.receiver.hello(held).filter(|_| !is_new);
            self.metrics.gaps.add(gap.map_or(0, SequenceRange::count));
            lanes.push(state.receiver.resume()).expect("as many as in the hello");
        }
        put_frame(&Control::Welcome(Welcome { session: hello.session, lanes }).encode(), &mut heard.answers);
    }

    /// Says which of these ends is in the log as well: the device has found that something else is here under its
    /// epoch.
    fn answer(&mut self, ends: &[Resume], heard: &mut Heard<'_>) {
        let has = |end: &&Resume| {
            let receiver = self.lanes.get(&end.lane).map(|state| &state.receiver);
            receiver.zip(end.check).is_some_and(|(receiver, check)| receiver.has(end.end, check))
        };
        let Some(Resume { lane, .. }) = ends.first().copied() else { return };
        let none = Resume { lane, end: Sequence::ZERO, check: None };
        let common = ends.iter().filter(has).max_by_key(|end| end.end).copied().unwrap_or(none);
        put_frame(&Control::Common(common).encode(), &mut heard.answers);
    }

    fn batch<'a>(&mut self, batch: &Batch<'a>, arrived: &ClockReading, clock: &DeviceClock, heard: &mut Heard<'a>) {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let Some(state) = self.lanes.get_mut(&lane).filter(|state| state.greeted) else { return };
        let offered = offered(batch);
        match state.receiver.offer(&offered) {
            Verdict::Accept => match read(batch, &self.agent, arrived, clock) {
                Ok((events, ticks)) => {
                    if events.iter().any(|event| is_resealed(event)) {
                        self.metrics.resealed.add(1);
                        if !std::mem::replace(&mut self.reported_resealing, true) {
                            heard.notices.push(Notice::Resealed);
                        }
                    }
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
                // The device learns of it by the welcome to its next hello, and seals again what is not here.
                put_frame(&ack(state.receiver.resume()).encode(), &mut heard.answers);
                let reason = "it contradicts stored events: two devices share a name, or one has started twice with \
                              the same boot and entropy; it is asked to seal its events again, and nothing is lost";
                refuse(state, self.device, reason.into(), heard);
            }
        }
    }

    /// The batch is on disk: acks it, and forgets the lanes that the device does not hold any more. Gives those that it
    /// holds.
    pub fn is_durable(&mut self, stored: &Stored<'_>, answers: &mut Vec<u8>) -> &[Lane] {
        self.metrics.batches.add(1);
        self.lanes.retain(|lane, _| self.held.contains(lane));
        let state = self.lanes.get_mut(&stored.lane).expect("a batch is stored between two frames");
        state.receiver.accepted(&stored.offered);
        state.is_stored = true;
        put_frame(&ack(state.receiver.durable()).encode(), answers);
        &self.held
    }
}

fn refuse(state: &mut LaneState, source: SourceId, reason: String, heard: &mut Heard<'_>) {
    if !std::mem::replace(&mut state.reported, true) {
        heard.notices.push(Notice::Refused { source, reason });
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
        return Err("its batch has no records; only a collector's retention makes such batches".to_owned());
    }
    let mut events = Vec::new();
    for record in codec::records(batch, &mut []).map_err(|error| error.to_string())? {
        let event = record.map_err(|error| error.to_string())?.event;
        let Event { subject, body, .. } = event;
        event.check().map_err(|error| error.to_string())?;
        let is_carriers = match body.kind() {
            // The agent's own tables: its next start goes by them, whosever name they bear.
            Kind::Progress | Kind::Followed => true,
            // What was sealed again is about the device, whatever subject it had at hand, see `by_device`.
            Kind::Loss | Kind::LifeCycle => subject.as_str() == agent.as_str() && !is_resealed(&event),
            Kind::Sample
            | Kind::Breakdown
            | Kind::Recovery
            | Kind::State
            | Kind::Alarm
            | Kind::ClockStep
            | Kind::Derived => false,
        };
        if event.stream() != header.stream || is_carriers {
            return Err(format!(
                "a device must not send its {} about {subject} in {}",
                body.kind().type_name(),
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

/// Whether it names the epoch and sequences that the events behind it had.
pub(super) fn is_resealed(event: &Event<'_>) -> bool {
    matches!(event.body, Body::LifeCycle(LifeCycle::Resealed { .. }))
}

/// A lane that continues where the log has it.
fn restored(lane: Lane, progress: &Progress) -> ReceiverLane {
    let mut receiver = ReceiverLane::new(lane);
    let first = Sequence::new(progress.end.get().saturating_sub(1));
    let range = SequenceRange { first, end: progress.end };
    receiver.recovered(&Offered { range, previous: [0; 32], chain: link_chain(progress.check) });
    receiver
}

/// The checksum of a batch serves as its chain hash.
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
