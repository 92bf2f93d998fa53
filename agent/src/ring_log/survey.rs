//! What a start finds in the files: segments, lanes, and what is wrong with them. It writes nothing.
//!
//! Generations give the order of the segments. Of each lane the entries must follow each other; where they do not, or
//! where a whole entry follows a stretch that cannot be read, there is a hole. A torn tail counts only at the end of
//! the lane's last segment: one that a later segment continues was abandoned after the disk had refused a write, and
//! what was in it stands whole in the next. For the same reason a batch may be there twice.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, LifeCycle, Loss, LossReason};
use afferent_protocol::ids::{Epoch, Position, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{Entry, Head, LogKind, SEGMENT_HEADER_LEN, SegmentHeader};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::Verifier;

use super::devices::{Tables, tables_in};
use super::loss::lane_of;
use super::pool::{Segment, Slot, Usage, file_name, file_number};
use super::reader::read_pieces;
use super::recovery::{Damage, LastCritical};
use super::settings::RingIdentity;

/// A range that is missing, and the chain hash before what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundHole {
    pub range: SequenceRange,
    pub chain: ChainHash,
}

/// A lane, as its entries show it.
#[derive(Clone, Debug)]
pub(super) struct FoundLane {
    pub lane: Lane,
    /// Generations of its first and its last segment.
    pub first_generation: u64,
    pub last_generation: u64,
    /// The first sequence in it.
    pub first: Sequence,
    pub end: Sequence,
    /// The end that its entries name as acked, or that losses name as given up.
    pub released_end: Sequence,
    /// The end that losses name as given up.
    pub lost_end: Sequence,
    pub chain: Option<ChainHash>,
    pub source: Option<SourceId>,
    /// Whether its newest batch is signed with the agent's key.
    pub is_ours: bool,
    pub holes: Vec<FoundHole>,
    /// What was accepted and is gone, and how it is declared.
    pub vanished: Vec<(SequenceRange, LossReason)>,
    /// It was accepted further than it goes here.
    pub is_short: bool,
    /// The lane is closed, and all losses at its end are declared.
    pub is_closed: bool,
    /// The epoch whose events it holds once more, and the first of their sequences there.
    pub reseals: Option<(Epoch, Sequence)>,
    /// Another lane holds its events once more.
    pub is_resealed: bool,
    /// What the write that did not finish at its end was to hold.
    pub torn: Option<SequenceRange>,
    /// How that is declared where it reached, as others know, into what had been accepted.
    pub torn_vanished: Option<LossReason>,
    /// Whether there is such a write.
    pub is_torn: bool,
    /// The file of its last segment.
    pub last: usize,
    /// Where in that the last whole entry begins.
    pub last_entry_at: Option<Position>,
}

/// The tables of a stream, and the generation of the segment that holds them.
#[derive(Clone, Debug)]
pub(super) struct FoundTable {
    pub tables: Tables,
    pub generation: u64,
    /// How new it is: where it was first written. A copy is as old as its original.
    age: (u64, u64),
}

/// The newest end of a lane that entries of the other stream name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub lane: Lane,
    pub end: Sequence,
    /// The segment of the entry.
    pub generation: u64,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub slots: Vec<Slot>,
    /// In the order in which they were begun.
    pub lanes: Vec<FoundLane>,
    pub newest: Option<SegmentHeader>,
    /// Of all segments, in order.
    pub generations: Vec<u64>,
    /// Losses of lanes that are there, as `critical` declares them.
    pub declared: Vec<Loss>,
    pub last_critical: Option<LastCritical>,
    /// The newest tables of each stream, by its number.
    pub tables: [Option<FoundTable>; 2],
    pub damage: Damage,
    /// Damaged stretches by segment: its lane and end.
    stretches: Vec<(Lane, Sequence, u32)>,
    pub foreign_files: u32,
    /// Files without a readable header; they are not touched until their former content is known.
    pub headless: Vec<usize>,
    /// The ends of lanes of the other stream that entries name, in the order in which they first do.
    pub named: Vec<Named>,
    /// What is lost of lanes that no file has anything of.
    pub losses_of_lanes: Vec<Loss>,
    /// The epoch of each stream that was written to and is in no file, by the stream's number.
    pub doubtful: [Option<Epoch>; 2],
}

/// Looks at every file of the pool.
pub(super) fn survey<D: Disk>(disk: &D, who: &RingIdentity) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let headers = survey.read_headers(disk)?;
    // One buffer for all, and gone before the log is used.
    let mut bytes = Vec::new();
    let ours = Ours { source: who.source, verifier: who.identity.public_key().verifier() };
    for (number, header) in &headers {
        survey.read_segment(disk, *number, header, &ours, &mut bytes);
    }
    for lane in &mut survey.lanes {
        lane.take_declared(&survey.declared);
        lane.is_torn = lane.torn.is_some();
    }
    Ok(survey)
}

