//! The sending half of a session: window, order of lanes, resending, letting go.

use heapless::Vec;

use super::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use crate::ids::{Sequence, Stream};
use crate::limits::{LANES_MAX, WINDOW_BATCHES_MAX};

/// One turn in so many goes to samples while both streams have something to send, so that they never starve.
const SAMPLES_TURN: u8 = 8;
/// How often a hello is repeated before the connection itself is given up.
const HELLO_TRIES_MAX: u8 = 3;
/// How many times the first timeout the longest one is.
const TIMEOUT_GROWTH_MAX: u64 = 16;

/// How a sender goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderSettings {
    /// Bytes of one stream that are sent and not yet acked, at most (but for a single larger batch).
    pub window_bytes: usize,
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// After so many milliseconds without progress it begins again with a hello; doubles up to 16 times of it.
    pub timeout_ms: u64,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self { window_bytes: 512 * 1024, message_bytes_max: 128 * 1024, timeout_ms: 2000 }
    }
}

/// A batch that was handed to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBatch {
    /// Its lane.
    pub lane: Lane,
    /// Its first sequence.
    pub first: Sequence,
    /// The first sequence after it.
    pub end: Sequence,
    /// Its check.
    pub check: Check,
    /// Its length.
    pub bytes: usize,
}

/// What the sender wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "without alloc there is nowhere to box the hello")]
pub enum Action {
    /// Nothing before this time, or before something comes in.
    Wait {
        /// Milliseconds; `None` is for ever.
        until_ms: Option<u64>,
    },
    /// Send this message.
    Hello(Hello),
    /// Read whole batches of the lane from this sequence on, as many as `bytes_max` holds and at least one; send them
    /// as one message; then call [`Sender::sent`] for each.
    Send {
        /// The lane.
        lane: Lane,
        /// The first sequence to send.
        from: Sequence,
        /// Bytes of the message, at most.
        bytes_max: usize,
    },
    /// Look up the check of the batch of the lane that ends there, and call [`Sender::looked_up`]. Where that batch is
    /// gone and one begins there, what this one names as the previous one serves as well. Where the log is damaged and
    /// cannot tell, call [`Sender::cannot_tell`] instead.
    LookUp {
        /// The lane.
        lane: Lane,
        /// The end of the batch.
        end: Sequence,
    },
    /// The next log has everything of the lane before `end` on its disk: let go of it.
    Release {
        /// The lane.
        lane: Lane,
        /// The end.
        end: Sequence,
    },
    /// The receiver has, in this lane, something else than the log here: the lane cannot go on. Declare what it holds
    /// as lost and begin a new epoch.
    Diverged {
        /// The lane.
        lane: Lane,
    },
    /// The connection is of no use: close it and make another.
    Reconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    /// Every hello since `session_first` says the same or less than is true: a welcome to any of them will do.
    Greeting {
        sent_at_ms: Option<u64>,
        session_first: u32,
        tries: u8,
    },
    Streaming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    /// It may be sent.
    Agreed,
    /// The receiver says that it has everything before this end; the log here is being asked.
    Asking(Resume),
    /// Not to be sent until a welcome says otherwise, or the log has dropped it.
    Diverged,
}

#[derive(Clone, Copy, Debug)]
struct SenderLane {
    held: Held,
    state: LaneState,
    /// Whether the log has heard of the state, where it has to.
    is_told: bool,
    acked_end: Sequence,
    /// The log was told to let go of everything before.
    released_end: Sequence,
    sent_end: Sequence,
    patience: Patience,
}

impl SenderLane {
    fn new(held: Held, patience: Patience) -> Self {
        let first = held.first;
        let state = LaneState::Agreed;
        Self { held, state, is_told: true, acked_end: first, released_end: first, sent_end: first, patience }
    }

    /// The lane rests until the log has answered, or has dropped it.
    fn rest(&mut self, state: LaneState) {
        (self.state, self.is_told) = (state, false);
    }

    /// What the log is still to be told of this lane.
    fn untold(&mut self) -> Option<Action> {
        let lane = self.held.lane;
        if self.released_end < self.acked_end {
            self.released_end = self.acked_end;
            return Some(Action::Release { lane, end: self.acked_end });
        }
        match self.state {
            _ if core::mem::replace(&mut self.is_told, true) => None,
            LaneState::Asking(resume) => Some(Action::LookUp { lane, end: resume.end }),
            LaneState::Diverged => Some(Action::Diverged { lane }),
            LaneState::Agreed => None,
        }
    }
}

