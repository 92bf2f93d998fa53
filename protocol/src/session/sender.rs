//! The sending half of a session: window, order of lanes, resending, letting go.
//!
//! What must hold:
//! - A lane releases only batches that the receiver has confirmed with the check of the log here. Nothing
//!   that comes in makes the log drop what it holds.
//! - A contradiction in an ack or a nack leads to a hello. One in a welcome leads to a search for the last end of a
//!   batch that both have, and then to a new epoch for what follows it.
//! - A welcome that is behind the acked end shows that the receiver's log was restored: the lane goes back as well.
//!
//! The modules: `lane` (one lane's account), `listen` (what comes in), `search` (where histories part), `stream` (what
//! goes out).

mod lane;
mod listen;
mod search;
mod stream;

use heapless::Vec;

use super::{Check, Held, Hello, Lane};
use crate::ids::{Sequence, Stream};
use crate::limits::{LANES_MAX, WINDOW_BATCHES_MAX};
use lane::{LaneState, Patience, SenderLane};
use search::Question;

/// How often a hello or a question is repeated before something else is done about it.
const TRIES_MAX: u8 = 3;
/// Seconds of the line that one stream has under way, at most (but for a single larger batch): what is on its way
/// cannot be overtaken.
const WINDOW_S: u64 = 3;
/// Bytes that go before a hello and its welcome, and they themselves, about: what a slow line needs its time for.
const GREETING_BYTES: usize = 4096;
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
        Self { window_bytes: 256 * 1024, message_bytes_max: 128 * 1024, timeout_ms: 2000 }
    }
}

/// What a log has of a lane: from `oldest` to `end` nothing is missing, and `first` lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The lane.
    pub lane: Lane,
    /// The oldest sequence that the log can read, released or not.
    pub oldest: Sequence,
    /// The first sequence that is not released.
    pub first: Sequence,
    /// The first sequence that it does not have yet, or cannot give.
    pub end: Sequence,
}

/// A batch that was handed to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBatch {
    /// The lane of the batch.
    pub lane: Lane,
    /// The first sequence of the batch.
    pub first: Sequence,
    /// The first sequence after it.
    pub end: Sequence,
    /// The check of the batch.
    pub check: Check,
    /// Length of the batch, in bytes.
    pub bytes: usize,
}

/// What the sender wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "without alloc there is nowhere to box the hello")]
pub enum Action {
    /// Nothing before this time, or before something comes in.
    Wait {
        /// Milliseconds; `None` is forever.
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
    /// does not know, call [`Sender::boundary_unknown`] instead.
    LookUp {
        /// The lane.
        lane: Lane,
        /// The end of the batch.
        end: Sequence,
    },
    /// The next log has everything of the lane before `end` on its disk: release it.
    Release {
        /// The lane.
        lane: Lane,
        /// The end.
        end: Sequence,
    },
    /// The next log was put back: the lane's events from `to` on are to be sent again. Hold them again, then call
    /// [`Sender::held`].
    Rewind {
        /// The lane.
        lane: Lane,
        /// The first sequence to hold again.
        to: Sequence,
    },
    /// The receiver has, in this lane, something else than the log here. Look up where batches of the lane end, behind
    /// `after` and not behind `until`, with their checks: some that are spread over that range, at least one if there
    /// is one. Call [`Sender::asked`] with them, and send what it returns; where the log does not answer now, call
    /// [`Sender::unread`].
    Ask {
        /// The lane.
        lane: Lane,
        /// An end that both have; not to be named again.
        after: Sequence,
        /// The largest end to be named.
        until: Sequence,
    },
    /// The receiver has everything of the lane before `from`, and something else behind it: seal what follows again, in
    /// a new epoch, and release what is before.
    Reseal {
        /// The lane.
        lane: Lane,
        /// The first sequence that the receiver does not have.
        from: Sequence,
    },
    /// The connection does not work: close it and open a new one.
    Reconnect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    /// Every hello since `session_first` claims at most what is held: a welcome to any of them is valid.
    Greeting {
        sent_at_ms: Option<u64>,
        tries: u8,
    },
    Streaming,
}

/// The sending half of a session. A microcontroller has one of its own, for which its log is memory enough.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    phase: Phase,
    session: u32,
    /// The number of the first hello since the session last began.
    session_first: u32,
    lanes: Vec<SenderLane, LANES_MAX>,
    in_flight: Vec<SentBatch, WINDOW_BATCHES_MAX>,
    /// Of the next hello.
    timeout_ms: u64,
    greeted_at_ms: Option<u64>,
    turn: u8,
    /// When each stream's log is asked again after it could not be read, by the stream's number.
    unread_until_ms: [u64; 2],
    /// A hello goes out before the next batch, without waiting for its welcome: the receiver must hear that what lies
    /// before a lane's `first` will not come, or wants to hear it over its answer.
    announce: bool,
    /// A message came from a different receiver than the one that has welcomed: the session starts again, but not at
    /// once.
    doubts: bool,
    question: Option<Question>,
    /// Bytes a second of the line, where the transport measures them.
    line: Option<u64>,
}