/// Whose batches are looked for.
struct Ours {
    source: SourceId,
    verifier: Option<Verifier>,
}

impl Survey {
    /// Records the end of the other stream that an entry names.
    fn name(&mut self, stream: Stream, (epoch, end): (Epoch, u64), generation: u64) {
        if end == 0 {
            return;
        }
        let (lane, end) = (Lane { stream: other(stream), epoch }, Sequence::new(end));
        match self.named.iter_mut().find(|known| known.lane == lane) {
            Some(known) => (known.end, known.generation) = (known.end.max(end), known.generation.max(generation)),
            None => self.named.push(Named { lane, end, generation }),
        }
    }

    /// Fills the slots; returns the segments of the log, oldest first.
    fn read_headers<D: Disk>(&mut self, disk: &D) -> io::Result<Vec<(usize, SegmentHeader)>> {
        let mut headers = Vec::new();
        for (name, len) in disk.list()? {
            let Some(number) = file_number(&name) else { continue };
            if self.slots.len() <= number {
                self.slots.resize(number + 1, Slot { len: 0, usage: Usage::Missing });
            }
            let usage = self.read_header(disk, number, len).unwrap_or_else(|header| {
                headers.push((number, header));
                Usage::Foreign
            });
            self.slots[number] = Slot { len, usage };
        }
        headers.sort_by_key(|(_, header)| header.generation);
        self.newest = headers.last().map(|(_, header)| *header);
        let newest = self.newest;
        headers.retain(|(_, header)| newest.is_some_and(|newest| newest.log_id == header.log_id));
        self.generations = headers.iter().map(|(_, header)| header.generation).collect();
        self.foreign_files += self.slots.iter().filter(|slot| matches!(slot.usage, Usage::Foreign)).count() as u32;
        self.foreign_files -= (headers.len() + self.headless.len()) as u32;
        Ok(headers)
    }

    /// The header as an error, or what the file is used for without one.
    fn read_header<D: Disk>(&mut self, disk: &D, number: usize, len: u64) -> Result<Usage, SegmentHeader> {
        if len > SEGMENT_BYTES_MAX {
            return Ok(Usage::Foreign);
        }
        if len < SEGMENT_HEADER_LEN as u64 {
            // The file was being made when the power went.
            return Ok(Usage::Free { kept: None, blank: false, abandoned: true });
        }
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        let read = disk.open(&file_name(number)).and_then(|file| file.read_at(&mut bytes, 0));
        match (read, SegmentHeader::decode(&bytes)) {
            (Ok(()), Head::Blank) => Ok(Usage::Free { kept: None, blank: true, abandoned: false }),
            (Ok(()), Head::Present { header, copies }) if header.kind == LogKind::Ring => {
                self.damage.header_copies += u32::from(copies < 2);
                Err(header)
            }
            (Ok(()), Head::Present { .. }) => Ok(Usage::Foreign),
            (Ok(()), Head::Corrupted) => {
                self.damage.headers += 1;
                self.headless.push(number);
                Ok(Usage::Foreign)
            }
            (Err(_), _) => {
                // Perhaps the next start can read it: it is left alone.
                self.damage.headers += 1;
                Ok(Usage::Foreign)
            }
        }
    }

    fn read_segment<D: Disk>(
        &mut self,
        disk: &D,
        number: usize,
        header: &SegmentHeader,
        ours: &Ours,
        bytes: &mut Vec<u8>,
    ) {
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        bytes.resize(self.slots[number].len as usize, 0);
        match disk.open(&file_name(number)) {
            Ok(file) => {
                if file.read_at(bytes, 0).is_err() {
                    self.damage.unreadable_pieces += read_pieces(&file, bytes, 0) as u32;
                }
            }
            Err(_) => {
                bytes.fill(0);
                self.damage.unreadable_pieces += 1;
            }
        }
        let at = self.lanes.iter().position(|known| known.lane == lane).unwrap_or_else(|| {
            self.lanes.push(FoundLane::new(lane, header));
            self.lanes.len() - 1
        });
        let (mut table, mut last_critical, mut named) = (None, None, Vec::new());
        let (segment, stretches) = self.lanes[at].walk(number, bytes, header, ours, &mut |entry| {
            let (batch, first) = (&entry.batch, entry.batch.header().first);
            let tables = tables_in(batch);
            if !tables.is_empty() {
                table = Some((tables, first));
            }
            if lane.stream == Stream::Critical {
                let stopped = read_critical(batch, &ours.source, &mut self.declared);
                last_critical = Some(LastCritical { clock: batch.header().clock, stopped });
            }
            if named.last() != Some(&entry.head.other) {
                named.push(entry.head.other);
            }
        });
        for other in named {
            self.name(lane.stream, other, header.generation);
        }
        // Copies repeat what their originals have stated.
        if self.lanes[at].reseals.is_none() {
            self.last_critical = last_critical.or(self.last_critical);
        }
        if let Some((tables, sequence)) = table {
            let table = FoundTable { tables, generation: header.generation, age: self.age(at, sequence) };
            let newest = &mut self.tables[usize::from(lane.stream.number())];
            if newest.as_ref().is_none_or(|newest| newest.age <= table.age) {
                *newest = Some(table);
            }
        }
        self.stretches.push((lane, segment.end, stretches));
        self.slots[number].usage = Usage::Taken(segment);
    }

