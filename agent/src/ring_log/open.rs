//! Opening: from the files of an earlier run to a log that continues. It always starts.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{CHAIN_START, ClockReading};
use afferent_protocol::event::{Loss, LossReason, ResealReason};
use afferent_protocol::ids::{Position, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::segment::SegmentHeader;
use afferent_protocol::session::Lane;

use super::error::OpenError;
use super::lanes::{Epochs, LaneState, Lanes};
use super::loss::lane_of;
use super::pen::{Active, Pen};
use super::pool::{Pool, Usage, file_name};
use super::reader::Readers;
use super::recovery::{RecoveredLane, Recovery, StreamStart};
use super::settings::{RingIdentity, RingSettings};
use super::survey::{FoundLane, Survey, survey};
use super::witness::{WitnessWriter, read as read_witness};
use super::{RingLog, seed_of};
use crate::limits::ring_log::{GENERATION_STRIDE, SEGMENTS_MIN};

impl<D: Disk> RingLog<D> {
    /// Reads every segment once, continues where the log ended, and makes durable what was lost.
    ///
    /// A stream continues in its epoch when its last segment ends whole and no record names a larger end, and in a new
    /// one otherwise: what stood behind the end may have been accepted, and no sequence is ever given twice. `witness`
    /// is the directory of the ring's witness, which must differ from `disk`.
    pub fn open(
        disk: D,
        witness: D,
        settings: RingSettings,
        who: RingIdentity,
        clock: &ClockReading,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<(Self, Recovery), OpenError> {
        let settings = settings.within_limits();
        let mut found = survey(&disk, &who).map_err(OpenError::List)?;
        found.end_is_unknown_without_headers();
        let (slot, unread) = match read_witness(&witness) {
            Ok(slot) => (slot, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let record = slot.as_ref().map(|slot| &slot.record);
        let witness_start = found.weigh(record);
        found.confront(record, witness_start, &clock.boot);
        found.count_damage();
        let mut epochs = Epochs::new(entropy, &who.source);
        let slots = std::mem::take(&mut found.slots);
        let RingSettings { segment_bytes, pool_bytes, .. } = settings;
        let mut pool = Pool { disk, slots, segment_bytes, pool_bytes, names_are_durable: false, removals: 0 };
        make_files(&mut pool)?;
        let known_id = found.newest.map(|newest| newest.log_id).or(record.map(|record| record.log_id));
        let log_id = known_id.unwrap_or_else(|| epochs.draw_id());
        let witnessed = record.filter(|record| record.log_id == log_id).map_or(0, |record| record.generation);
        let newest_generation = found.newest.map_or(0, |newest| newest.generation).max(witnessed);
        let next_generation =
            if newest_generation == 0 { 1 } else { newest_generation.saturating_add(GENERATION_STRIDE) };
        let losses = found.undeclared_losses();
        let mut states: Vec<LaneState> = found.lanes.iter().map(|lane| found.state(lane, &who.source)).collect();
        for loss in &losses {
            let lane =
                states.iter_mut().find(|state| state.lane == lane_of(loss) && loss.reason == LossReason::Corrupt);
            if let Some(lane) = lane {
                lane.add_hole(SequenceRange { first: loss.first, end: loss.end });
            }
        }
        let front_is_missing = |(state, lane): (&LaneState, &FoundLane)| state.released_end < lane.first;
        if states.iter().zip(&found.lanes).any(front_is_missing) {
            // Without these files a start would take the front for acked.
            found.headless.clear();
        }
        let mut recovery = Recovery {
            is_new: found.newest.is_none() && found.damage.headers == 0 && record.is_none(),
            witness: witness_start,
            lanes: states.iter().map(recovered).collect(),
            damage: found.damage,
            losses: losses.clone(),
            last_critical: found.last_critical,
            foreign_files: found.foreign_files,
            ..Recovery::default()
        };
        let resumed = Stream::ALL.map(|stream| resume(&mut pool, &found, &log_id, stream, &who.source));
        let current = [0, 1].map(|at| match &resumed[at] {
            Ok(active) => pool.segment_mut(active.number).lane,
            Err(_) => epochs.draw(Stream::ALL[at]),
        });
        recovery.streams = [0, 1].map(|at| resumed[at].as_ref().err().copied().unwrap_or(StreamStart::Continued));
        let pinned = [0, 1].map(|at| found.tables[at].as_ref().map(|table| table.generation));
        recovery.tables =
            std::mem::take(&mut found.tables).map(|table| table.map(|table| table.tables).unwrap_or_default());
        let who_source = who.source;
        let mut log = Self {
            batch_bytes_max: settings.batch_bytes_max(),
            critical_reserve: settings.critical_reserve_segments as usize,
            pool,
            lanes: Lanes::new(states, current),
            heads: heads(resumed),
            buffers: Default::default(),
            readers: Readers::new(),
            who,
            log_id,
            next_generation,
            newest_generation,
            boot: clock.boot,
            witness: WitnessWriter::new(witness, slot.as_ref()),
            former_names: found.former_names(&who_source),
            reseals: Default::default(),
            epochs,
            pinned,
            undeclared: losses,
            loss_batch: Default::default(),
            counters: Default::default(),
        };
        found.keep_copies(&log.pool);
        recovery.resealed = log.reseal_found(&found);
        log.declare_losses(&found.headless, clock);
        recovery.undeclared = log.undeclared_count() > 0;
        // Both slots, so that the next writes find their files.
        log.sync_witness();
        log.sync_witness();
        recovery.witness_trouble = unread.or_else(|| log.witness_trouble());
        Ok((log, recovery))
    }

    /// Frees what is not needed and declares what was lost.
    fn declare_losses(&mut self, headless: &[usize], clock: &ClockReading) {
        self.sweep_where(|segment| segment.first < segment.end);
        self.forget_gone();
        if self.pay_debts(clock).is_err() {
            self.free_empty();
            // What the disk does not take now comes before anything else that is appended.
            let _ = self.pay_debts(clock);
        }
        // A file that shows a loss is freed after the loss was declared.
        if self.undeclared_count() == 0 {
            self.free_empty();
            for number in headless {
                self.pool.slots[*number].usage = Usage::Free { kept: None, blank: false, abandoned: true };
            }
            // Files that cannot be removed now are tried again when one is taken.
            let _ = self.pool.discard_unusable();
        }
        self.forget_gone();
    }

    /// Begins to seal again what is held under a different key, and continues with what was being sealed again.
    fn reseal_found(&mut self, found: &Survey) -> u32 {
        let mut count = 0;
        for lane in &found.lanes {
            let state = self.lanes.get(lane.lane).filter(|state| state.resealed && state.is_held());
            if state.is_some() {
                let reason = if lane.is_ours { ResealReason::Diverged } else { ResealReason::OtherKey };
                count += u32::from(!lane.is_ours);
                self.reseals.push(lane.lane, reason);
            }
        }
        for copy in &found.lanes {
            if let Some((epoch, _)) = copy.reseals {
                self.reseals.copies(copy.lane, Lane { stream: copy.lane.stream, epoch });
            }
        }
        count
    }

    /// Frees segments without a whole entry: the write that was to begin them had not finished.
    fn free_empty(&mut self) {
        let empty =
            self.pool.taken().filter(|(number, segment)| segment.first == segment.end && !self.is_active(*number));
        for number in empty.map(|(number, _)| number).collect::<Vec<_>>() {
            self.free_segment(number);
        }
    }
}

/// Makes the files that a ring needs, at least.
fn make_files<D: Disk>(pool: &mut Pool<D>) -> Result<(), OpenError> {
    while pool.files() < SEGMENTS_MIN {
        match pool.grow() {
            Ok(true) => {}
            Ok(false) => break,
            // With events to ship it starts all the same: that makes room.
            Err(_) if pool.taken().next().is_some() => break,
            Err(source) => {
                let (have, needed) = (pool.files(), SEGMENTS_MIN);
                let missing_bytes = (needed - have) as u64 * pool.segment_bytes;
                return Err(OpenError::NoSpace { have, needed, missing_bytes, source });
            }
        }
    }
    Ok(())
}

/// Continues in the stream's last segment, or returns why it cannot.
fn resume<D: Disk>(
    pool: &mut Pool<D>,
    found: &Survey,
    log_id: &[u8; 16],
    stream: Stream,
    source: &SourceId,
) -> Result<Active<D::File>, StreamStart> {
    if let Some(before) = found.doubtful[usize::from(stream.number())] {
        return Err(StreamStart::Vanished { before });
    }
    // What is, or was, sealed again continues in neither of its epochs.
    let of_stream = |lane: &&FoundLane| lane.lane.stream == stream;
    let mut lanes = found.lanes.iter().rev().filter(of_stream);
    let newest = lanes.clone().next().ok_or(StreamStart::First)?;
    let newest = lanes.find(|lane| lane.reseals.is_none()).unwrap_or(newest);
    let before = newest.lane.epoch;
    if newest.reseals.is_some() || newest.is_resealed {
        return Err(StreamStart::Ended { before });
    }
    let opened = pool.disk.open(&file_name(newest.last));
    let end = pool.segment_mut(newest.last).bytes_end;
    let opened = opened.and_then(|file| write_again(&file, newest.last_entry_at, end).map(|()| file));
    if opened.is_err() {
        pool.spoil(newest.last);
    }
    let file = opened.map_err(|_| StreamStart::Unwritable { before })?;
    if newest.torn.is_some() {
        return Err(StreamStart::TornTail { before });
    }
    if newest.is_short {
        let vanished = newest.vanished.is_empty() && newest.is_closed;
        return Err(if vanished { StreamStart::Ended { before } } else { StreamStart::Vanished { before } });
    }
    if newest.source.is_some_and(|known| known != *source) {
        return Err(StreamStart::Renamed { before });
    }
    if !newest.is_ours {
        return Err(StreamStart::OtherKey { before });
    }
    if newest.chain.is_none() || found.damage.headers > 0 {
        return Err(StreamStart::Unknown { before });
    }
    let segment = pool.segment_mut(newest.last);
    if segment.end != newest.end {
        return Err(StreamStart::Unknown { before });
    }
    let seed = seed_of(log_id, segment.generation);
    Ok(Active { number: newest.last, file, seed, position: segment.bytes_end })
}

/// Makes the last entry durable: a process that was killed may have left it in the system's memory only, and after a
/// refused sync that memory is not even known to differ from the disk. Only writing the same bytes again mends that.
fn write_again(file: &impl DiskFile, entry_at: Option<Position>, end: u64) -> io::Result<()> {
    if let Some(at) = entry_at.map(Position::get) {
        let mut bytes = vec![0; (end - at) as usize];
        file.read_at(&mut bytes, at)?;
        file.write_at(&bytes, at)?;
    }
    file.sync()
}

/// The segments that the streams continue in; nothing is being copied.
fn heads<F>(resumed: [Result<Active<F>, StreamStart>; 2]) -> [Option<Active<F>>; Pen::COUNT] {
    let [critical, samples] = resumed.map(Result::ok);
    [critical, samples, None]
}

fn recovered(lane: &LaneState) -> RecoveredLane {
    RecoveredLane { lane: lane.lane, first: lane.released_end, end: lane.end, foreign: lane.under.is_some() }
}

impl Survey {
    /// A file whose header is gone may have been the last one of either stream.
    fn end_is_unknown_without_headers(&mut self) {
        if self.damage.headers == 0 {
            return;
        }
        for stream in Stream::ALL {
            let newest = self.lanes.iter_mut().rev().find(|lane| lane.lane.stream == stream);
            if let Some(lane) = newest.filter(|lane| lane.torn.is_none()) {
                let end = Sequence::new(lane.end.get().saturating_add(1));
                lane.torn = Some(SequenceRange { first: lane.end, end });
            }
        }
    }

    /// What is missing and was not declared by an earlier start.
    fn undeclared_losses(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let (stream, epoch) = (lane.lane.stream, lane.lane.epoch);
            let loss = |range: SequenceRange, reason, chain| {
                let (first, end) = (range.first, range.end);
                Loss { stream, epoch, first, end, reason, chain }
            };
            let vanished = lane.vanished.iter().map(|(range, reason)| loss(*range, *reason, CHAIN_START));
            let holes = lane.holes.iter().map(|hole| loss(hole.range, LossReason::Corrupt, hole.chain));
            // An epoch begins only after the torn tail of the one before was declared; what is sealed again may begin
            // at any time.
            let mut later = self.lanes[index + 1..].iter().filter(|later| later.lane.stream == stream);
            let declared = lane.is_closed || later.any(|later| later.source.is_some() && later.reseals.is_none());
            let reason = lane.torn_vanished.unwrap_or(LossReason::TornTail);
            let torn = lane.torn.filter(|_| !declared).map(|range| loss(range, reason, CHAIN_START));
            losses.extend(vanished.chain(holes).chain(torn).filter_map(|loss| self.undeclared_part(lane, loss)));
        }
        let of_lanes = self.losses_of_lanes.iter().copied();
        losses.extend(of_lanes.filter_map(|loss| self.not_declared(lane_of(&loss), loss)));
        losses
    }

    /// The lane as it goes on.
    ///
    /// Files are taken again only when what was in them is acked or declared, and so what is missing at a lane's front
    /// is: unless there is a file whose header cannot be read. Then it may be in that one. The next log says whether it
    /// has it; what it asks for, and is missing, is declared when it is to be read.
    fn state(&self, found: &FoundLane, source: &SourceId) -> LaneState {
        let all_headers = self.damage.headers == 0;
        let trimmed = if all_headers { found.first } else { Sequence::ZERO };
        let mut state = LaneState {
            lane: found.lane,
            released_end: found.released_end.max(trimmed).min(found.end),
            lost_end: found.lost_end,
            end: found.end,
            chain: found.chain,
            holes: Vec::new(),
            under: found.source.filter(|known| known != source),
            resealed: found.is_resealed || !found.is_ours,
            frayed: found.torn.is_some() || !all_headers,
        };
        for hole in &found.holes {
            state.add_hole(hole.range);
        }
        state
    }

    /// The part of a loss that is neither released nor declared.
    fn undeclared_part(&self, lane: &FoundLane, mut loss: Loss) -> Option<Loss> {
        loss.first = loss.first.max(lane.released_end);
        self.not_declared(lane.lane, loss)
    }

    /// The part of a loss that is not declared.
    fn not_declared(&self, lane: Lane, mut loss: Loss) -> Option<Loss> {
        loop {
            let covers = |known: &&Loss| lane_of(known) == lane && known.first <= loss.first && loss.first < known.end;
            match self.declared.iter().find(covers) {
                Some(known) => loss.first = known.end,
                None => return (loss.first < loss.end).then_some(loss),
            }
        }
    }

    /// Names that batches in the files have and the agent has no more.
    fn former_names(&self, source: &SourceId) -> Vec<SourceId> {
        let mut names: Vec<SourceId> = self.lanes.iter().filter_map(|lane| lane.source).collect();
        names.retain(|name| name != source);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What was sealed again and may be in the system's memory only is on disk before its originals go.
    fn keep_copies<D: Disk>(&self, pool: &Pool<D>) {
        for copy in self.lanes.iter().filter(|lane| lane.reseals.is_some()) {
            if let Some(segment) = pool.slots[copy.last].usage.segment()
                && let Ok(file) = pool.disk.open(&file_name(copy.last))
            {
                // What the disk does not take now it has, or a power cut leaves the rest to be declared.
                let _ = write_again(&file, copy.last_entry_at, segment.bytes_end);
            }
        }
    }
}

/// The header that an entry's seed comes from.
pub(super) fn header_for_seed(log_id: &[u8; 16], generation: u64) -> SegmentHeader {
    SegmentHeader {
        kind: afferent_protocol::segment::LogKind::Ring,
        log_id: *log_id,
        generation,
        stream: Stream::Critical,
        epoch: afferent_protocol::ids::Epoch::new(0),
        first_ordinal: 0,
        begun: afferent_protocol::ids::Timestamp::default(),
    }
}
