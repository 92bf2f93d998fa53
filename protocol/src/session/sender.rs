//! The sending half of a session: window, order of lanes, resending, letting go.

use heapless::{Deque, Vec};

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
    /// Look up the check of the batch of the lane that ends there, and call [`Sender::looked_up`].
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
    Greeting { sent_at_ms: Option<u64>, tries: u8 },
    Streaming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    /// Everything before `acked_end` is released.
    Agreed,
    /// The receiver says that it has everything before this end; the log here is being asked.
    Asking(Resume),
    /// Not to be sent.
    Diverged,
}

#[derive(Clone, Copy, Debug)]
struct SenderLane {
    held: Held,
    state: LaneState,
    acked_end: Sequence,
    sent_end: Sequence,
}

/// The sending half of a session.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    phase: Phase,
    session: u32,
    key: [u8; 32],
    lanes: Vec<SenderLane, LANES_MAX>,
    in_flight: Deque<SentBatch, WINDOW_BATCHES_MAX>,
    progress_at_ms: u64,
    timeout_ms: u64,
    turn: u8,
    todo: Deque<Action, { 2 * LANES_MAX }>,
}

impl Sender {
    /// A sender whose link is down. `session` is the number before its first hello's, best a random one; `key` is the
    /// public key that its batches are signed with, zeros for none.
    pub fn new(settings: SenderSettings, session: u32, key: [u8; 32]) -> Self {
        assert!(settings.timeout_ms > 0 && settings.window_bytes > 0 && settings.message_bytes_max > 0);
        Self {
            settings,
            phase: Phase::Down,
            session,
            key,
            lanes: Vec::new(),
            in_flight: Deque::new(),
            progress_at_ms: 0,
            timeout_ms: settings.timeout_ms,
            turn: 0,
            todo: Deque::new(),
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
        self.todo.clear();
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
        let mut lanes = Vec::new();
        let mut greet = false;
        for held in held.into_iter().take(LANES_MAX) {
            let known = self.lanes.iter().find(|known| known.held.lane == held.lane);
            let mut lane = known.copied().unwrap_or_else(|| {
                // The receiver must hear of a lane before its first batch only when that is not the very first one.
                greet |= held.first != Sequence::ZERO;
                SenderLane { held, state: LaneState::Agreed, acked_end: held.first, sent_end: held.first }
            });
            if held.first > lane.sent_end {
                // Evicted under our hands: the receiver must hear that these will not come.
                lane.sent_end = held.first;
                greet = true;
            }
            lane.acked_end = lane.acked_end.max(held.first);
            lane.held = held;
            lanes.push(lane).expect("no more than LANES_MAX were taken");
        }
        self.lanes = lanes;
        let lanes = &self.lanes;
        self.in_flight.retain(|batch| lanes.iter().any(|lane| lane.held.lane == batch.lane));
        if greet && self.phase != Phase::Down {
            self.greet();
        }
    }

    /// A control message came in.
    pub fn control(&mut self, now_ms: u64, control: &Control) {
        match control {
            Control::Welcome(welcome) => self.welcome(now_ms, welcome),
            Control::Ack(resume) if self.phase == Phase::Streaming => self.ack(now_ms, resume),
            Control::Nack { lane, from } if self.phase == Phase::Streaming => self.nack(*lane, *from),
            // A hello is for receivers; the others come too late or too early and cost nothing.
            Control::Ack(_) | Control::Nack { .. } | Control::Hello(_) => {}
        }
    }

    /// The batch went to the transport.
    pub fn sent(&mut self, now_ms: u64, batch: SentBatch) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.held.lane == batch.lane) else { return };
        lane.sent_end = lane.sent_end.max(batch.end);
        if self.in_flight.is_empty() {
            self.progress_at_ms = now_ms;
        }
        if self.in_flight.push_back(batch).is_err() {
            // More batches in one message than the window has places: their acks will be taken as the receiver's word
            // and looked up. It cannot happen while messages are cut by `next`'s limit on free places.
            lane.sent_end = lane.sent_end.min(batch.first);
        }
    }

    /// What the log says to [`Action::LookUp`]: the check of the batch that ends there, or `None` when there is none.
    pub fn looked_up(&mut self, now_ms: u64, lane: Lane, end: Sequence, check: Option<Check>) {
        let Some(lane) = self.lanes.iter_mut().find(|known| known.held.lane == lane) else { return };
        let LaneState::Asking(resume) = lane.state else { return };
        if resume.end != end {
            return;
        }
        if check.is_some() && check == resume.check {
            lane.state = LaneState::Agreed;
            lane.acked_end = end;
            lane.sent_end = end;
            self.progress(now_ms);
            let lane = resume.lane;
            self.push(Action::Release { lane, end });
        } else {
            lane.state = LaneState::Diverged;
            let lane = lane.held.lane;
            self.push(Action::Diverged { lane });
        }
    }

    /// What to do now. To be called until it says [`Action::Wait`].
    pub fn next(&mut self, now_ms: u64) -> Action {
        if let Some(action) = self.todo.pop_front() {
            return action;
        }
        match self.phase {
            Phase::Down => Action::Wait { until_ms: None },
            Phase::Greeting { sent_at_ms: None, tries } => self.say_hello(now_ms, tries),
            Phase::Greeting { sent_at_ms: Some(sent_at_ms), tries } => {
                let until_ms = sent_at_ms + self.timeout_ms;
                if now_ms < until_ms {
                    return Action::Wait { until_ms: Some(until_ms) };
                }
                self.slow_down();
                if tries < HELLO_TRIES_MAX { self.say_hello(now_ms, tries) } else { Action::Reconnect }
            }
            Phase::Streaming => self.stream(now_ms),
        }
    }

    fn stream(&mut self, now_ms: u64) -> Action {
        let until_ms = self.progress_at_ms + self.timeout_ms;
        if !self.in_flight.is_empty() && now_ms >= until_ms {
            self.slow_down();
            self.greet();
            return self.next(now_ms);
        }
        if let Some(send) = self.pick() {
            return send;
        }
        Action::Wait { until_ms: (!self.in_flight.is_empty()).then_some(until_ms) }
    }

    /// The next message: critical first, with a turn for samples now and then.
    fn pick(&mut self) -> Option<Action> {
        let critical = self.ready(Stream::Critical);
        let samples = self.ready(Stream::Samples);
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
        let lane = &self.lanes[chosen];
        let in_flight_bytes = self.in_flight_bytes(lane.held.lane.stream);
        let room = self.settings.window_bytes - in_flight_bytes;
        Some(Action::Send {
            lane: lane.held.lane,
            from: lane.sent_end,
            bytes_max: self.settings.message_bytes_max.min(room),
        })
    }

    /// The oldest lane of the stream that has something to send, if the window lets it.
    fn ready(&self, stream: Stream) -> Option<usize> {
        // Critical keeps a quarter of the places for itself, or samples could fill them all.
        let places = match stream {
            Stream::Critical => WINDOW_BATCHES_MAX - 1,
            Stream::Samples => WINDOW_BATCHES_MAX * 3 / 4,
        };
        if self.in_flight.len() >= places || self.in_flight_bytes(stream) >= self.settings.window_bytes {
            return None;
        }
        self.lanes.iter().position(|lane| {
            lane.held.lane.stream == stream && lane.state == LaneState::Agreed && lane.sent_end < lane.held.end
        })
    }

    fn in_flight_bytes(&self, stream: Stream) -> usize {
        self.in_flight.iter().filter(|batch| batch.lane.stream == stream).map(|batch| batch.bytes).sum()
    }

    fn greet(&mut self) {
        self.in_flight.clear();
        self.phase = Phase::Greeting { sent_at_ms: None, tries: 0 };
    }

    fn say_hello(&mut self, now_ms: u64, tries: u8) -> Action {
        self.session = self.session.wrapping_add(1);
        self.phase = Phase::Greeting { sent_at_ms: Some(now_ms), tries: tries + 1 };
        let lanes = self.lanes.iter().filter(|lane| lane.state != LaneState::Diverged).map(|lane| lane.held);
        Action::Hello(Hello { session: self.session, key: self.key, lanes: lanes.collect() })
    }

    fn welcome(&mut self, now_ms: u64, welcome: &Welcome) {
        let greeting = matches!(self.phase, Phase::Greeting { .. });
        if !greeting || welcome.session != self.session {
            return;
        }
        self.phase = Phase::Streaming;
        self.in_flight.clear();
        self.progress_at_ms = now_ms;
        for at in 0..self.lanes.len() {
            let lane = &mut self.lanes[at];
            if lane.state == LaneState::Diverged {
                continue;
            }
            lane.state = LaneState::Agreed;
            let Some(resume) = welcome.lanes.iter().find(|resume| resume.lane == lane.held.lane).copied() else {
                // Lanes that came up after the hello: they begin where they are.
                lane.sent_end = lane.acked_end;
                continue;
            };
            if resume.end <= lane.held.first {
                lane.sent_end = lane.held.first;
                continue;
            }
            lane.state = LaneState::Asking(resume);
            let (lane, end) = (resume.lane, resume.end);
            self.push(Action::LookUp { lane, end });
        }
    }

    fn ack(&mut self, now_ms: u64, resume: &Resume) {
        let known = self.in_flight.iter().find(|batch| batch.lane == resume.lane && batch.end == resume.end).copied();
        let Some(known) = known else { return };
        let lane = resume.lane;
        if resume.check != Some(known.check) {
            if let Some(diverged) = self.lanes.iter_mut().find(|known| known.held.lane == lane) {
                diverged.state = LaneState::Diverged;
                self.in_flight.retain(|batch| batch.lane != lane);
                self.push(Action::Diverged { lane });
            }
            return;
        }
        self.in_flight.retain(|batch| batch.lane != lane || batch.end > resume.end);
        if let Some(acked) = self.lanes.iter_mut().find(|known| known.held.lane == lane) {
            acked.acked_end = acked.acked_end.max(resume.end);
            let end = acked.acked_end;
            self.progress(now_ms);
            self.push(Action::Release { lane, end });
        }
    }

    fn nack(&mut self, lane: Lane, from: Sequence) {
        let Some(at) = self.lanes.iter().position(|known| known.held.lane == lane) else { return };
        let known = self.lanes[at];
        let on_boundary = from == known.acked_end || self.in_flight.iter().any(|b| b.lane == lane && b.end == from);
        if from < known.acked_end || from > known.sent_end || !on_boundary {
            // It misses what it has acked, or what was never sent: only a hello can settle that.
            self.greet();
            return;
        }
        self.lanes[at].sent_end = from;
        self.in_flight.retain(|batch| batch.lane != lane || batch.end <= from);
    }

    fn progress(&mut self, now_ms: u64) {
        self.progress_at_ms = now_ms;
        self.timeout_ms = self.settings.timeout_ms;
    }

    fn slow_down(&mut self) {
        self.timeout_ms = (self.timeout_ms * 2).min(self.settings.timeout_ms * TIMEOUT_GROWTH_MAX);
    }

    /// A release takes the place of an earlier one of its lane; other actions are at most one a lane and kind.
    fn push(&mut self, action: Action) {
        if let Action::Release { lane, end } = action {
            let earlier = self.todo.iter_mut().find_map(|queued| match queued {
                Action::Release { lane: queued, end } if *queued == lane => Some(end),
                _ => None,
            });
            if let Some(earlier) = earlier {
                *earlier = end;
                return;
            }
        }
        if self.todo.push_back(action).is_err() {
            // Nothing is lost by forgetting what is to be done: the next hello asks again.
            self.todo.clear();
            self.greet();
        }
    }
}