    /// Counts the damaged events that are held. Released events are not lost.
    pub fn count_damage(&mut self) {
        let lanes = &self.lanes;
        let held = |lane: Lane, end: Sequence| {
            lanes.iter().any(|known| known.lane == lane && (known.released_end < end || end == known.first))
        };
        let stretches = self.stretches.iter().filter(|(lane, end, _)| held(*lane, *end));
        self.damage.stretches = stretches.map(|(_, _, count)| count).sum();
        let torn = lanes.iter().filter(|lane| lane.is_torn && !lane.is_closed);
        self.damage.torn_tails = torn.count() as u32;
    }

    /// How new the content of a lane is: the lane that it was first written to, by its oldest segment, and the sequence
    /// in it.
    fn age(&self, mut index: usize, sequence: Sequence) -> (u64, u64) {
        let mut at = sequence.get();
        for _ in 0..=self.lanes.len() {
            let lane = &self.lanes[index];
            let Some((epoch, first)) = lane.reseals else { return (lane.first_generation, at) };
            at = first.get().saturating_add(at.saturating_sub(1));
            let original = Lane { stream: lane.lane.stream, epoch };
            match self.lanes.iter().position(|known| known.lane == original) {
                Some(original) => index = original,
                None => break,
            }
        }
        (0, at)
    }
}

fn other(stream: Stream) -> Stream {
    match stream {
        Stream::Critical => Stream::Samples,
        Stream::Samples => Stream::Critical,
    }
}

impl FoundLane {
    fn new(lane: Lane, header: &SegmentHeader) -> Self {
        let first = Sequence::new(header.first_ordinal);
        let chain = (first == Sequence::ZERO).then_some(CHAIN_START);
        Self {
            lane,
            first_generation: header.generation,
            last_generation: header.generation,
            first,
            end: first,
            released_end: Sequence::ZERO,
            lost_end: Sequence::ZERO,
            chain,
            source: None,
            is_ours: true,
            holes: Vec::new(),
            vanished: Vec::new(),
            is_short: false,
            is_closed: false,
            reseals: None,
            is_resealed: false,
            torn: None,
            torn_vanished: None,
            is_torn: false,
            last: 0,
            last_entry_at: None,
        }
    }

