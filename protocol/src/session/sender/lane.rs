//! What a sender knows of one lane.

use super::{Action, Holding, SenderSettings};
use crate::ids::Sequence;
use crate::session::Resume;

/// What sender and receiver have agreed on about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// It may be sent.
    Agreed,
    /// The receiver claims to have everything before this end; the log here is being queried.
    Asking {
        resume: Resume,
        /// Whether a welcome claims it, not an ack.
        by_welcome: bool,
    },
    /// Not to be sent: the last end that both have is searched.
    Diverging(Search),
    /// Not to be sent any more: from here on it goes into a new epoch.
    Parted(Sequence),
}

/// How far the search for the last common end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// The end that the receiver claims to have.
    pub resume: Resume,
    /// The largest end that is known to be common, or where what can be sent begins.
    pub common: Sequence,
    /// The largest end that may be common: the receiver's, until an answer lowers it.
    pub until: Sequence,
    /// Whether the log here is damaged where the receiver's lane ends.
    pub is_damaged: bool,
}

impl Search {
    pub fn new(oldest: Sequence, resume: Resume, is_damaged: bool) -> Self {
        Self { resume, common: oldest, until: resume.end, is_damaged }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SenderLane {
    pub held: Holding,
    pub state: LaneState,
    /// Whether the log has heard of the state, where it has to.
    pub is_delivered: bool,
    pub acked_end: Sequence,
    /// The log was asked to release everything before this end.
    released_end: Sequence,
    pub sent_end: Sequence,
    /// The end of the last hole that the lane has passed: what is before it cannot be sent in one piece.
    floor: Sequence,
    rewind_to: Option<Sequence>,
    pub patience: Patience,
}

impl SenderLane {
    pub fn new(held: Holding, patience: Patience) -> Self {
        let first = held.first;
        Self {
            held,
            state: LaneState::Agreed,
            is_delivered: true,
            acked_end: first,
            released_end: first,
            sent_end: first,
            floor: Sequence::ZERO,
            rewind_to: None,
            patience,
        }
    }

    /// The first sequence from which on everything can be sent.
    pub fn oldest(&self) -> Sequence {
        self.held.oldest.max(self.floor).min(self.acked_end)
    }

    /// Updates what the log holds; returns whether the receiver must learn of it.
    pub fn hold(&mut self, held: Holding) -> bool {
        let mut announce = false;
        if self.rewind_to.is_some() {
            // The log has not heard yet that it holds more again.
            self.held = held;
            return announce;
        }
        if held.first > self.sent_end {
            // Evicted under our hands: the receiver must hear that these will not come.
            self.sent_end = held.first;
            announce = true;
        }
        if held.first > self.acked_end {
            // What is gone is not waited for: its ack would be none, and it would hold its place in the window.
            (self.acked_end, self.released_end, self.floor) = (held.first, held.first, held.first);
        }
        self.held = held;
        announce
    }

    /// The lane rests until the log has answered or has acted.
    pub fn rest(&mut self, state: LaneState) {
        (self.state, self.is_delivered) = (state, false);
    }

    /// Everything from `to` on is to be sent again.
    pub fn rewind(&mut self, to: Sequence) {
        self.sent_end = to;
        if to < self.acked_end {
            (self.acked_end, self.released_end) = (to, to);
            self.rewind_to = Some(to);
        }
    }

    /// The next action of the log for this lane, if one is due.
    pub fn next_action(&mut self) -> Option<Action> {
        let lane = self.held.lane;
        if let Some(to) = self.rewind_to.take() {
            return Some(Action::Rewind { lane, to });
        }
        if self.released_end < self.acked_end {
            self.released_end = self.acked_end;
            return Some(Action::Release { lane, end: self.acked_end });
        }
        match self.state {
            _ if core::mem::replace(&mut self.is_delivered, true) => None,
            LaneState::Asking { resume, .. } => Some(Action::LookUp { lane, end: resume.end }),
            LaneState::Parted(from) => Some(Action::Reseal { lane, from }),
            LaneState::Agreed | LaneState::Diverging(_) => None,
        }
    }
}

/// How long a lane has waited, and what was done about it. Every lane has its own: one that gets on must not hide that
/// another does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// When it last got on, or began to wait.
    pub since_ms: u64,
    pub timeout_ms: u64,
    /// A nack was answered by going back, or something that cannot be by a hello, since the lane last got on: the next
    /// one must not be answered in the same way, or two sides that misunderstand each other would do so forever at the
    /// speed of the line.
    pub went_back: bool,
    pub greeted: bool,
}

impl Patience {
    pub const fn new(settings: &SenderSettings, now_ms: u64) -> Self {
        Self { since_ms: now_ms, timeout_ms: settings.timeout_ms, went_back: false, greeted: false }
    }
}
