//! The verdict: what the collector's disk holds at the end, held against what the producers know.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::batch::ChainHash;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::session::Lane;

use super::Acks;
use super::ledger::{Content, Ledger};
use super::ring::{SeenRing, events_in_ring};
use super::view::{LogView, SeenBatch};

/// What happened to an agent that excuses what would else be a bug.
#[derive(Clone, Debug, Default)]
pub struct Excuses {
    /// Bits of its disk flipped.
    pub rotted: bool,
    /// Its disk gave read errors.
    pub unread: bool,
    /// Its history has parted: its disk was put back or copied. Its events may stand under another epoch than they were
    /// accepted in.
    pub parted: bool,
    /// A file of its ring was lost.
    pub files_lost: bool,
    /// Lanes whose disk was thrown away.
    pub thrown_away: BTreeSet<Lane>,
}

/// What the verdict needs to know.
#[derive(Debug)]
pub struct Case<'a> {
    /// What the producers know.
    pub ledger: &'a Ledger,
    /// What the log holds.
    pub view: &'a LogView,
    /// The agents' names, by index.
    pub names: &'a [SourceId],
    /// Their excuses, by index.
    pub excuses: &'a [Excuses],
    /// What the collector had acked before its disk was put back from a copy.
    pub acked_before: &'a Acks,
}

