//! The receiving log of the world, with what a restart keeps of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::batch::{CHAIN_START, ChainHash};
use afferent_protocol::ids::{Sequence, SequenceRange};
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::{Check, Control, Hello, Lane, Offered, ReceiverLane, Resume, Verdict, Welcome};

use super::world::{Down, ack};

/// Batches that a receiver keeps although others must come before them.
const EARLY_MAX: usize = 8;

/// The log that is being filled.
#[derive(Debug, Default)]
pub struct Receiver {
    pub durable: BTreeMap<Lane, Vec<Offered>>,
    /// All that ever was durable, before the log was put back as well.
    pub ever: BTreeSet<(Lane, ChainHash)>,
    pub gaps: Vec<(Lane, SequenceRange)>,
    /// Counts the starts.
    pub term: u64,
    pub link: u64,
    pub is_proved: bool,
    pub lanes: BTreeMap<Lane, ReceiverLane>,
    pub undurable: Vec<(Lane, Offered)>,
    pub early: Vec<(Lane, Offered)>,
}

impl Receiver {
    pub fn lane(&mut self, lane: Lane) -> &mut ReceiverLane {
        self.lanes.entry(lane).or_insert_with(|| ReceiverLane::new(lane))
    }

    pub fn batch(&mut self, lane: Lane, offered: Offered, down: &mut VecDeque<Down>) -> Verdict {
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
            Verdict::Duplicate => {
                let resume = state.resume();
                self.send(ack(resume), down);
            }
            Verdict::Early { missing_from, nack } => {
                if self.early.len() < EARLY_MAX {
                    self.early.push((lane, offered));
                }
                if nack {
                    self.send(Control::Nack { lane, from: missing_from }, down);
                }
            }
            Verdict::Conflict => {}
        }
        verdict
    }

    pub fn commit(&mut self, down: &mut VecDeque<Down>) {
        let mut lanes = Vec::new();
        for (lane, offered) in self.undurable.drain(..) {
            self.durable.entry(lane).or_default().push(offered);
            self.ever.insert((lane, offered.chain));
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        for lane in lanes {
            let resume = self.lane(lane).durable();
            self.send(ack(resume), down);
        }
    }

    pub fn commit_fails(&mut self) {
        let undurable = std::mem::take(&mut self.undurable);
        for (lane, _) in undurable {
            self.lane(lane).not_durable();
        }
    }

    /// What a hello over this link has to repeat.
    pub fn answer(&self, link: u64) -> u64 {
        1 + link * 1000 + self.term
    }

    pub fn send(&self, control: Control, down: &mut VecDeque<Down>) {
        let (link, term, is_proved) = (self.link, self.term, self.is_proved);
        down.push_back(Down { control, link, term, answer: self.answer(link), is_proved });
    }

    pub fn hello(&mut self, hello: &Hello, link: u64, answer: u64, down: &mut VecDeque<Down>) {
        self.commit(down);
        (self.link, self.is_proved) = (link, answer == self.answer(link));
        let mut lanes = Vec::with_capacity(LANES_MAX);
        for held in &hello.lanes {
            // Only a proved hello moves a lane.
            let gap = if self.is_proved { self.lane(held.lane).hello(held) } else { None };
            lanes.push(self.lane(held.lane).resume());
            self.gaps.extend(gap.map(|gap| (held.lane, gap)));
        }
        let lanes = lanes.into_iter().collect();
        self.send(Control::Welcome(Welcome { session: hello.session, lanes }), down);
    }

    pub fn asked(&mut self, asked: &[Resume], down: &mut VecDeque<Down>) {
        self.commit(down);
        let Some(largest) = asked.first() else { return };
        let has = |resume: &&Resume| {
            let durable = self.durable.get(&resume.lane).map_or(&[][..], Vec::as_slice);
            durable.iter().any(|batch| (batch.range.end, Some(Check::of(&batch.chain))) == (resume.end, resume.check))
        };
        let none = Resume { end: Sequence::ZERO, ..*largest };
        let common = asked.iter().find(has).copied().unwrap_or(none);
        self.send(Control::Common(common), down);
    }

    /// Everything but the log is gone.
    pub fn restart(&mut self) {
        let durable = std::mem::take(&mut self.durable);
        let (gaps, ever) = (std::mem::take(&mut self.gaps), std::mem::take(&mut self.ever));
        *self = Self { gaps, ever, term: self.term + 1, ..Self::default() };
        for (lane, batches) in &durable {
            batches.iter().for_each(|offered| self.lane(*lane).recovered(offered));
        }
        self.durable = durable;
    }

    /// The log is put back to an earlier state: `keep` of ten parts of every lane are left.
    pub fn roll_back(&mut self, keep: usize) {
        for batches in self.durable.values_mut() {
            batches.truncate(batches.len() * keep / 10);
        }
        self.gaps.clear();
        self.restart();
    }

    /// Counts as having had all of these on its disk.
    pub fn assume(&mut self, lane: Lane, batches: &[Offered]) {
        self.ever.extend(batches.iter().map(|batch| (lane, batch.chain)));
    }

    /// Another sender with the same name is quicker.
    pub fn take_from_another(&mut self, lane: Lane, chain: ChainHash, count: u64, down: &mut VecDeque<Down>) {
        self.commit(down);
        let state = self.lane(lane);
        let (first, previous) = (state.end(), state.durable_chain().unwrap_or(CHAIN_START));
        let range = SequenceRange { first, end: first.checked_add(count).unwrap() };
        assert_eq!(self.batch(lane, Offered { range, previous, chain }, down), Verdict::Accept);
        self.commit(down);
    }
}