impl Sender {
    /// A sender whose link is down. `session` is the number before its first hello's, best a random one.
    pub fn new(settings: SenderSettings, session: u32) -> Self {
        assert!(settings.timeout_ms > 0 && settings.window_bytes > 0 && settings.message_bytes_max > 0);
        Self {
            settings,
            phase: Phase::Down,
            session,
            session_first: session,
            lanes: Vec::new(),
            in_flight: Vec::new(),
            timeout_ms: settings.timeout_ms,
            greeted_at_ms: None,
            turn: 0,
            unread_until_ms: [0; 2],
            announce: false,
            doubts: false,
            question: None,
            line: None,
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
        (self.question, self.line) = (None, None);
        // What the log is to do stays so; what was to be looked up is asked again by the next welcome.
        for lane in &mut self.lanes {
            lane.is_delivered |= matches!(lane.state, LaneState::Asking { .. });
        }
        self.phase = Phase::Down;
    }

    /// The line takes about so many bytes a second, as the transport has measured.
    pub fn line(&mut self, bytes_per_s: u64) {
        self.line = Some(bytes_per_s.max(1));
    }

    /// How long the line needs for so many bytes there and about as many back, in milliseconds.
    fn line_ms(&self, bytes: usize) -> u64 {
        self.line.map_or(0, |line| (bytes as u64).saturating_mul(2000) / line)
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
    pub fn held(&mut self, held: impl IntoIterator<Item = Holding>) {
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
            self.announce |= lane.hold(held);
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

    /// The log could not give what [`Action::Send`] or [`Action::Ask`] asked for: nothing of the stream is asked for
    /// before this time.
    pub fn unread(&mut self, stream: Stream, until_ms: u64) {
        self.unread_until_ms[usize::from(stream.number())] = until_ms;
    }

    /// Until when the log cannot be read for a stream.
    fn unread_until_ms(&self, stream: Stream) -> u64 {
        self.unread_until_ms[usize::from(stream.number())]
    }

    /// The next action. Call it until it returns [`Action::Wait`].
    pub fn next(&mut self, now_ms: u64) -> Action {
        if let Some(next_action) = self.lanes.iter_mut().find_map(SenderLane::next_action) {
            return next_action;
        }
        match self.phase {
            Phase::Down => Action::Wait { until_ms: None },
            Phase::Greeting { sent_at_ms: None, .. } => self.send_hello(now_ms),
            Phase::Greeting { sent_at_ms: Some(sent_at_ms), tries, .. } => {
                let until_ms = sent_at_ms + self.timeout_ms + self.line_ms(GREETING_BYTES);
                if now_ms < until_ms {
                    return Action::Wait { until_ms: Some(until_ms) };
                }
                self.timeout_ms = slower(self.timeout_ms, &self.settings);
                if tries < TRIES_MAX { self.send_hello(now_ms) } else { Action::Reconnect }
            }
            Phase::Streaming => self.stream(now_ms),
        }
    }

    /// Begins again with a hello. Every lane that waited will wait longer the next time.
    fn greet(&mut self) {
        for lane in &mut self.lanes {
            if self.in_flight.iter().any(|batch| batch.lane == lane.held.lane) {
                lane.patience.timeout_ms = slower(lane.patience.timeout_ms, &self.settings);
            }
        }
        self.in_flight.clear();
        (self.question, self.doubts) = (None, false);
        self.session_first = self.session.wrapping_add(1);
        self.phase = Phase::Greeting { sent_at_ms: None, tries: 0 };
    }

    fn send_hello(&mut self, now_ms: u64) -> Action {
        self.session = self.session.wrapping_add(1);
        self.announce = false;
        self.greeted_at_ms = Some(now_ms);
        if let Phase::Greeting { sent_at_ms, tries, .. } = &mut self.phase {
            (*sent_at_ms, *tries) = (Some(now_ms), *tries + 1);
        }
        let mut hello = Hello { session: self.session, lanes: Vec::new() };
        for lane in &self.lanes {
            let (first, end) = (lane.oldest(), lane.held.end.max(lane.acked_end));
            // As many as a hello has room for: a const assert.
            let _ = hello.lanes.push(Held { lane: lane.held.lane, first, end: end.max(first) });
        }
        Action::Hello(hello)
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
