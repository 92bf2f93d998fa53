//! Two logs, a channel between them that does what it likes, and a ledger of what must hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::batch::{CHAIN_START, ChainHash};
use afferent_protocol::ids::{Epoch, Sequence, SequenceRange, Stream};
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::{
    Action, Check, Control, Hello, Holding, Lane, Offered, Resume, Sender, SenderSettings, SentBatch,
};

use super::receiver::Receiver;

/// Bytes that every batch says it has.
pub const BATCH_BYTES: usize = 100;
/// What goes up.
#[derive(Clone, Debug)]
pub enum Up {
    /// Over this link, with this answer.
    Hello {
        hello: Box<Hello>,
        link: u64,
        answer: u64,
    },
    Ask(Vec<Resume>),
    Batches(Vec<(Lane, Offered)>),
}

/// What goes down: what a signed message says beside the control.
#[derive(Clone, Debug)]
pub struct Down {
    pub control: Control,
    pub link: u64,
    pub term: u64,
    pub answer: u64,
    pub is_proved: bool,
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

    /// The oldest sequence from which on everything can be read.
    fn oldest(&self) -> Sequence {
        self.recycled_end.max(self.evicted_end)
    }

    fn holding(&self, lane: Lane) -> Holding {
        Holding { lane, oldest: self.oldest(), first: self.first(), end: self.end() }
    }

    /// Some ends of batches in this range, spread over it.
    fn ends(&self, after: Sequence, until: Sequence) -> Vec<(Sequence, Check)> {
        let kept = self.batches.iter().filter(|batch| batch.range.first >= self.oldest());
        let ends: Vec<_> = kept.map(|batch| (batch.range.end, Check::of(&batch.chain))).collect();
        let within: Vec<_> = ends.into_iter().filter(|(end, _)| after < *end && *end <= until).collect();
        let step = within.len().div_ceil(LANES_MAX).max(1);
        within.into_iter().step_by(step).collect()
    }

    fn check_at(&self, end: Sequence) -> Option<Check> {
        let gone = self.recycled_end.max(self.evicted_end);
        let kept = self.batches.iter().filter(|batch| batch.range.end > gone);
        let mut kept = kept.skip_while(|batch| batch.range.end < end && batch.range.first < end);
        let batch = kept.next()?;
        if batch.range.end == end {
            return Some(Check::of(&batch.chain));
        }
        // The newest batch's chain hash is known although its bytes are gone.
        (batch.range.first == end && end > Sequence::ZERO).then(|| Check::of(&batch.previous))
    }
}