    /// Goes through the entries of the lane's next segment; returns what is known of it, and how many stretches of it
    /// cannot be read.
    fn walk(
        &mut self,
        number: usize,
        bytes: &[u8],
        header: &SegmentHeader,
        ours: &Ours,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> (Segment, u32) {
        let mut scan = Scan::new(bytes, header.seed());
        let (mut stretches, mut last, mut bounds) = (0, None, None);
        self.last = number;
        self.last_generation = header.generation;
        self.torn = None;
        self.last_entry_at = None;
        while let Some(step) = scan.step() {
            match step {
                Step::Entry(position, entry) if self.takes(&entry) => {
                    let range = entry.batch.header().range();
                    bounds = Some((bounds.map_or(range.first, |(first, _)| first), range.end));
                    self.entry(&entry);
                    self.last_entry_at = Some(position);
                    if range.first == Sequence::ZERO {
                        self.reseals = resealed_in(&entry.batch, &ours.source);
                    }
                    each(&entry);
                    last = Some(entry.batch);
                }
                Step::Entry(..) | Step::Corrupt { .. } => stretches += 1,
            }
        }
        if let (Some(batch), Some(verifier)) = (&last, &ours.verifier) {
            self.is_ours = verifier.verify(batch).is_some();
        }
        let chain = last.map(|batch| batch.chain_hash());
        if let (Some(chain), Some((_, end))) = (chain, bounds)
            && end == self.end
        {
            self.chain = Some(chain);
        }
        let begins = Sequence::new(header.first_ordinal);
        if bounds.is_none() && begins > self.end {
            self.hole(SequenceRange { first: self.end, end: begins }, CHAIN_START);
            self.end = begins;
            self.chain = None;
        }
        if let Tail::Torn { claim, .. } = scan.tail() {
            let claimed = claim.filter(|claim| claim.ordinal <= self.end.get()).map(|claim| claim.end_ordinal());
            let end = Sequence::new(claimed.unwrap_or(self.end.get().saturating_add(1)));
            self.torn = Some(SequenceRange { first: self.end, end });
        }
        let (first, end) = bounds.unwrap_or((begins, begins));
        let segment = Segment {
            lane: self.lane,
            generation: header.generation,
            first,
            end,
            bytes_end: scan.tail().end().get(),
            chain: chain.unwrap_or(CHAIN_START),
            abandoned: false,
        };
        (segment, stretches)
    }

    /// Whether the entry can be the lane's next one, or one that is there twice.
    fn takes(&self, entry: &Entry<'_>) -> bool {
        let header = entry.batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let twice = header.end() <= self.end;
        lane == self.lane && entry.head.ordinal == header.first.get() && (header.first >= self.end || twice)
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let header = entry.batch.header();
        self.released_end = self.released_end.max(Sequence::new(entry.head.acked_end));
        self.source = Some(header.source);
        if header.first > self.end {
            self.hole(SequenceRange { first: self.end, end: header.first }, header.previous);
        }
        if header.end() > self.end {
            self.end = header.end();
        }
    }

    fn hole(&mut self, range: SequenceRange, chain: ChainHash) {
        self.holes.push(FoundHole { range, chain });
    }

    /// Records the losses that were declared before this start.
    fn take_declared(&mut self, declared: &[Loss]) {
        let of_lane = declared.iter().filter(|loss| lane_of(loss) == self.lane);
        let given_up = of_lane.filter(|loss| matches!(loss.reason, LossReason::Evicted | LossReason::Refused));
        let given_up = given_up.map(|loss| loss.end).max().unwrap_or_default();
        self.released_end = self.released_end.max(given_up).min(self.end);
        self.lost_end = given_up.min(self.end);
        // Whatever was declared behind the end had a sequence.
        self.is_short |= declared.iter().any(|loss| lane_of(loss) == self.lane && loss.end > self.end);
        // What was declared damaged stays so, even if the disk gives it now.
        let (lane, corrupt) = (self.lane, LossReason::Corrupt);
        for loss in declared.iter().filter(|loss| lane_of(loss) == lane && loss.reason == corrupt) {
            let range = SequenceRange { first: loss.first.min(self.end), end: loss.end.min(self.end) };
            if range.first < range.end {
                self.hole(range, loss.chain);
            }
        }
    }
}

/// The source lane of a lane with copied events, as its first batch names it.
fn resealed_in(batch: &Batch<'_>, source: &SourceId) -> Option<(Epoch, Sequence)> {
    let record = codec::records(batch, &mut []).ok()?.next()?.ok()?;
    match record.event.body {
        Body::LifeCycle(LifeCycle::Resealed { stream, epoch, first, .. })
            if stream == batch.header().stream && record.event.subject.as_str() == source.as_str() =>
        {
            Some((epoch, first))
        }
        _ => None,
    }
}

/// Keeps the losses of this source that a critical batch declares; returns whether its last event is a stop of the
/// agent.
pub(super) fn read_critical(batch: &Batch<'_>, source: &SourceId, declared: &mut Vec<Loss>) -> bool {
    let Ok(records) = codec::records(batch, &mut []) else { return false };
    // Events of the log and the agent about themselves have their name as the subject.
    if !records.subjects().iter().any(|subject| subject.as_str() == source.as_str()) {
        return false;
    }
    let mut stopped = false;
    for record in records.map_while(Result::ok) {
        if matches!(record.event.body, Body::Progress(_) | Body::Followed(_)) {
            // It accompanies other events and states nothing by itself.
            continue;
        }
        let of_source = record.event.subject.as_str() == source.as_str();
        stopped = of_source && matches!(record.event.body, Body::LifeCycle(LifeCycle::Stopped { .. }));
        let Body::Loss(loss) = record.event.body else { continue };
        if !of_source {
            continue;
        }
        match declared.last_mut() {
            Some(last) if last.end == loss.first && last.reason == loss.reason && lane_of(last) == lane_of(&loss) => {
                (last.end, last.chain) = (loss.end, loss.chain);
            }
            _ => declared.push(loss),
        }
    }
    stopped
}
