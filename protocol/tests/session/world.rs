//! Two logs, a channel between them that does what it likes, and a ledger of what must hold.

use std::collections::{BTreeMap, VecDeque};

use afferent_protocol::batch::{CHAIN_START, ChainHash};
use afferent_protocol::ids::{Epoch, Sequence, SequenceRange, Stream};
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::{
    Action, Check, Control, Held, Hello, Lane, Offered, ReceiverLane, Resume, Sender, SenderSettings, SentBatch,
    Verdict, Welcome,
};

/// Bytes that every batch says it has.
pub const BATCH_BYTES: usize = 100;
/// Batches that a receiver keeps although others must come before them.
const EARLY_MAX: usize = 8;

/// What goes up.
#[derive(Clone, Debug)]
pub enum Up {
    Hello(Box<Hello>),
    Batches(Vec<(Lane, Offered)>),
}

/// One lane of the sender's log.
#[derive(Clone, Debug, Default)]
pub struct SourceLane {
    pub batches: Vec<Offered>,
    /// What `Release` has said, and as much of it as a restart finds again.
    released: Sequence,
    released_durably: Sequence,
    /// What was given up, as batches.
    evicted_end: Sequence,
    /// Up to here nothing is on the disk any more.
    recycled_end: Sequence,
}

impl SourceLane {
    fn first(&self) -> Sequence {
        self.released.max(self.evicted_end)
    }

    pub fn released(&self) -> Sequence {
        self.released
    }

    pub fn end(&self) -> Sequence {
        self.batches.last().map_or(Sequence::ZERO, |batch| batch.range.end)
    }

    fn check_at(&self, end: Sequence) -> Option<Check> {
        let gone = self.recycled_end.max(self.evicted_end);
        let kept = self.batches.iter().filter(|batch| batch.range.end > gone);
        let mut kept = kept.skip_while(|batch| batch.range.end < end && batch.range.first < end);
        let batch = kept.next()?;
        if batch.range.end == end {
            return Some(Check::of(&batch.chain));
        }
        (batch.range.first == end && end > Sequence::ZERO).then(|| Check::of(&batch.previous))
    }
}

/// The log that is being filled.
#[derive(Debug, Default)]
pub struct Receiver {
    pub durable: BTreeMap<Lane, Vec<Offered>>,
    pub gaps: Vec<(Lane, SequenceRange)>,
    lanes: BTreeMap<Lane, ReceiverLane>,
    undurable: Vec<(Lane, Offered)>,
    early: Vec<(Lane, Offered)>,
}

impl Receiver {
    fn lane(&mut self, lane: Lane) -> &mut ReceiverLane {
        self.lanes.entry(lane).or_insert_with(|| ReceiverLane::new(lane))
    }

    fn batch(&mut self, lane: Lane, offered: Offered, down: &mut VecDeque<Control>) -> Verdict {
        let state = self.lane(lane);
        let verdict = state.offer(&offered);
        match verdict {
            Verdict::Accept => {
                state.accepted(&offered);
                self.undurable.push((lane, offered));
                let next = |(early_lane, early): &(Lane, Offered)| {
                    *early_lane == lane && early.range.first == offered.range.end
                };
                if let Some(at) = self.early.iter().position(next) {
                    let (lane, early) = self.early.swap_remove(at);
                    self.batch(lane, early, down);
                }
            }
            Verdict::Duplicate => down.push_back(ack(state.resume())),
            Verdict::Early { missing_from, nack } => {
                if self.early.len() < EARLY_MAX {
                    self.early.push((lane, offered));
                }
                if nack {
                    down.push_back(Control::Nack { lane, from: missing_from });
                }
            }
            Verdict::Conflict => {}
        }
        verdict
    }

