//! Two histories under one epoch: what the agent does not have of this one is sealed again, and nothing is released.
//!
//! It happens when a device starts twice with the same boot and entropy (the epochs that it draws are those of the run
//! before), when two devices share name and entropy, when memory was copied, or loses what it had claimed to hold. It
//! is seen at the agent's welcome, and nothing of a lane is sent before one:
//!
//! - the agent has more than any boot of this device can have sent, or
//! - a batch of this log that ends where the agent's ends has a different check, or none ends there.
//!
//! What comes next is a view of the first run. The queue stays as it is, so it takes no room, and a reset at any moment
//! finds what was there before.
//!
//! ```text
//! None ──contradiction──▶ Asks ──ask──▶ Asked ──none──▶ Asks, for a smaller end
//!                           │             └──it has that: let go of what is before──▶ Again
//!                           └──no end is left that may have been sent──▶ Again
//! ```
//!
//! - *Asks.* New events get a fresh epoch at once. Of what may have been sent before, the agent is asked for one end
//!   after the other, the largest first: what lies before a common one is in its log, and is released.
//! - *Again.* The oldest batch is a lane of its own: its epoch is made of the old epoch and its first sequence, and in
//!   front of its events stands a life-cycle event that names these two ([`crate::stored::seal_again`]). It is sent,
//!   acked and released, then comes the next one. The same batch gives the same lane and bytes whenever that is done:
//!   a batch whose ack is lost in a reset is known again by its check. When the agent has a different batch there, or
//!   has it before it was sent, the epoch is salted.
//!
//! The hello names the old lane as well, from 0, so that the agent remembers it, and a reset in between leads here
//! again.

use afferent_protocol::ids::{Epoch, Sequence};
use afferent_protocol::session::{Check, Held, Lane, Resume};
use heapless::Vec;

use super::{Run, StreamLog};
use crate::limits::LANES_MAX;
use crate::random::draw;
use crate::stored::Head;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The histories are one.
    None,
    /// A question is to be asked.
    Asks,
    /// Its answer is waited for.
    Asked,
    /// What is left is sealed again.
    Again,
}

/// How far the first run's parting is.
#[derive(Clone, Copy, Debug)]
pub struct Parting {
    step: Step,
    /// While asking, the largest end that may be common; then the salt.
    at: u32,
    /// No boot has sent anything of the run's epoch from here on, nor sealed it again.
    unsent_from: u32,
}

impl Parting {
    /// The histories are one.
    pub(super) const NONE: Self = Self { step: Step::None, at: 0, unsent_from: u32::MAX };

    /// Whether a question is to be asked.
    pub(super) fn asks(&self) -> bool {
        self.step == Step::Asks
    }

    /// Whether nothing can be sent before the agent has answered.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asked() || self.asks()
    }

    /// Whether an answer is waited for.
    pub(super) fn is_asked(&self) -> bool {
        self.step == Step::Asked
    }
}

