//! The other end of the line as `README.md` specifies it, with a log in memory: what the agent does, in small.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_firmware::protocol::batch::{Batch, ChainHash};
use afferent_firmware::protocol::clock_exchange::{ClockReply, ClockRequest};
use afferent_firmware::protocol::codec;
use afferent_firmware::protocol::event::{Body, Event};
use afferent_firmware::protocol::fragment::{self, Assembler};
use afferent_firmware::protocol::frame::{Accumulator, Fed, Noise, encode, frame_len_max};
use afferent_firmware::protocol::ids::{Sequence, SequenceRange, Stream, Timestamp};
use afferent_firmware::protocol::session::{
    Control, Lane, Offered, ReceiverLane, Resume, Verdict, Welcome, is_control,
};

/// A log of batches, and the session that fills it.
#[derive(Default)]
pub struct Receiver {
    pub batches: Vec<(Lane, Vec<u8>)>,
    pub gaps: Vec<(Lane, SequenceRange)>,
    pub requests: Vec<ClockRequest>,
    pub noise: usize,
    pub noise_by_checksum: usize,
    pub conflicts: usize,
    pub repeated: usize,
    /// UTC in µs, told to whoever asks.
    pub wall_us: i64,
    /// What it says when it is asked for an end; the truth when nothing stands here.
    pub says_common: Option<bool>,
    pub asked: usize,
    pub pieces: usize,
    lanes: BTreeMap<Lane, ReceiverLane>,
    greeted: BTreeSet<Lane>,
    /// The lanes of the last hello.
    held: BTreeSet<Lane>,
    incoming: Box<Incoming>,
    /// The one that was used last stands last.
    assemblers: VecDeque<Assembler<4608>>,
}

struct Incoming(Accumulator<4608>);

impl Default for Incoming {
    fn default() -> Self {
        Self(Accumulator::new())
    }
}

/// An event as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub lane: Lane,
    pub sequence: u64,
    pub tick_us: i64,
    pub subject: String,
    /// The body as `{:?}` prints it.
    pub body: String,
    /// Of a loss: the lane, and which.
    pub loss: Option<(Lane, SequenceRange)>,
    pub boot: [u8; 16],
}

impl Seen {
    /// It says which epoch and sequences the events behind it had.
    pub fn is_resealed(&self) -> bool {
        self.body.contains("Resealed")
    }
}

impl Receiver {
    /// A receiver whose process was killed and started again: its log, and nothing else, is there.
    pub fn restarted(self) -> Self {
        let mut new = Self { batches: self.batches, gaps: self.gaps, wall_us: self.wall_us, ..Self::default() };
        for lane in self.lanes.into_keys() {
            // Of each lane that it knew it finds the last batch.
            if let Some((_, bytes)) = new.batches.iter().rfind(|(known, _)| *known == lane) {
                let offered = offered(&Batch::parse(bytes).expect("the log is whole").0);
                let mut state = ReceiverLane::new(lane);
                state.recovered(&offered);
                new.lanes.insert(lane, state);
            }
        }
        new
    }

