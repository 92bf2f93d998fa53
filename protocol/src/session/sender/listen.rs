//! What comes in: from the receiver, and from the log that was asked.

use super::lane::{LaneState, Patience, Search};
use super::{Phase, Sender, keep, lane_mut};
use crate::ids::Sequence;
use crate::session::{Check, Control, Lane, Resume, Welcome};

impl Sender {
    /// A control message came in. Whoever calls vouches that it is the receiver's, and an answer to this connection.
    pub fn control(&mut self, now_ms: u64, control: &Control) {
        match control {
            Control::Welcome(welcome) => self.welcome(now_ms, welcome),
            Control::Ack(lanes) if self.phase == Phase::Streaming => {
                lanes.iter().for_each(|resume| self.ack(now_ms, *resume));
            }
            Control::Nack { lane, from } if self.phase == Phase::Streaming => self.nack(*lane, *from),
            Control::Common(resume) if self.phase == Phase::Streaming => self.common(now_ms, *resume),
            // The others are for receivers or for the log, or come too late or too early and cost nothing.
            _ => {}
        }
    }

    /// Whether a welcome answers a hello of the session that is open, and not of one before.
    pub fn is_answered_by(&self, welcome: &Welcome) -> bool {
        let said = self.session.wrapping_sub(self.session_first);
        self.phase != Phase::Down
            && self.greeted_at_ms.is_some()
            && welcome.session.wrapping_sub(self.session_first) <= said
    }

    /// The receiver asks for a hello that repeats the nonce of its welcome: send one.
    pub fn request_hello(&mut self) {
        self.announce |= self.phase == Phase::Streaming;
    }

    /// A message came from a different receiver than the one that has welcomed: a hello will settle it, at the earliest
    /// a timeout after the last one.
    pub fn doubt(&mut self) {
        self.doubts = true;
    }

    fn welcome(&mut self, now_ms: u64, welcome: &Welcome) {
        let Phase::Greeting { sent_at_ms: Some(_), .. } = self.phase else { return };
        if !self.is_answered_by(welcome) {
            return;
        }
        self.phase = Phase::Streaming;
        self.in_flight.clear();
        self.question = None;
        self.timeout_ms = self.settings.timeout_ms;
        for lane in &mut self.lanes {
            (lane.patience.since_ms, lane.patience.went_back) = (now_ms, false);
            if matches!(lane.state, LaneState::Parted(_)) {
                continue;
            }
            let resume = welcome.lanes.iter().find(|resume| resume.lane == lane.held.lane).copied();
            if let LaneState::Diverging(search) = lane.state
                && resume.is_some_and(|resume| search.resume == resume)
            {
                continue;
            }
            lane.state = LaneState::Agreed;
            lane.sent_end = lane.acked_end;
            // Lanes that came up after the hello are not in the welcome: they begin where they are.
            let Some(resume) = resume else { continue };
            if resume.end < lane.oldest() {
                // Evicted, or put back so far that the log cannot show it any more.
                lane.rewind(lane.oldest());
                self.announce = true;
            } else if resume.end == Sequence::ZERO {
                lane.rewind(Sequence::ZERO);
            } else if resume.end != lane.acked_end || resume.check.is_some() {
                lane.rest(LaneState::Asking { resume, by_welcome: true });
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
            Some(_) => self.contradicted(lane),
            // It has more than was sent now: from an earlier connection, or from a different writer.
            None => known.rest(LaneState::Asking { resume, by_welcome: false }),
        }
    }

    /// The receiver has what the log here has, up to this end.
    pub(super) fn acked(&mut self, now_ms: u64, lane: Lane, end: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        keep(&mut self.in_flight, &|batch| batch.lane != lane || batch.end > end);
        known.sent_end = known.sent_end.max(end);
        if end > known.acked_end {
            known.acked_end = end;
            known.patience = Patience::new(&self.settings, now_ms);
        }
    }

    /// An ack or a nack does not fit what is here. It may be old: a welcome decides. It is requested once, until the
    /// lane makes progress.
    fn contradicted(&mut self, lane: Lane) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        if !core::mem::replace(&mut known.patience.greeted, true) {
            self.greet();
        }
    }

    /// The receiver misses what begins at `from`. It is sent again if that is known to be a batch's beginning;
    /// otherwise only a hello can settle it. Both are done once, then it takes progress or a timeout to do them again.
    fn nack(&mut self, lane: Lane, from: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let on_boundary = from == known.acked_end || self.in_flight.iter().any(|b| b.lane == lane && b.end == from);
        // What was evicted since it was sent cannot be sent again: a hello informs the receiver.
        let is_held = from >= known.held.first;
        if known.state == LaneState::Agreed && on_boundary && is_held && !known.patience.went_back {
            known.patience.went_back = true;
            known.sent_end = from;
            keep(&mut self.in_flight, &|batch| batch.lane != lane || batch.end <= from);
        } else {
            self.contradicted(lane);
        }
    }

    /// The log's answer to [`super::Action::LookUp`]: the check of the batch that ends there, or `None` when none does.
    pub fn looked_up(&mut self, now_ms: u64, lane: Lane, end: Sequence, check: Option<Check>) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let LaneState::Asking { resume, by_welcome } = known.state else { return };
        if resume.end != end {
            return;
        }
        known.state = LaneState::Agreed;
        let agrees = match (check, resume.check) {
            (Some(ours), Some(theirs)) => ours == theirs,
            // After a hole the receiver does not know what came before, and has nothing to hold against it.
            (Some(_), None) => true,
            // What ended there is gone, and nothing behind it names it: what is left is sent.
            (None, _) if end <= known.oldest() => {
                self.announce |= end < known.oldest();
                known.rewind(known.oldest());
                return;
            }
            (None, _) => false,
        };
        match (agrees, by_welcome) {
            (true, true) if end < known.acked_end => known.rewind(end),
            (true, _) => self.acked(now_ms, lane, end),
            (false, true) => {
                known.state = LaneState::Diverging(Search::new(known.oldest(), resume, false));
                keep(&mut self.in_flight, &|batch| batch.lane != lane);
            }
            (false, false) => self.contradicted(lane),
        }
    }

    /// The log does not know what ended there, for its batch is damaged. The receiver's claim alone releases
    /// nothing: the sender searches for the last common boundary.
    pub fn boundary_unknown(&mut self, lane: Lane, end: Sequence) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let LaneState::Asking { resume, by_welcome } = known.state else { return };
        if resume.end != end {
            return;
        }
        known.state = LaneState::Agreed;
        if by_welcome {
            known.state = LaneState::Diverging(Search::new(known.oldest(), resume, true));
            keep(&mut self.in_flight, &|batch| batch.lane != lane);
        } else {
            self.contradicted(lane);
        }
    }
}