impl StreamLog<'_> {
    /// The agent has different events of this lane, up to `end`. Returns whether that is new here, and
    /// concerns what is under way; of anything else its turn will come.
    pub fn part(&mut self, epoch: Epoch, end: u32, fresh: Epoch) -> bool {
        if self.lane().is_some_and(|lane| lane.first < lane.end && lane.epoch != epoch) {
            return false;
        }
        match self.parting.step {
            Step::None => {}
            Step::Asks | Step::Asked => return false,
            Step::Again => {
                self.parting.at = fresh.get() as u32;
                return true;
            }
        }
        let mut unsent_from = u32::MAX;
        if epoch == self.epoch {
            unsent_from = self.unsent_from;
            self.begin_epoch(fresh);
            self.runs.retain(|run| run.first < run.end);
        }
        if self.runs.first().is_some_and(|run| run.epoch == epoch) {
            self.parting = Parting { step: Step::Asks, at: end.min(unsent_from), unsent_from };
        }
        true
    }

    /// A welcome came: what was asked before has no answer any more.
    pub(super) fn ask_again(&mut self) {
        if self.parting.is_asked() {
            self.parting.step = Step::Asks;
        }
    }

    /// The largest end of a batch of the lane that the agent may have, to ask for it; none when there is no other.
    pub fn ask(&mut self, now: u32, work: &mut [u8]) -> Option<Resume> {
        let run = *self.runs.first()?;
        let mut found = None;
        let limit = self.parting.at;
        if limit > run.first {
            self.queue.find(work, &mut |item| ends_by(item, run, limit, &mut found)).ok()?;
        }
        let Some((end, crc)) = found else {
            (self.parting.step, self.parting.at) = (Step::Again, 0);
            return None;
        };
        (self.parting.step, self.parting.at, self.sent.since) = (Step::Asked, end, now);
        let (lane, check) = (Lane { stream: self.stream, epoch: run.epoch }, Some(Check(crc.into())));
        Some(Resume { lane, end: Sequence::new(end.into()), check })
    }

    /// The agent has answered, and what it has is released.
    pub fn answered(&mut self, resume: &Resume) {
        if self.parting.step == Step::Asked {
            let has_none = resume.end == Sequence::ZERO;
            let at = self.parting.at.saturating_sub(1);
            (self.parting.step, self.parting.at) = if has_none { (Step::Asks, at) } else { (Step::Again, 0) };
        }
    }

    /// The run whose first batch is sealed again, if that is what is done.
    pub(super) fn again(&self) -> Option<Run> {
        self.runs.first().filter(|_| self.parting.step == Step::Again).copied()
    }

    /// What is under way, as the agent is to see it. Of a batch that is sealed again, only that it is one.
    #[inline(never)]
    pub(super) fn lane(&self) -> Option<Run> {
        let Some(run) = self.again() else { return self.runs.first().copied() };
        let mut state = run.epoch.get() ^ u64::from(run.first) << 32 ^ u64::from(self.parting.at);
        Some(Run { epoch: Epoch::new(draw(&mut state)), first: 0, end: 1 })
    }

    /// The run whose first batch is sealed again for this epoch.
    #[inline(never)]
    pub(super) fn again_for(&self, epoch: Epoch) -> Option<Run> {
        self.again().filter(|_| self.lane().is_some_and(|lane| lane.epoch == epoch))
    }

    /// Names the lane of the batch that is sealed again, and the old one.
    pub(super) fn hold(&self, run: Run, held: &mut Vec<Held, LANES_MAX>) {
        let Some(lane) = self.lane() else { return };
        // At least as much as that batch has.
        for (epoch, end) in [(lane.epoch, run.end - run.first + 1), (run.epoch, 0)] {
            let (lane, end) = (Lane { stream: self.stream, epoch }, Sequence::new(end.into()));
            let _ = held.push(Held { lane, first: Sequence::ZERO, end });
        }
    }

    /// Whether the lane was here when this boot began, as long as nothing was sent.
    pub fn was_found(&self, epoch: Epoch) -> bool {
        epoch != self.epoch || self.unsent_from > 0
    }

    /// Whether this boot or an earlier one may have sent a batch of the lane that ends there.
    pub fn may_have_sent(&self, epoch: Epoch, end: u32) -> bool {
        if let Some(run) = self.again_for(epoch) {
            return run.first < self.parting.unsent_from;
        }
        let is_open = epoch == self.epoch;
        end <= if is_open { self.unsent_from } else { self.parting.unsent_from }
    }

    /// A batch of the lane under way that ends there is on the line.
    pub(super) fn may_have(&mut self, epoch: Epoch, end: u32) {
        if let Some(run) = self.again() {
            self.parting.unsent_from = self.parting.unsent_from.max(run.kept_end(end));
        } else if epoch == self.epoch {
            self.unsent_from = self.unsent_from.max(end);
        }
    }
}

/// Takes end and `crc` of a batch of this run's epoch, when it ends neither before the run nor behind `limit`.
#[inline(never)]
fn ends_by(item: &[u8], run: Run, limit: u32, found: &mut Option<(u32, u32)>) -> bool {
    if let Some(head) = Head::decode(item)
        && head.epoch == run.epoch
        && run.first < head.end
        && head.end <= limit
    {
        *found = Some((head.end, head.crc));
    }
    false
}