    /// Takes bytes of the line; returns the bytes to answer.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut answers = Vec::new();
        loop {
            let taken = match incoming.0.feed(bytes) {
                Fed::More => break,
                Fed::Frame { payload, taken } => {
                    self.take(payload, &mut answers);
                    taken
                }
                Fed::Noise { taken, noise } => {
                    self.noise += 1;
                    self.noise_by_checksum += usize::from(noise == Noise::Checksum);
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        self.incoming = incoming;
        answers
    }

    fn take(&mut self, payload: &[u8], answers: &mut Vec<u8>) {
        if let Some(request) = ClockRequest::decode(payload) {
            let wall = Timestamp::new(self.wall_us).expect("a time");
            let reply = ClockReply { boot: request.boot, tick_us: request.tick_us, synchronised: true, wall };
            self.requests.push(request);
            frame(&reply.encode(), answers);
        } else if payload.starts_with(&fragment::MAGIC) {
            self.fragment(payload, answers);
        } else if is_control(payload) {
            match Control::decode(payload).expect("the frame's checksum was right") {
                Control::Hello(hello) => {
                    let mut lanes = heapless::Vec::new();
                    self.held = hello.lanes.iter().map(|held| held.lane).collect();
                    for held in &hello.lanes {
                        let state = self.lanes.entry(held.lane).or_insert_with(|| ReceiverLane::new(held.lane));
                        self.gaps.extend(state.hello(held).map(|gap| (held.lane, gap)));
                        lanes.push(state.resume()).expect("as many as in the hello");
                        self.greeted.insert(held.lane);
                    }
                    frame(&Control::Welcome(Welcome { session: hello.session, lanes }).encode(), answers);
                }
                Control::Ask(ends) => {
                    self.asked += 1;
                    let has = |end: &&Resume| match self.says_common {
                        Some(has) => has,
                        None => {
                            self.lanes.get(&end.lane).zip(end.check).is_some_and(|(at, check)| at.has(end.end, check))
                        }
                    };
                    let lane = ends[0].lane;
                    let none = Resume { lane, end: Sequence::ZERO, check: None };
                    let common = ends.iter().filter(has).max_by_key(|end| end.end).copied().unwrap_or(none);
                    frame(&Control::Common(common).encode(), answers);
                }
                other => panic!("a device says hello and asks: {other:?}"),
            }
        } else {
            let (batch, rest) = Batch::parse(payload).expect("a batch is whole when its frame is");
            assert!(rest.is_empty(), "one batch a frame");
            self.batch(&batch, answers);
        }
    }

    fn fragment(&mut self, payload: &[u8], answers: &mut Vec<u8>) {
        self.pieces += 1;
        self.assemblers.resize_with(4, Assembler::new);
        let known = self.assemblers.iter().position(|assembler| assembler.is_of(payload)).unwrap_or(0);
        let mut assembler = self.assemblers.remove(known).expect("it is there");
        if let Some(batch) = assembler.take(payload) {
            self.batch(&batch, answers);
        }
        self.assemblers.push_back(assembler);
    }

    fn batch(&mut self, batch: &Batch<'_>, answers: &mut Vec<u8>) {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        if !self.greeted.contains(&lane) {
            return;
        }
        let state = self.lanes.entry(lane).or_insert_with(|| ReceiverLane::new(lane));
        let offered = offered(batch);
        match state.offer(&offered) {
            Verdict::Accept => {
                state.accepted(&offered);
                self.lanes.retain(|known, _| *known == lane || self.held.contains(known));
                let state = self.lanes.get_mut(&lane).expect("it was kept");
                self.batches.push((lane, batch.bytes().to_vec()));
                frame(&ack(state.durable()).encode(), answers);
            }
            Verdict::Duplicate => {
                self.repeated += 1;
                frame(&ack(state.resume()).encode(), answers);
            }
            Verdict::Early { missing_from, nack: true } => {
                frame(&Control::Nack { lane, from: missing_from }.encode(), answers);
            }
            Verdict::Early { nack: false, .. } => {}
            Verdict::Conflict => self.conflicts += 1,
        }
    }

    /// Every event in the order in which it came.
    pub fn events(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (lane, bytes) in &self.batches {
            let (batch, _) = Batch::parse(bytes).expect("the log is whole");
            for record in codec::records(&batch, &mut []).expect("rows") {
                let record = record.expect("every record can be read");
                let Event { time, subject, body } = record.event;
                let loss = match body {
                    Body::Loss(loss) => Some((
                        Lane { stream: loss.stream, epoch: loss.epoch },
                        SequenceRange { first: loss.first, end: loss.end },
                    )),
                    _ => None,
                };
                seen.push(Seen {
                    lane: *lane,
                    sequence: record.sequence.get(),
                    tick_us: time.micros(),
                    subject: subject.as_str().into(),
                    body: format!("{body:?}"),
                    loss,
                    boot: batch.header().clock.boot,
                });
            }
        }
        seen
    }

    /// Events of a stream without declarations of loss, and without those that only say what was sealed again.
    pub fn events_of(&self, stream: Stream) -> Vec<Seen> {
        let is_one = |seen: &Seen| seen.lane.stream == stream && seen.loss.is_none() && !seen.is_resealed();
        self.events().into_iter().filter(is_one).collect()
    }

    /// How many sequences are declared as lost.
    pub fn declared(&self, stream: Stream) -> u64 {
        let losses = self.events().into_iter().filter_map(|seen| seen.loss);
        losses.filter(|(lane, _)| lane.stream == stream).map(|(_, range)| range.count()).sum()
    }

    /// Holds the log against itself: every sequence of every lane came once and in order, or is declared as lost once,
    /// up to the end that is known. Gives how many of each stream are lost. What was evicted may have come
    /// nevertheless, when its ack was lost or late: that is not lost.
    pub fn check(&self) -> [u64; 2] {
        let mut ends = BTreeMap::<Lane, u64>::new();
        let mut holes = BTreeSet::new();
        let events = self.events();
        for seen in &events {
            let end = ends.entry(seen.lane).or_default();
            assert!(seen.sequence >= *end, "{seen:?} came twice, or late");
            (*end..seen.sequence).for_each(|sequence| assert!(holes.insert((seen.lane, sequence))));
            *end = seen.sequence + 1;
        }
        let mut lost = [0; 2];
        for (seen, (lane, range)) in events.iter().filter_map(|seen| Some((seen, seen.loss?))) {
            for sequence in range.first.get()..range.end.get() {
                let is_behind = sequence >= ends.get(&lane).copied().unwrap_or_default();
                if holes.remove(&(lane, sequence)) || is_behind {
                    lost[usize::from(lane.stream.number())] += 1;
                } else {
                    assert!(
                        seen.body.contains("Evicted"),
                        "{sequence} of {lane:?} is declared twice, or came: {seen:?}"
                    );
                }
            }
        }
        assert!(holes.is_empty(), "lost and never declared: {holes:?}");
        lost
    }
}

fn offered(batch: &Batch<'_>) -> Offered {
    let mut chain: ChainHash = [0; 32];
    chain[..4].copy_from_slice(&batch.header().crc.to_le_bytes());
    Offered { range: batch.header().range(), previous: batch.header().previous, chain }
}

fn frame(payload: &[u8], out: &mut Vec<u8>) {
    let mut bytes = vec![0; frame_len_max(payload.len())];
    let len = encode(payload, &mut bytes).expect("room was made");
    out.extend_from_slice(&bytes[..len]);
}

fn ack(resume: Resume) -> Control {
    Control::Ack([resume].into_iter().collect())
}