    pub fn commit(&mut self, down: &mut VecDeque<Control>) {
        let mut lanes = Vec::new();
        for (lane, offered) in self.undurable.drain(..) {
            self.durable.entry(lane).or_default().push(offered);
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        for lane in lanes {
            let resume = self.lane(lane).durable();
            down.push_back(ack(resume));
        }
    }

    pub fn commit_fails(&mut self) {
        let undurable = std::mem::take(&mut self.undurable);
        for (lane, _) in undurable {
            self.lane(lane).not_durable();
        }
    }

    fn hello(&mut self, hello: &Hello, down: &mut VecDeque<Control>) {
        self.commit(down);
        let mut lanes = heapless_lanes();
        for held in &hello.lanes {
            let state = self.lane(held.lane);
            let gap = state.hello(held);
            lanes.push(state.resume());
            self.gaps.extend(gap.map(|gap| (held.lane, gap)));
        }
        let lanes = lanes.into_iter().collect();
        down.push_back(Control::Welcome(Welcome { session: hello.session, lanes }));
    }

    /// Everything but the log is gone.
    pub fn restart(&mut self) {
        let durable = std::mem::take(&mut self.durable);
        *self = Self { gaps: std::mem::take(&mut self.gaps), ..Self::default() };
        for (lane, batches) in &durable {
            batches.iter().for_each(|offered| self.lane(*lane).recovered(offered));
        }
        self.durable = durable;
    }
}

fn heapless_lanes() -> Vec<Resume> {
    Vec::with_capacity(LANES_MAX)
}

/// Both sides and what is between them.
#[derive(Debug)]
pub struct World {
    pub sender: Sender,
    pub log: BTreeMap<Lane, SourceLane>,
    pub receiver: Receiver,
    pub up: VecDeque<Up>,
    pub down: VecDeque<Control>,
    pub now_ms: u64,
    pub hellos: usize,
    pub batches_sent: usize,
    pub diverged: Vec<Lane>,
    settings: SenderSettings,
    /// Whether the log still names lanes of which everything was let go.
    lists_empty_lanes: bool,
    /// Whether a read takes so long that something comes in before the sender hears of it.
    slow_reads: bool,
    reading: Option<Action>,
    link: bool,
    epochs: [u64; 2],
    chains: u64,
    restarts: u32,
}

impl World {
    pub fn new(settings: SenderSettings, lists_empty_lanes: bool, slow_reads: bool) -> Self {
        Self {
            sender: Sender::new(settings, 7),
            log: BTreeMap::new(),
            receiver: Receiver::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            now_ms: 0,
            hellos: 0,
            batches_sent: 0,
            diverged: Vec::new(),
            settings,
            lists_empty_lanes,
            slow_reads,
            reading: None,
            link: false,
            epochs: [0; 2],
            chains: 0,
            restarts: 0,
        }
    }

    pub fn lane_now(&self, stream: Stream) -> Lane {
        Lane { stream, epoch: Epoch::new(self.epochs[usize::from(stream.number())]) }
    }

    pub fn append(&mut self, stream: Stream, count: u64) {
        let lane = self.lane_now(stream);
        self.chains += 1;
        let mut chain: ChainHash = [0; 32];
        chain[..8].copy_from_slice(&self.chains.to_le_bytes());
        let log = self.log.entry(lane).or_default();
        let first = log.end();
        let previous = log.batches.last().map_or(CHAIN_START, |batch| batch.chain);
        let range = SequenceRange { first, end: first.checked_add(count).unwrap() };
        log.batches.push(Offered { range, previous, chain });
        self.tell_held();
    }

    pub fn new_epoch(&mut self, stream: Stream) {
        self.epochs[usize::from(stream.number())] += 1;
    }

    /// Gives up the oldest batch of the stream that was not let go of.
    pub fn evict(&mut self, stream: Stream) {
        for (lane, log) in &mut self.log {
            let first = log.first();
            if lane.stream == stream
                && let Some(batch) = log.batches.iter().find(|batch| batch.range.first >= first)
            {
                log.evicted_end = batch.range.end;
                break;
            }
        }
        self.tell_held();
    }

    /// What was let go of is overwritten.
    pub fn recycle(&mut self) {
        for log in self.log.values_mut() {
            log.recycled_end = log.released;
            log.released_durably = log.released;
        }
    }

    /// The lane is given up, as `Action::Diverged` asks.
    pub fn drop_lane(&mut self, lane: Lane) {
        self.log.remove(&lane);
        if self.lane_now(lane.stream) == lane {
            self.new_epoch(lane.stream);
        }
        self.tell_held();
    }

    /// The sender's log loses its newest batches.
    pub fn lose_tail(&mut self, lane: Lane, batches: usize) {
        let log = self.log.get_mut(&lane).unwrap();
        log.batches.truncate(log.batches.len() - batches);
        self.tell_held();
    }

    pub fn tell_held(&mut self) {
        let lists_empty = self.lists_empty_lanes;
        let held = self.log.iter().map(|(lane, log)| Held { lane: *lane, first: log.first(), end: log.end() });
        self.sender.held(held.filter(|held| lists_empty || held.first < held.end));
    }

    pub fn link_up(&mut self) {
        if !self.link {
            self.link = true;
            self.sender.link_up();
        }
    }

    pub fn link_down(&mut self) {
        self.link = false;
        self.reading = None;
        self.sender.link_down();
    }

    pub fn sender_restarts(&mut self) {
        for log in self.log.values_mut() {
            log.released = log.released_durably.max(log.recycled_end);
        }
        self.restarts += 1;
        self.sender = Sender::new(self.settings, self.restarts.wrapping_mul(0x9E37_79B9));
        (self.link, self.reading) = (false, None);
        self.tell_held();
    }

    pub fn deliver_up(&mut self, at: usize, again: bool) {
        let Some(message) = (if again { self.up.get(at).cloned() } else { self.up.remove(at) }) else { return };
        match message {
            Up::Hello(hello) => self.receiver.hello(&hello, &mut self.down),
            Up::Batches(batches) => {
                for (lane, offered) in batches {
                    self.receiver.batch(lane, offered, &mut self.down);
                }
            }
        }
    }

