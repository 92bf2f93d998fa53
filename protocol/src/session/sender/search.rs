//! Where two histories of one lane part: the last end of a batch that both sides have, found by asking.
//!
//! Checks are pieces of chain hashes: who has one end with the same check has all before it. A question names up to
//! [`LANES_MAX`] ends between what is known to be common and what is known not to be; the answer is the largest of them
//! that is common. When the log has no end left between the two, the search is over.

use heapless::Vec;

use super::lane::{LaneState, Patience, Search};
use super::{Action, Sender, TRIES_MAX, lane_mut};
use crate::ids::Sequence;
use crate::limits::LANES_MAX;
use crate::session::{Check, Control, Lane, Resume};

/// A question that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Question {
    lane: Lane,
    /// The ends, largest first.
    ends: Vec<(Sequence, Check), LANES_MAX>,
    again_at_ms: u64,
    timeout_ms: u64,
    tries: u8,
}

impl Sender {
    /// The next step of a search; to be taken when nothing else is under way.
    pub(super) fn search(&mut self, now_ms: u64) -> Option<Action> {
        let lane = match &self.question {
            Some(question) if now_ms < self.asks_again_at_ms(question) => return None,
            Some(question) if question.tries >= TRIES_MAX => {
                self.greet();
                return Some(self.send_hello(now_ms));
            }
            Some(question) => question.lane,
            None => self.diverging(now_ms)?,
        };
        let Some(LaneState::Diverging(search)) = lane_mut(&mut self.lanes, lane).map(|known| known.state) else {
            self.question = None;
            return None;
        };
        Some(Action::Ask { lane, after: search.common, until: search.until })
    }

    /// When a search goes on by itself.
    pub(super) fn search_at_ms(&self) -> Option<u64> {
        self.question.as_ref().map(|question| self.asks_again_at_ms(question))
    }

    /// When a question is put again: not before the log can be read, for what is asked is read from it each time.
    fn asks_again_at_ms(&self, question: &Question) -> u64 {
        question.again_at_ms.max(self.unread_until_ms(question.lane.stream))
    }

    /// The first lane that is searched and can be read.
    fn diverging(&self, now_ms: u64) -> Option<Lane> {
        let searched = self.lanes.iter().filter(|lane| matches!(lane.state, LaneState::Diverging(_)));
        let mut lanes = searched.map(|lane| lane.held.lane);
        lanes.find(|lane| self.unread_until_ms(lane.stream) <= now_ms)
    }

    /// Whether the search in a lane waits for a log that could not be read.
    pub(super) fn is_searched(&self, stream: crate::ids::Stream) -> bool {
        let of_stream = self.lanes.iter().filter(|lane| lane.held.lane.stream == stream);
        self.question.is_none() && of_stream.into_iter().any(|lane| matches!(lane.state, LaneState::Diverging(_)))
    }

    /// The log's answer to [`Action::Ask`]: ends of batches and their checks, in any order. Returns the question to
    /// send, if there is one; without ends to ask for, the search is over.
    pub fn asked(&mut self, now_ms: u64, lane: Lane, ends: &[(Sequence, Check)]) -> Option<Control> {
        let known = lane_mut(&mut self.lanes, lane)?;
        let LaneState::Diverging(search) = known.state else { return None };
        let mut wanted: Vec<(Sequence, Check), LANES_MAX> = Vec::new();
        let within = |end: Sequence| search.common < end && end <= search.until;
        for named in ends.iter().filter(|(end, _)| within(*end)) {
            // More than were asked for are left out.
            let _ = wanted.push(*named);
        }
        wanted.sort_unstable_by_key(|(end, _)| core::cmp::Reverse(*end));
        if wanted.is_empty() {
            self.question = None;
            self.conclude(now_ms, lane, search);
            return None;
        }
        let before = self.question.take().filter(|question| question.lane == lane);
        let (timeout_ms, tries) = match before {
            Some(question) => (super::slower(question.timeout_ms, &self.settings), question.tries + 1),
            None => (self.settings.timeout_ms, 1),
        };
        let named = wanted.iter().map(|(end, check)| Resume { lane, end: *end, check: Some(*check) });
        let control = Control::Ask(named.collect());
        self.question = Some(Question { lane, ends: wanted, again_at_ms: now_ms + timeout_ms, timeout_ms, tries });
        Some(control)
    }

    /// The receiver's answer. It counts when it names what was asked: an end with its check; or, where none is common,
    /// the end 0 with the check of the largest end that was asked for.
    pub(super) fn common(&mut self, now_ms: u64, answer: Resume) {
        let Some(question) = self.question.as_ref().filter(|question| question.lane == answer.lane) else { return };
        let Some(known) = lane_mut(&mut self.lanes, answer.lane) else { return };
        let LaneState::Diverging(search) = &mut known.state else { return };
        let ends = &question.ends;
        // The end before: what is larger than the largest common one is not common.
        let below = |end: Sequence| Sequence::new(end.get().saturating_sub(1));
        match ends.iter().position(|(end, check)| (*end, Some(*check)) == (answer.end, answer.check)) {
            Some(0) => search.common = answer.end,
            Some(at) => (search.common, search.until) = (answer.end, below(ends[at - 1].0)),
            None => {
                let [(_, largest), ..] = ends[..] else { return };
                let Some((smallest, _)) = ends.last() else { return };
                if (answer.end, answer.check) != (Sequence::ZERO, Some(largest)) {
                    return;
                }
                search.until = below(*smallest);
            }
        }
        known.patience = Patience::new(&self.settings, now_ms);
        self.question = None;
    }

    /// The search has ended: events behind the last common end go into a new epoch, as far as the log can read them.
    fn conclude(&mut self, now_ms: u64, lane: Lane, search: Search) {
        let Some(known) = lane_mut(&mut self.lanes, lane) else { return };
        let end = search.resume.end;
        if search.is_damaged && search.until == end && end <= known.held.end {
            // Between the last common end and the receiver's there is nothing but damage: nothing whole is released.
            known.state = LaneState::Agreed;
            if end < known.acked_end {
                known.rewind(end);
            } else {
                self.acked(now_ms, lane, end);
            }
            return;
        }
        known.rest(LaneState::Parted(search.common));
    }
}