/// Both sides and what is between them.
#[derive(Debug)]
pub struct World {
    pub sender: Sender,
    pub log: BTreeMap<Lane, SourceLane>,
    pub receiver: Receiver,
    pub up: VecDeque<Up>,
    pub down: VecDeque<Down>,
    pub now_ms: u64,
    pub hellos: usize,
    pub questions: usize,
    pub batches_sent: usize,
    /// The lanes that were sealed again, and from where on.
    pub resealed: Vec<(Lane, Sequence)>,
    pub rewound: Vec<(Lane, Sequence)>,
    /// Which events a batch has, by its chain hash: those that were sealed again have the same.
    contents: BTreeMap<ChainHash, u64>,
    /// Events that were given up, or overwritten after they had arrived.
    excused: BTreeSet<u64>,
    /// The receiver's log was put back, or has something else.
    is_disturbed: bool,
    /// What the core remembers of the connection.
    link_number: u64,
    answer: u64,
    term: u64,
    settings: SenderSettings,
    /// Whether the log still names lanes of which everything was let go.
    lists_empty_lanes: bool,
    /// Whether a read takes so long that something comes in before the sender hears of it.
    slow_reads: bool,
    reading: Option<Action>,
    link: bool,
    epochs: [u64; 2],
    epochs_made: u64,
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
            questions: 0,
            batches_sent: 0,
            resealed: Vec::new(),
            rewound: Vec::new(),
            contents: BTreeMap::new(),
            excused: BTreeSet::new(),
            is_disturbed: false,
            link_number: 0,
            answer: 0,
            term: 0,
            settings,
            lists_empty_lanes,
            slow_reads,
            reading: None,
            link: false,
            epochs: [0; 2],
            epochs_made: 0,
            chains: 0,
            restarts: 0,
        }
    }

    pub fn lane_now(&self, stream: Stream) -> Lane {
        Lane { stream, epoch: Epoch::new(self.epochs[usize::from(stream.number())]) }
    }

    pub fn append(&mut self, stream: Stream, count: u64) {
        let lane = self.lane_now(stream);
        let chain = self.new_chain();
        self.contents.insert(chain, self.chains);
        self.push(lane, count, chain);
        self.report_held();
    }

    fn new_chain(&mut self) -> ChainHash {
        self.chains += 1;
        let mut chain: ChainHash = [0; 32];
        chain[..8].copy_from_slice(&self.chains.to_le_bytes());
        chain
    }

    fn push(&mut self, lane: Lane, count: u64, chain: ChainHash) {
        let log = self.log.entry(lane).or_default();
        let first = log.end();
        let previous = log.batches.last().map_or(CHAIN_START, |batch| batch.chain);
        let range = SequenceRange { first, end: first.checked_add(count).unwrap() };
        log.batches.push(Offered { range, previous, chain });
    }

    pub fn new_epoch(&mut self, stream: Stream) {
        self.epochs_made += 1;
        self.epochs[usize::from(stream.number())] = self.epochs_made;
    }

    /// Gives up the oldest batch of the stream that was not released.
    pub fn evict(&mut self, stream: Stream) {
        for (lane, log) in &mut self.log {
            let first = log.first();
            if lane.stream == stream
                && let Some(batch) = log.batches.iter().find(|batch| batch.range.first >= first)
            {
                log.evicted_end = batch.range.end;
                self.excused.extend(self.contents.get(&batch.chain));
                break;
            }
        }
        self.recycle_excuses();
        self.report_held();
    }

    /// What was released is overwritten.
    pub fn recycle(&mut self) {
        for log in self.log.values_mut() {
            log.recycled_end = log.recycled_end.max(log.released);
            log.released_durably = log.released;
        }
        self.recycle_excuses();
        self.report_held();
    }

    /// What lies behind `from` continues in a new epoch; what is before it is released.
    fn reseal(&mut self, lane: Lane, from: Sequence) {
        self.resealed.push((lane, from));
        let Some(log) = self.log.remove(&lane) else { return };
        if self.lane_now(lane.stream) == lane {
            self.new_epoch(lane.stream);
        }
        let from = from.max(log.oldest());
        self.epochs_made += 1;
        let copy = Lane { stream: lane.stream, epoch: Epoch::new(self.epochs_made) };
        let first = self.new_chain();
        self.push(copy, 1, first);
        for batch in log.batches.iter().filter(|batch| batch.range.first >= from) {
            let chain = self.new_chain();
            self.contents.insert(chain, self.contents[&batch.chain]);
            self.push(copy, batch.range.count(), chain);
        }
        self.report_held();
    }

    /// The receiver's log is put back.
    pub fn roll_back(&mut self, keep: usize) {
        self.is_disturbed = true;
        self.recycle_excuses();
        self.receiver.roll_back(keep);
    }

    /// What is overwritten, or before a hole, cannot come again.
    fn recycle_excuses(&mut self) {
        if !self.is_disturbed {
            return;
        }
        for log in self.log.values() {
            let gone = log.batches.iter().filter(|batch| batch.range.first < log.oldest());
            self.excused.extend(gone.filter_map(|batch| self.contents.get(&batch.chain)));
        }
    }

    /// Another sender has written to the lane.
    pub fn write_elsewhere(&mut self, stream: Stream, count: u64) {
        self.is_disturbed = true;
        let (lane, chain) = (self.lane_now(stream), self.new_chain());
        self.receiver.take_from_another(lane, chain, count, &mut self.down);
    }

    /// The sender's log loses its newest batches.
    pub fn lose_tail(&mut self, lane: Lane, batches: usize) {
        let log = self.log.get_mut(&lane).unwrap();
        let lost = log.batches.split_off(log.batches.len() - batches);
        (log.released, log.recycled_end) = (log.released.min(log.end()), log.recycled_end.min(log.end()));
        self.contents.retain(|chain, _| lost.iter().all(|batch| batch.chain != *chain));
        self.is_disturbed = true;
        self.report_held();
    }

    pub fn report_held(&mut self) {
        let lists_empty = self.lists_empty_lanes;
        let held = self.log.iter().map(|(lane, log)| log.holding(*lane));
        self.sender.held(held.filter(|held| lists_empty || held.first < held.end));
    }

    pub fn link_up(&mut self) {
        if !self.link {
            self.link = true;
            (self.link_number, self.answer) = (self.link_number + 1, 0);
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
        self.report_held();
    }

    pub fn deliver_up(&mut self, at: usize, again: bool) {
        let Some(message) = (if again { self.up.get(at).cloned() } else { self.up.remove(at) }) else { return };
        match message {
            Up::Hello { hello, link, answer } => self.receiver.hello(&hello, link, answer, &mut self.down),
            Up::Ask(asked) => self.receiver.asked(&asked, &mut self.down),
            Up::Batches(batches) => {
                for (lane, offered) in batches {
                    self.receiver.batch(lane, offered, &mut self.down);
                }
            }
        }
    }

    pub fn deliver_down(&mut self, at: usize, again: bool) {
        let message = if again { self.down.get(at).cloned() } else { self.down.remove(at) };
        if let (Some(down), true) = (message, self.link) {
            let decoded = Control::decode(&down.control.encode()).unwrap();
            assert_eq!(decoded, down.control);
            self.hear(&down);
        }
    }

    /// As the core of an agent does.
    fn hear(&mut self, down: &Down) {
        if down.link != self.link_number {
            return;
        }
        match &down.control {
            Control::Welcome(welcome) if !self.sender.is_answered_by(welcome) => {}
            Control::Welcome(_) => {
                let is_new = std::mem::replace(&mut self.answer, down.answer) != down.answer;
                if !self.sender.is_streaming() {
                    self.term = down.term;
                } else if self.term != down.term {
                    self.sender.doubt();
                }
                self.sender.control(self.now_ms, &down.control);
                if !down.is_proved && is_new {
                    self.sender.request_hello();
                }
            }
            control if down.term == self.term => self.sender.control(self.now_ms, control),
            _ => self.sender.doubt(),
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
                    let (hello, link, answer) = (Box::new(hello), self.link_number, self.answer);
                    self.up.push_back(Up::Hello { hello, link, answer });
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
                Action::Rewind { lane, to } => self.rewind(lane, to),
                Action::Ask { lane, after, until } => self.ask(lane, after, until),
                Action::Reseal { lane, from } => self.reseal(lane, from),
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

    fn rewind(&mut self, lane: Lane, to: Sequence) {
        self.rewound.push((lane, to));
        let Some(log) = self.log.get_mut(&lane) else { return };
        if to >= log.oldest() {
            (log.released, log.released_durably) = (to, log.released_durably.min(to));
        }
        self.report_held();
    }

    fn ask(&mut self, lane: Lane, after: Sequence, until: Sequence) {
        let ends = self.log.get(&lane).map(|log| log.ends(after, until)).unwrap_or_default();
        if let Some(Control::Ask(asked)) = self.sender.asked(self.now_ms, lane, &ends) {
            self.questions += 1;
            self.up.push_back(Up::Ask(asked.into_iter().collect()));
        }
    }

    fn release(&mut self, lane: Lane, end: Sequence) {
        let Some(log) = self.log.get_mut(&lane) else { return };
        let first = log.first();
        for batch in log.batches.iter().filter(|batch| batch.range.end <= end && batch.range.first >= first) {
            let was_durable = self.receiver.ever.contains(&(lane, batch.chain));
            assert!(was_durable, "{lane:?} lets go of {batch:?}, which is not durable at the receiver");
        }
        log.released = log.released.max(end);
        self.report_held();
    }

    /// The receiver's log has every batch once, in order, as it was made.
    pub fn check_order(&self) {
        for (lane, durable) in &self.receiver.durable {
            for pair in durable.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.first, "{lane:?} has {pair:?}");
            }
        }
        for (lane, gap) in &self.receiver.gaps {
            let gone = self.log.get(lane).map(SourceLane::oldest);
            assert!(gone.is_none_or(|end| gap.end <= end), "{lane:?} has a gap {gap:?} that nobody evicted");
        }
    }

    /// Nothing is lost or late from now on; returns how long it took until everything was there, in milliseconds.
    pub fn heal(&mut self) -> u64 {
        let started_ms = self.now_ms;
        self.slow_reads = false;
        self.up.clear();
        self.down.clear();
        if self.is_disturbed {
            self.link_down();
        }
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
            let is_done = self.log.values().all(|log| log.first() == log.end()) && self.up.is_empty();
            if is_done && (self.sender.is_streaming() || self.log.is_empty()) {
                return self.now_ms - started_ms;
            }
            self.now_ms += 50;
        }
        panic!("it stands still: {self:#?}");
    }

    /// All events that were not given up are in the receiver's log, and none of them twice.
    pub fn check_complete(&self) {
        self.check_order();
        let mut arrived: BTreeMap<u64, usize> = BTreeMap::new();
        for batch in self.receiver.durable.values().flatten() {
            if let Some(content) = self.contents.get(&batch.chain) {
                *arrived.entry(*content).or_default() += 1;
            }
        }
        for content in self.contents.values().collect::<BTreeSet<_>>() {
            let times = arrived.get(content).copied().unwrap_or(0);
            assert!(times <= 1, "{content} is there {times} times: {self:#?}");
            assert!(times == 1 || self.excused.contains(content), "{content} is missing: {self:#?}");
        }
    }
}

pub fn ack(resume: Resume) -> Control {
    Control::Ack([resume].into_iter().collect())
}