/// How long a lane has waited, and what was done about it. Every lane has its own: one that gets on must not hide that
/// another does not.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// When it last got on, or began to wait.
    since_ms: u64,
    timeout_ms: u64,
    /// A nack was answered by going back, or by a hello, since the lane last got on: the next one must not be answered
    /// in the same way, or two sides that misunderstand each other would do so for ever at the speed of the line.
    went_back: bool,
    greeted: bool,
}

impl Patience {
    const fn new(settings: &SenderSettings, now_ms: u64) -> Self {
        Self { since_ms: now_ms, timeout_ms: settings.timeout_ms, went_back: false, greeted: false }
    }
}

/// The sending half of a session. A microcontroller has one of its own, for which its log is memory enough.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    phase: Phase,
    session: u32,
    lanes: Vec<SenderLane, LANES_MAX>,
    in_flight: Vec<SentBatch, WINDOW_BATCHES_MAX>,
    /// Of the next hello.
    timeout_ms: u64,
    turn: u8,
    /// When each stream's log is asked again after it could not be read, by the stream's number.
    unread_until_ms: [u64; 2],
    /// A hello goes out before the next batch, without waiting for its welcome: the receiver must hear that what lies
    /// before a lane's `first` will not come.
    announce: bool,
}

impl Sender {
    /// A sender whose link is down. `session` is the number before its first hello's, best a random one.
    pub fn new(settings: SenderSettings, session: u32) -> Self {
        assert!(settings.timeout_ms > 0 && settings.window_bytes > 0 && settings.message_bytes_max > 0);
        Self {
            settings,
            phase: Phase::Down,
            session,
            lanes: Vec::new(),
            in_flight: Vec::new(),
            timeout_ms: settings.timeout_ms,
            turn: 0,
            unread_until_ms: [0; 2],
            announce: false,
        }
    }

    /// The transport is connected: begin with a hello.
    pub fn link_up(&mut self) {
        self.timeout_ms = self.settings.timeout_ms;
        self.greet();
    }

    /// The transport is gone.
    pub fn link_down(&mut self) {
        self.in_flight.clear();
        // What is to be released or given up stays so; what was to be looked up is asked again by the next welcome.
        for lane in &mut self.lanes {
            lane.is_told |= matches!(lane.state, LaneState::Asking(_));
        }
        self.phase = Phase::Down;
    }

