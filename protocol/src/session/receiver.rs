//! The receiving half of a session, for one lane: what to do with an offered batch, and what to ack.

use super::{Check, Held, Lane, Resume};
use crate::batch::{CHAIN_START, ChainHash};
use crate::ids::{Sequence, SequenceRange};

/// The last batches that a lane remembers, to distinguish a repetition from a different batch with the same range.
const RECENT: usize = 16;

/// A batch as the receiver looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The sequences of the batch.
    pub range: SequenceRange,
    /// Chain hash of the previous batch, as this batch names it.
    pub previous: ChainHash,
    /// Chain hash of the batch.
    pub chain: ChainHash,
}

/// What to do with an offered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: append it.
    Accept,
    /// It is there already: ack again what is durable.
    Duplicate,
    /// Earlier batches are missing: keep it if there is room, and request those from here on when `true`.
    Early {
        /// The first sequence that is missing.
        missing_from: Sequence,
        /// Whether to ask: once for every gap. The sender's timeout covers for a lost question.
        nack: bool,
    },
    /// It contradicts what is there: two writers share a name, or the log behind one was put back. Refuse it.
    Conflict,
}

/// One lane of a log that is being filled.
///
/// `end` runs ahead of `durable_end` by what was accepted and is not on disk yet.
#[derive(Clone, Debug)]
pub struct ReceiverLane {
    lane: Lane,
    end: Sequence,
    durable_end: Sequence,
    /// Chain hash of the last accepted batch; `None` right after a hole, where it is unknown.
    chain: Option<ChainHash>,
    durable_check: Option<Check>,
    durable_chain: Option<ChainHash>,
    nacked_from: Option<Sequence>,
    /// The first sequence that the sender holds: earlier ones will never come.
    skips_to: Option<Sequence>,
    recent: heapless::Deque<(Sequence, Check), RECENT>,
}

impl ReceiverLane {
    /// A lane that nothing has come of yet.
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            end: Sequence::ZERO,
            durable_end: Sequence::ZERO,
            chain: Some(CHAIN_START),
            durable_check: None,
            durable_chain: Some(CHAIN_START),
            nacked_from: None,
            skips_to: None,
            recent: heapless::Deque::new(),
        }
    }

    /// Takes a batch that was found in the log at start: whatever is there is durable, holes included.
    pub fn recovered(&mut self, offered: &Offered) {
        if offered.range.end <= self.end {
            // A log that a repair has left with something twice: the lane must not go back.
            return;
        }
        self.end = offered.range.first;
        let _ = self.accepted(offered);
        self.durable();
    }

    /// The first sequence that was not accepted yet.
    pub const fn end(&self) -> Sequence {
        self.end
    }

    /// The first sequence that is not on disk.
    pub const fn durable_end(&self) -> Sequence {
        self.durable_end
    }

    /// Chain hash of the last batch that is on disk; `None` right after a hole, where it is unknown.
    pub const fn durable_chain(&self) -> Option<ChainHash> {
        self.durable_chain
    }

    /// Judges a batch. It changes nothing but what was asked for.
    pub fn offer(&mut self, offered: &Offered) -> Verdict {
        let range = offered.range;
        if range.end <= self.end {
            let check = Check::of(&offered.chain);
            let differs = self.recent.iter().any(|(end, known)| *end == range.end && *known != check);
            return if differs { Verdict::Conflict } else { Verdict::Duplicate };
        }
        if range.first < self.end {
            return Verdict::Conflict;
        }
        if range.first > self.end && self.skips_to == Some(range.first) {
            return Verdict::Accept;
        }
        if range.first > self.end {
            let nack = self.nacked_from != Some(self.end);
            self.nacked_from = Some(self.end);
            return Verdict::Early { missing_from: self.end, nack };
        }
        match self.chain.filter(|_| range.first == self.end) {
            Some(chain) if chain != offered.previous => Verdict::Conflict,
            _ => Verdict::Accept,
        }
    }

    /// The batch is in the log's hands, not yet on disk. Gives what lies before it and will never come.
    ///
    /// # Panics
    /// When it is not the next one.
    pub fn accepted(&mut self, offered: &Offered) -> Option<SequenceRange> {
        let gap = SequenceRange { first: self.end, end: offered.range.first };
        let gap = (gap.first != gap.end).then_some(gap);
        assert!(gap.is_none_or(|gap| Some(gap.end) == self.skips_to), "only the next batch of a lane is accepted");
        self.end = offered.range.end;
        self.chain = Some(offered.chain);
        self.nacked_from = None;
        if self.recent.is_full() {
            self.recent.pop_front();
        }
        self.recent.push_back((self.end, Check::of(&offered.chain))).expect("room was just made");
        self.skips_to = self.skips_to.filter(|first| *first > self.end);
        gap
    }

    /// Takes the sender's word that what lies before `first` and is not here will never come: the lane goes on there,
    /// when the batch comes that begins there.
    pub fn may_skip_to(&mut self, first: Sequence) {
        self.nacked_from = None;
        self.skips_to = Some(first).filter(|first| *first > self.end);
    }

    /// The check of the batch that ends there, if it is one of the last ones.
    pub fn recent_check(&self, end: Sequence) -> Option<Check> {
        self.recent.iter().find(|(known, _)| *known == end).map(|(_, check)| *check)
    }

    /// Everything accepted is on disk; returns the ack to send.
    pub fn durable(&mut self) -> Resume {
        assert!(self.durable_end <= self.end, "the durable end cannot pass the end");
        self.durable_end = self.end;
        self.durable_chain = self.chain;
        self.durable_check = self.recent.back().filter(|(end, _)| *end == self.end).map(|(_, check)| *check);
        self.resume()
    }

    /// The log could not write what was accepted since the last [`ReceiverLane::durable`]: it is as if it had not come,
    /// and will be sent again.
    pub fn not_durable(&mut self) {
        assert!(self.durable_end <= self.end, "the durable end cannot pass the end");
        self.end = self.durable_end;
        self.chain = self.durable_chain;
        self.nacked_from = None;
        while self.recent.back().is_some_and(|(end, _)| *end > self.end) {
            self.recent.pop_back();
        }
    }

    /// The ack for all that is durable now.
    pub fn resume(&self) -> Resume {
        Resume { lane: self.lane, end: self.durable_end, check: self.durable_check }
    }

    /// Whether one of the last batches ended there and has this check.
    pub fn has(&self, end: Sequence, check: Check) -> bool {
        self.recent.iter().any(|known| *known == (end, check))
    }

    /// Takes a sender's word of what it holds. When its oldest lies beyond the end, the sequences between will never
    /// come: they are given back as a gap, and the lane goes on after it.
    ///
    /// # Panics
    /// When something was accepted and is neither durable nor not: commit first.
    pub fn hello(&mut self, held: &Held) -> Option<SequenceRange> {
        assert_eq!(self.end, self.durable_end, "a hello is answered with what is durable");
        self.nacked_from = None;
        if held.first <= self.end {
            return None;
        }
        let gap = SequenceRange { first: self.end, end: held.first };
        self.end = held.first;
        self.durable_end = held.first;
        self.durable_check = None;
        (self.chain, self.durable_chain) = (None, None);
        Some(gap)
    }
}