impl Case<'_> {
    /// Checks everything; the error says what is wrong.
    pub fn judge(&self) -> Result<(), String> {
        let lanes = self.lanes();
        let everything = self.everything();
        for ((source, lane), batches) in &lanes {
            self.order(*source, *lane, batches)?;
        }
        self.nothing_foreign()?;
        for ((agent, lane), accepted) in self.ledger.accepted() {
            let batches = lanes.get(&(self.names[*agent], *lane)).map_or(&[][..], Vec::as_slice);
            self.once_or_declared(*agent, *lane, accepted, batches, &everything)?;
        }
        self.pins()
    }

    /// Whether events of this agent can stand elsewhere than where they were accepted.
    fn may_be_elsewhere(&self, agent: usize) -> bool {
        self.excuses[agent].parted || !self.acked_before.is_empty() || self.excuses[agent].files_lost
    }

    /// All that the log holds.
    fn everything(&self) -> BTreeSet<Content> {
        let events = self.view.batches.iter().flat_map(|batch| &batch.events);
        events.filter(|(_, own)| !own).map(|(content, _)| *content).collect()
    }

    /// What lies whole in a ring, and was accepted, is in the log or declared lost.
    pub fn nothing_lies_in_a_ring(&self, agent: usize, ring: &SeenRing) -> Result<(), String> {
        let everything = self.everything();
        let name = self.names[agent];
        for (lane, sequence, content) in events_in_ring(&ring.files) {
            let accepted = self.ledger.pushed(content).is_some();
            let declared = || self.is_lost(name, lane, sequence);
            // While its disk could not be read, or where it is damaged, the agent had nothing to show; nor of what it had
            // let go of, or of a lane that it knows no more.
            let let_go = || ring.oldest.get(&lane).is_none_or(|oldest| sequence < *oldest);
            let is_said = || self.is_gap(name, lane, sequence) || self.was_rolled_back(name, lane, sequence);
            let damaged = self.excuses[agent].unread || self.excuses[agent].rotted;
            let gone = || (damaged || let_go()) && is_said();
            if accepted && !everything.contains(&content) && !declared() && !gone() {
                return Err(self.wrong(agent, lane, sequence, "lies whole in the ring, and is not in the log"));
            }
        }
        Ok(())
    }

    fn lanes(&self) -> BTreeMap<(SourceId, Lane), Vec<&SeenBatch>> {
        let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for batch in &self.view.batches {
            lanes.entry((batch.source, batch.lane)).or_default().push(batch);
        }
        lanes
    }

    fn losses(&self, source: SourceId, lane: Lane) -> impl Iterator<Item = &Loss> {
        let of_lane = move |loss: &Loss| loss.stream == lane.stream && loss.epoch == lane.epoch;
        self.view.losses.iter().filter(move |(_, from, loss)| *from == source && of_lane(loss)).map(|(_, _, loss)| loss)
    }

    /// Whether its source declares this lost, there or where the lane was sealed again.
    fn is_lost(&self, source: SourceId, lane: Lane, sequence: u64) -> bool {
        let places = self.view.places(source, lane, sequence);
        places.into_iter().any(|(lane, sequence)| self.view.loss_at(source, lane, sequence).is_some())
    }

    /// Whether the collector says that this is missing.
    fn is_gap(&self, source: SourceId, lane: Lane, sequence: u64) -> bool {
        let mut gaps = self.view.gaps.iter().filter(|gap| gap.source == source && gap.lane == lane);
        gaps.any(|gap| gap.first <= sequence && sequence < gap.end)
    }

    /// In one lane: sequences only rise, every hole is declared, and the chain holds. A hole may be filled later by one
    /// who still had what the other had not: each sequence once, and where its chain fits.
    fn order(&self, source: SourceId, lane: Lane, batches: &[&SeenBatch]) -> Result<(), String> {
        let place = |sequence: u64| format!("{source} {}-{}-{sequence}", lane.stream, lane.epoch);
        let agent = self.names.iter().position(|name| *name == source);
        let excused = agent.is_some_and(|agent| self.may_be_elsewhere(agent) || self.excuses[agent].unread);
        let is_named = |sequence| self.is_named(source, lane, sequence);
        let mut end = 0;
        let mut chain = Some([0; 32]);
        let mut holes = Vec::new();
        for batch in batches {
            if batch.first < end {
                // A batch that was under way while its agent let go of it may come after all.
                let may_fill = excused || (batch.first..batch.end).all(is_named);
                if !may_fill || !fill(&mut holes, batch) {
                    return Err(format!("{} is in the log twice, or after its successor", place(batch.first)));
                }
                continue;
            }
            if batch.first > end {
                // What fills a hole before the collector has named it is never named.
                let fills = |sequence: u64| batches.iter().any(|batch| (batch.first..batch.end).contains(&sequence));
                if !(end..batch.first).all(|sequence| is_named(sequence) || excused && fills(sequence)) {
                    return Err(format!("{} is missing before {}, undeclared", place(end), batch.first));
                }
                holes.push((end, batch.first, chain));
                let last = self.losses(source, lane).find(|loss| loss.end.get() == batch.first);
                chain = last.map(|loss| loss.chain).filter(|chain| *chain != [0; 32]);
            }
            if chain.is_some_and(|chain| chain != batch.previous) {
                return Err(format!("the chain is broken at {}", place(batch.first)));
            }
            chain = Some(batch.chain);
            end = batch.end;
        }
        Ok(())
    }

    /// Whether a loss of the source, or a gap of the collector, names this sequence.
    fn is_named(&self, source: SourceId, lane: Lane, sequence: u64) -> bool {
        self.losses(source, lane).any(|loss| covers(loss, sequence)) || self.is_gap(source, lane, sequence)
    }

    /// All that the log holds was pushed, to the agent that it is from, once, and in each lane in the order of pushing.
    ///
    /// Twice it may be there where a disk was put back to before it was sealed again, and that happened again: the first
    /// event of each of the two lanes names the one that both were in.
    fn nothing_foreign(&self) -> Result<(), String> {
        let mut seen: BTreeMap<Content, (u64, (Lane, u64))> = BTreeMap::new();
        let mut indices: BTreeMap<(SourceId, Lane), u64> = BTreeMap::new();
        let mut ends: BTreeMap<(SourceId, Lane), u64> = BTreeMap::new();
        for batch in &self.view.batches {
            let end = ends.entry((batch.source, batch.lane)).or_default();
            let fills = batch.first < *end;
            *end = batch.end.max(*end);
            for (at, (content, own)) in batch.events.iter().enumerate() {
                let offset = batch.ordinal + at as u64;
                if *own {
                    continue;
                }
                let origin = self.view.origin(batch.source, batch.lane, batch.first + at as u64);
                let here = (batch.lane, batch.first + at as u64);
                if let Some((other, known)) = seen.insert(*content, (offset, origin))
                    && (known != origin || here == origin)
                {
                    return Err(format!("one event is in the log twice, at {other} and at {offset}"));
                }
                let pushed = self.ledger.pushed(*content);
                let pushed = pushed.ok_or_else(|| format!("the event at offset {offset} was never pushed"))?;
                if self.names[pushed.agent] != batch.source || pushed.stream != batch.lane.stream {
                    return Err(format!("the event at offset {offset} is in another name than it was pushed to"));
                }
                if !fills
                    && let Some(before) = indices.insert((batch.source, batch.lane), pushed.index)
                    && before >= pushed.index
                {
                    return Err(format!("the event at offset {offset} stands after one that was pushed later"));
                }
            }
        }
        Ok(())
    }

    fn once_or_declared(
        &self,
        agent: usize,
        lane: Lane,
        accepted: &BTreeMap<u64, Content>,
        batches: &[&SeenBatch],
        everything: &BTreeSet<Content>,
    ) -> Result<(), String> {
        let mut batches = batches.iter().peekable();
        for (sequence, content) in accepted {
            while batches.next_if(|batch| batch.end <= *sequence).is_some() {}
            let seen = batches.peek().filter(|batch| batch.first <= *sequence);
            match seen.map(|batch| batch.events[(sequence - batch.first) as usize].0) {
                Some(seen) if seen == *content => {}
                // Once, which was checked: under the epoch that it was sealed in again.
                _ if self.may_be_elsewhere(agent) && everything.contains(content) => {}
                Some(_) if !self.may_be_elsewhere(agent) => {
                    return Err(self.wrong(agent, lane, *sequence, "is another event in the log"));
                }
                _ => self.declared(agent, lane, *sequence)?,
            }
        }
        Ok(())
    }

    fn wrong(&self, agent: usize, lane: Lane, sequence: u64, what: &str) -> String {
        format!("accepted {} {}-{}-{sequence} {what}", self.names[agent], lane.stream, lane.epoch)
    }

    /// An accepted event that is not in the log needs a loss that names it, for a reason that there was.
    fn declared(&self, agent: usize, lane: Lane, sequence: u64) -> Result<(), String> {
        let excuses = &self.excuses[agent];
        if excuses.thrown_away.contains(&lane) {
            return Ok(());
        }
        let damaged = excuses.rotted || excuses.unread;
        if self.was_rolled_back(self.names[agent], lane, sequence) {
            return Ok(());
        }
        let mut reasons = Vec::new();
        for (lane, sequence) in self.view.places(self.names[agent], lane, sequence) {
            for loss in self.losses(self.names[agent], lane) {
                // How far the lane went, nobody can know where the witness was not synced before the power went as well.
                let is_open = match loss.reason {
                    LossReason::TornTail => damaged,
                    LossReason::VanishedAtLeast => true,
                    _ => false,
                };
                let to_the_end = is_open && loss.first.get() <= sequence;
                if covers(loss, sequence) || to_the_end {
                    reasons.push(loss.reason);
                }
            }
        }
        let excused = |reason: &LossReason| match reason {
            LossReason::Evicted => true,
            LossReason::Corrupt | LossReason::TornTail => damaged || excuses.files_lost,
            LossReason::Refused => false,
            LossReason::Vanished | LossReason::VanishedAtLeast => excuses.files_lost || excuses.parted || damaged,
            LossReason::DeviceFull => false,
        };
        let is_gap = self.is_gap(self.names[agent], lane, sequence);
        // The declaration itself may have rotted before it was sent, or gone with the file that it lay in.
        let only_gap = (excuses.rotted || excuses.files_lost) && is_gap;
        let may_be_gone = excuses.files_lost || excuses.parted || damaged;
        let gone = (may_be_gone && self.a_declaration_is_gone(self.names[agent], damaged))
            || self.a_declaration_was_rolled_back(self.names[agent])
            || (excuses.parted && self.a_beginning_was_lost(self.names[agent], lane.stream));
        if only_gap || gone || reasons.iter().any(excused) {
            return Ok(());
        }
        let gap = if is_gap { " (a gap names it)" } else { "" };
        match reasons.first() {
            Some(reason) => {
                Err(self.wrong(agent, lane, sequence, &format!("is declared lost as {reason:?} without cause")))
            }
            None => Err(self.wrong(agent, lane, sequence, &format!("is not in the log and not declared lost{gap}"))),
        }
    }

    /// Whether critical events vanished, or could not be read, before anybody had heard of them: among them may be what they
    /// declared.
    fn a_declaration_is_gone(&self, source: SourceId, damaged: bool) -> bool {
        let critical = |loss: &Loss| loss.stream == Stream::Critical;
        let is_gone = |loss: &Loss| match loss.reason {
            LossReason::Vanished | LossReason::VanishedAtLeast => true,
            LossReason::Corrupt => damaged,
            _ => false,
        };
        self.view.losses.iter().any(|(_, from, loss)| *from == source && critical(loss) && is_gone(loss))
    }

    /// Whether critical events that had been acked are missing since the log was put back: among them may be what they
    /// declared.
    fn a_declaration_was_rolled_back(&self, source: SourceId) -> bool {
        let gaps = self.view.gaps.iter().filter(|gap| gap.source == source && gap.lane.stream == Stream::Critical);
        let acked = |lane: Lane| self.acked_before.get(&(source, lane)).copied().unwrap_or(0);
        gaps.into_iter().any(|gap| gap.first < acked(gap.lane))
    }

    /// Whether a lane lost its first event: it may have said which lane's events stood in it.
    fn a_beginning_was_lost(&self, source: SourceId, stream: Stream) -> bool {
        let of = |from: SourceId, loss: &Loss| from == source && loss.stream == stream && loss.first.get() == 0;
        self.view.losses.iter().any(|(_, from, loss)| of(*from, loss))
    }

    /// Whether the event had been acked before the collector's disk was put back, and the log says that it was.
    fn was_rolled_back(&self, source: SourceId, lane: Lane, sequence: u64) -> bool {
        let acked = self.acked_before.get(&(source, lane)).is_some_and(|end| sequence < *end);
        let is_said = || self.view.rolled_back || self.is_gap(source, lane, sequence);
        acked && is_said()
    }

    /// Every source was pinned at most once.
    fn pins(&self) -> Result<(), String> {
        let mut pinned = BTreeSet::new();
        for (source, _) in &self.view.pins {
            if !pinned.insert(source) {
                return Err(format!("the key of {source} was pinned twice"));
            }
        }
        Ok(())
    }
}

/// Whether the batch lies in a hole of its lane, and where it begins one in its chain; then it takes its place there.
fn fill(holes: &mut Vec<(u64, u64, Option<ChainHash>)>, batch: &SeenBatch) -> bool {
    let lies_in = |(first, end, _): &(u64, u64, _)| *first <= batch.first && batch.end <= *end;
    let Some(at) = holes.iter().position(lies_in) else { return false };
    let (first, end, chain) = holes.swap_remove(at);
    if first == batch.first && chain.is_some_and(|chain| chain != batch.previous) {
        return false;
    }
    holes.extend([(first, batch.first, chain), (batch.end, end, Some(batch.chain))]);
    true
}

fn covers(loss: &Loss, sequence: u64) -> bool {
    loss.first.get() <= sequence && sequence < loss.end.get()
}