    /// Whether a receiver has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.phase == Phase::Streaming
    }

    /// The first sequence of the lane that no receiver has acked.
    pub fn acked_end(&self, lane: Lane) -> Option<Sequence> {
        self.lanes.iter().find(|known| known.held.lane == lane).map(|known| known.acked_end)
    }

    /// Batches sent and not yet acked.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What the log holds now: critical lanes first, in each stream the oldest epoch first. Lanes past
    /// [`LANES_MAX`] wait until earlier ones are gone.
    pub fn held(&mut self, held: impl IntoIterator<Item = Held>) {
        let mut before = [None; LANES_MAX];
        before.iter_mut().zip(&self.lanes).for_each(|(place, lane)| *place = Some(*lane));
        self.lanes.clear();
        for held in held.into_iter().take(LANES_MAX) {
            let known = before.iter().flatten().find(|known| known.held.lane == held.lane);
            let mut lane = known.copied().unwrap_or_else(|| {
                // The receiver must hear of a lane before its first batch only when that is not the very first one.
                self.announce |= held.first != Sequence::ZERO;
                SenderLane::new(held, Patience::new(&self.settings, 0))
            });
            if held.first > lane.sent_end {
                // Evicted under our hands: the receiver must hear that these will not come.
                lane.sent_end = held.first;
                self.announce = true;
            }
            if held.first > lane.acked_end {
                // What is gone is not waited for: its ack would be none, and it would hold its place in the window.
                (lane.acked_end, lane.released_end) = (held.first, held.first);
            }
            lane.held = held;
            // No more than there is room for were taken.
            let _ = self.lanes.push(lane);
        }
        let lanes = &self.lanes;
        let waited_for = |batch: &SentBatch| {
            let lane = lanes.iter().find(|known: &&SenderLane| known.held.lane == batch.lane);
            lane.is_some_and(|lane| batch.end > lane.held.first)
        };
        keep(&mut self.in_flight, &waited_for);
    }

    /// A control message came in.
    pub fn control(&mut self, now_ms: u64, control: &Control) {
        match control {
            Control::Welcome(welcome) => self.welcome(now_ms, welcome),
            Control::Ack(lanes) if self.phase == Phase::Streaming => {
                lanes.iter().for_each(|resume| self.ack(now_ms, *resume));
            }
            Control::Nack { lane, from } if self.phase == Phase::Streaming => self.nack(*lane, *from),
            // A hello is for receivers; the others come too late or too early and cost nothing.
            _ => {}
        }
    }

    /// The batch went to the transport. One that does not continue what was sent before is not counted: its message was
    /// overtaken by a nack, a welcome or a new connection, and will be sent again.
    pub fn sent(&mut self, now_ms: u64, batch: SentBatch) {
        let Some(lane) = lane_mut(&mut self.lanes, batch.lane) else { return };
        if self.phase != Phase::Streaming || batch.first != lane.sent_end || lane.state != LaneState::Agreed {
            return;
        }
        if !lane.patience.went_back && !self.in_flight.iter().any(|known| known.lane == batch.lane) {
            lane.patience.since_ms = now_ms;
        }
        if self.in_flight.push(batch).is_err() {
            // More batches in one message than the window has places: the last ones share one, and only the ack of the
            // last of them is known without asking the log.
            let last = self.in_flight.iter_mut().rfind(|known| known.lane == batch.lane && known.end == batch.first);
            let Some(last) = last else { return };
            (last.end, last.check, last.bytes) = (batch.end, batch.check, last.bytes + batch.bytes);
        }
        lane.sent_end = batch.end;
    }

    /// What the log says to [`Action::LookUp`]: the check of the batch that ends there, or `None` when there is none.
    pub fn looked_up(&mut self, now_ms: u64, lane: Lane, end: Sequence, check: Option<Check>) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let LaneState::Asking(resume) = known.state else { return };
        if resume.end != end {
            return;
        }
        let contradicts = match (check, resume.check) {
            (Some(ours), Some(theirs)) => ours != theirs,
            // A batch that was let go of long ago is no contradiction. One that never was here is.
            (None, _) => end > known.acked_end,
            // After a hole the receiver does not know what came before, and has nothing to hold against it.
            (Some(_), None) => false,
        };
        if contradicts {
            known.rest(LaneState::Diverged);
            keep(&mut self.in_flight, &|batch| batch.lane != lane);
            return;
        }
        known.state = LaneState::Agreed;
        known.sent_end = known.sent_end.max(end);
        // Behind a hole the receiver has no check, and what it has before the hole it will never take again: were it
        // not let go of, the lane would wait for ever.
        if check.is_some() {
            self.acked(now_ms, lane, end);
        }
    }

    /// The log cannot tell what ended there, for what it held there is damaged: the receiver's word is taken. It has
    /// nothing to gain from a lie, what it has was signed here, and what follows must continue its chain.
    pub fn cannot_tell(&mut self, now_ms: u64, lane: Lane, end: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        if matches!(known.state, LaneState::Asking(resume) if resume.end == end) {
            known.state = LaneState::Agreed;
            self.acked(now_ms, lane, end);
        }
    }

    /// The log could not give what [`Action::Send`] asked for: nothing of the stream is asked for before this time.
    pub fn unread(&mut self, stream: Stream, until_ms: u64) {
        self.unread_until_ms[usize::from(stream.number())] = until_ms;
    }

    /// What to do now. To be called until it says [`Action::Wait`].
    pub fn next(&mut self, now_ms: u64) -> Action {
        if let Some(untold) = self.lanes.iter_mut().find_map(SenderLane::untold) {
            return untold;
        }
        match self.phase {
            Phase::Down => Action::Wait { until_ms: None },
            Phase::Greeting { sent_at_ms: None, .. } => self.say_hello(now_ms),
            Phase::Greeting { sent_at_ms: Some(sent_at_ms), tries, .. } => {
                let until_ms = sent_at_ms + self.timeout_ms;
                if now_ms < until_ms {
                    return Action::Wait { until_ms: Some(until_ms) };
                }
                self.timeout_ms = slower(self.timeout_ms, &self.settings);
                if tries < HELLO_TRIES_MAX { self.say_hello(now_ms) } else { Action::Reconnect }
            }
            Phase::Streaming => self.stream(now_ms),
        }
    }

    fn stream(&mut self, now_ms: u64) -> Action {
        let until_ms = self.patience_ends_at();
        if until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.greet();
            return self.say_hello(now_ms);
        }
        if self.announce {
            return self.say_hello(now_ms);
        }
        self.pick(now_ms).unwrap_or_else(|| Action::Wait { until_ms: self.asks_again_at(now_ms, until_ms) })
    }

    /// The earlier of `until_ms` and the time when a log that could not be read is asked again.
    fn asks_again_at(&self, now_ms: u64, until_ms: Option<u64>) -> Option<u64> {
        let unread = |stream: &Stream| self.ready(*stream).is_some();
        let again = Stream::ALL.into_iter().filter(unread);
        let again = again.map(|stream| self.unread_until_ms[usize::from(stream.number())]);
        again.filter(|again_ms| *again_ms > now_ms).chain(until_ms).min()
    }

    /// When the first of the lanes that wait for an ack has waited long enough.
    fn patience_ends_at(&self) -> Option<u64> {
        let waits = |lane: &&SenderLane| self.in_flight.iter().any(|batch| batch.lane == lane.held.lane);
        self.lanes.iter().filter(waits).map(|lane| lane.patience.since_ms + lane.patience.timeout_ms).min()
    }

    /// The next message: critical first, with a turn for samples now and then.
    fn pick(&mut self, now_ms: u64) -> Option<Action> {
        let readable = |stream: Stream| self.unread_until_ms[usize::from(stream.number())] <= now_ms;
        let [critical, samples] = Stream::ALL.map(|stream| self.ready(stream).filter(|_| readable(stream)));
        let chosen = match (critical, samples) {
            (Some(_), Some(samples)) if self.turn + 1 >= SAMPLES_TURN => {
                self.turn = 0;
                samples
            }
            (Some(critical), other) => {
                self.turn = if other.is_some() { self.turn + 1 } else { 0 };
                critical
            }
            (None, Some(samples)) => samples,
            (None, None) => return None,
        };
        let (lane, from) = chosen;
        // A stream without room is not ready.
        let room = self.settings.window_bytes.saturating_sub(self.in_flight_bytes(lane.stream));
        Some(Action::Send { lane, from, bytes_max: self.settings.message_bytes_max.min(room) })
    }

    /// The oldest lane of the stream that has something to send, and from where on, if the window lets it.
    fn ready(&self, stream: Stream) -> Option<(Lane, Sequence)> {
        // Critical keeps a quarter of the places for itself, or samples could fill them all.
        let places = match stream {
            Stream::Critical => WINDOW_BATCHES_MAX - 1,
            Stream::Samples => WINDOW_BATCHES_MAX * 3 / 4,
        };
        if self.in_flight.len() >= places || self.in_flight_bytes(stream) >= self.settings.window_bytes {
            return None;
        }
        let next = self.lanes.iter().find(|lane| {
            lane.held.lane.stream == stream && lane.state == LaneState::Agreed && lane.sent_end < lane.held.end
        });
        next.map(|lane| (lane.held.lane, lane.sent_end))
    }

    fn in_flight_bytes(&self, stream: Stream) -> usize {
        self.in_flight.iter().filter(|batch| batch.lane.stream == stream).map(|batch| batch.bytes).sum()
    }

    /// Begins again with a hello. Every lane that waited will wait longer the next time.
    fn greet(&mut self) {
        for lane in &mut self.lanes {
            if self.in_flight.iter().any(|batch| batch.lane == lane.held.lane) {
                lane.patience.timeout_ms = slower(lane.patience.timeout_ms, &self.settings);
            }
        }
        self.in_flight.clear();
        let session_first = self.session.wrapping_add(1);
        self.phase = Phase::Greeting { sent_at_ms: None, session_first, tries: 0 };
    }

    fn say_hello(&mut self, now_ms: u64) -> Action {
        self.session = self.session.wrapping_add(1);
        self.announce = false;
        if let Phase::Greeting { sent_at_ms, tries, .. } = &mut self.phase {
            (*sent_at_ms, *tries) = (Some(now_ms), *tries + 1);
        }
        // What was acked may be gone, or go at any time: it is not offered again.
        let mut hello = Hello { session: self.session, lanes: Vec::new() };
        for lane in &self.lanes {
            let (first, end) = (lane.acked_end, lane.held.end.max(lane.acked_end));
            // As many as a hello has room for: a const assert.
            let _ = hello.lanes.push(Held { first, end, ..lane.held });
        }
        Action::Hello(hello)
    }

    fn welcome(&mut self, now_ms: u64, welcome: &Welcome) {
        let Phase::Greeting { session_first, sent_at_ms: Some(_), .. } = self.phase else { return };
        let asked = self.session.wrapping_sub(session_first);
        if welcome.session.wrapping_sub(session_first) > asked {
            return;
        }
        self.phase = Phase::Streaming;
        self.in_flight.clear();
        self.timeout_ms = self.settings.timeout_ms;
        for lane in &mut self.lanes {
            lane.state = LaneState::Agreed;
            lane.sent_end = lane.acked_end;
            (lane.patience.since_ms, lane.patience.went_back) = (now_ms, false);
            // Lanes that came up after the hello are not in the welcome: they begin where they are.
            let Some(resume) = welcome.lanes.iter().find(|resume| resume.lane == lane.held.lane).copied() else {
                continue;
            };
            if resume.end < lane.acked_end {
                // Evicted since the hello was made.
                self.announce = true;
            } else if resume.end > lane.acked_end || resume.check.is_some() {
                lane.rest(LaneState::Asking(resume));
            }
        }
    }

    fn ack(&mut self, now_ms: u64, resume: Resume) {
        let lane = resume.lane;
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        if resume.end <= known.acked_end || resume.check.is_none() || known.state != LaneState::Agreed {
            return;
        }
        match self.in_flight.iter().find(|batch| batch.lane == lane && batch.end == resume.end) {
            Some(batch) if Some(batch.check) == resume.check => self.acked(now_ms, lane, resume.end),
            Some(_) => {
                known.rest(LaneState::Diverged);
                keep(&mut self.in_flight, &|batch| batch.lane != lane);
            }
            // It has more than was sent now: from an earlier connection, or from another writer.
            None => known.rest(LaneState::Asking(resume)),
        }
    }

    /// The receiver has what the log here has, up to this end.
    fn acked(&mut self, now_ms: u64, lane: Lane, end: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        keep(&mut self.in_flight, &|batch| batch.lane != lane || batch.end > end);
        known.sent_end = known.sent_end.max(end);
        if end > known.acked_end {
            known.acked_end = end;
            known.patience = Patience::new(&self.settings, now_ms);
        }
    }

    /// The receiver misses what begins at `from`. It is sent again if that is known to be a batch's beginning; otherwise
    /// only a hello can settle it. Both are done once, then it takes progress or a timeout to do them again.
    fn nack(&mut self, lane: Lane, from: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let on_boundary = from == known.acked_end || self.in_flight.iter().any(|b| b.lane == lane && b.end == from);
        // What was evicted since it was sent cannot be sent again: a hello tells the receiver so.
        let is_held = from >= known.held.first;
        if known.state == LaneState::Agreed && on_boundary && is_held && !known.patience.went_back {
            known.patience.went_back = true;
            known.sent_end = from;
            keep(&mut self.in_flight, &|batch| batch.lane != lane || batch.end <= from);
        } else if !known.patience.greeted {
            known.patience.greeted = true;
            self.greet();
        }
    }
}

fn keep(in_flight: &mut Vec<SentBatch, WINDOW_BATCHES_MAX>, is_kept: &dyn Fn(&SentBatch) -> bool) {
    in_flight.retain(is_kept);
}

fn lane_mut(lanes: &mut [SenderLane], lane: Lane) -> Option<&mut SenderLane> {
    lanes.iter_mut().find(|known| known.held.lane == lane)
}

fn slower(timeout_ms: u64, settings: &SenderSettings) -> u64 {
    (timeout_ms * 2).min(settings.timeout_ms * TIMEOUT_GROWTH_MAX)
}