    pub fn deliver_down(&mut self, at: usize, again: bool) {
        let message = if again { self.down.get(at).cloned() } else { self.down.remove(at) };
        if let (Some(control), true) = (message, self.link) {
            let decoded = Control::decode(&control.encode()).unwrap();
            assert_eq!(decoded, control);
            self.sender.control(self.now_ms, &control);
        }
    }

    /// Does what the sender wants, until it waits.
    pub fn drive(&mut self) {
        if let Some(Action::Send { lane, from, bytes_max }) = self.reading.take() {
            self.send(lane, from, bytes_max);
        }
        for _ in 0..10_000 {
            match self.sender.next(self.now_ms) {
                Action::Wait { until_ms } => {
                    assert!(until_ms.is_none_or(|until_ms| until_ms > self.now_ms), "it waits for what has been");
                    return;
                }
                Action::Hello(hello) => {
                    self.hellos += 1;
                    self.up.push_back(Up::Hello(Box::new(hello)));
                }
                action @ Action::Send { .. } if self.slow_reads => {
                    self.reading = Some(action);
                    return;
                }
                Action::Send { lane, from, bytes_max } => self.send(lane, from, bytes_max),
                Action::LookUp { lane, end } => {
                    let check = self.log.get(&lane).and_then(|log| log.check_at(end));
                    self.sender.looked_up(self.now_ms, lane, end, check);
                }
                Action::Release { lane, end } => self.release(lane, end),
                Action::Diverged { lane } => self.diverged.push(lane),
                Action::Reconnect => {
                    self.link_down();
                    self.link_up();
                }
            }
        }
        panic!("the sender never waits");
    }

    fn send(&mut self, lane: Lane, from: Sequence, bytes_max: usize) {
        let Some(log) = self.log.get(&lane) else { return };
        if from < log.first() {
            assert!(self.slow_reads, "it asks for what is gone");
            return;
        }
        let from_on = log.batches.iter().skip_while(|batch| batch.range.first < from);
        let batches: Vec<_> = from_on.take((bytes_max / BATCH_BYTES).max(1)).map(|batch| (lane, *batch)).collect();
        assert!(batches.first().is_some_and(|(_, batch)| batch.range.first == from), "no batch begins at {from}");
        for (lane, Offered { range, chain, .. }) in &batches {
            let check = Check::of(chain);
            let sent = SentBatch { lane: *lane, first: range.first, end: range.end, check, bytes: BATCH_BYTES };
            self.sender.sent(self.now_ms, sent);
        }
        self.batches_sent += batches.len();
        self.up.push_back(Up::Batches(batches));
    }

    fn release(&mut self, lane: Lane, end: Sequence) {
        let Some(log) = self.log.get_mut(&lane) else { return };
        let durable = self.receiver.durable.get(&lane).map_or(&[][..], Vec::as_slice);
        let first = log.first();
        for batch in log.batches.iter().filter(|batch| batch.range.end <= end && batch.range.first >= first) {
            assert!(durable.contains(batch), "{lane:?} lets go of {batch:?}, which is not durable at the receiver");
        }
        log.released = log.released.max(end);
        self.tell_held();
    }

    /// The receiver's log has every batch once, in order, as it was made.
    pub fn check_order(&self) {
        for (lane, durable) in &self.receiver.durable {
            for pair in durable.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.first, "{lane:?} has {pair:?}");
            }
        }
        for (lane, gap) in &self.receiver.gaps {
            let evicted_end = self.log.get(lane).map(|log| log.evicted_end);
            assert!(evicted_end.is_none_or(|end| gap.end <= end), "{lane:?} has a gap {gap:?} that nobody evicted");
        }
    }

    /// Nothing is lost or late from now on; gives how long it took until everything was there, in milliseconds.
    pub fn heal(&mut self) -> u64 {
        let started_ms = self.now_ms;
        self.slow_reads = false;
        self.up.clear();
        self.down.clear();
        self.link_up();
        while self.now_ms < started_ms + 600_000 {
            self.drive();
            while !self.up.is_empty() {
                self.deliver_up(0, false);
            }
            self.receiver.commit(&mut self.down);
            while !self.down.is_empty() {
                self.deliver_down(0, false);
            }
            self.drive();
            if self.log.values().all(|log| log.first() == log.end()) && self.up.is_empty() {
                return self.now_ms - started_ms;
            }
            self.now_ms += 50;
        }
        panic!("it stands still: {self:#?}");
    }

    /// Every batch that was not evicted is in the receiver's log.
    pub fn check_complete(&self) {
        self.check_order();
        for (lane, log) in &self.log {
            let durable = self.receiver.durable.get(lane).map_or(&[][..], Vec::as_slice);
            for batch in log.batches.iter().filter(|batch| batch.range.end > log.evicted_end) {
                assert!(durable.contains(batch), "{lane:?} misses {batch:?}");
            }
        }
    }
}

pub fn ack(resume: Resume) -> Control {
    Control::Ack([resume].into_iter().collect())
}
