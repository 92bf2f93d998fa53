//! Starting: from what the files say to a log that goes on. It always starts.

use std::io;

use afferent_protocol::batch::{CHAIN_START, ClockReading};
use afferent_protocol::disk::{Disk, DiskFile};
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Position, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::segment::SegmentHeader;

use super::append::Active;
use super::error::OpenError;
use super::lanes::{Epochs, LaneState, Lanes};
use super::limits::{GENERATION_STRIDE, SEGMENTS_MIN};
use super::loss::lane_of;
use super::pool::{Pool, Usage, file_name};
use super::reader::Readers;
use super::recovery::{RecoveredLane, Recovery, StreamStart};
use super::settings::{RingIdentity, RingSettings};
use super::survey::{FoundLane, Survey, survey};
use super::{RingLog, seed_of};

impl<D: Disk> RingLog<D> {
    /// Reads every segment once, goes on where the log ended, and makes durable what was lost.
    ///
    /// A stream goes on in its epoch when its last segment ends whole, and in a new one otherwise: what stood behind
    /// the end may have been accepted, and no sequence is ever given twice.
    pub fn open(
        disk: D,
        settings: RingSettings,
        who: RingIdentity,
        clock: &ClockReading,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<(Self, Recovery), OpenError> {
        let settings = settings.within_limits();
        let mut found = survey(&disk, &who.source).map_err(OpenError::List)?;
        found.end_is_unknown_without_headers();
        let mut epochs = Epochs::new(entropy, &who.source);
        let slots = std::mem::take(&mut found.slots);
        let RingSettings { segment_bytes, pool_bytes, .. } = settings;
        let mut pool = Pool { disk, slots, segment_bytes, pool_bytes, names_are_durable: false };
        make_files(&mut pool)?;
        let log_id = found.newest.map_or_else(|| epochs.draw_id(), |newest| newest.log_id);
        let next_generation = found.newest.map_or(1, |newest| newest.generation.saturating_add(GENERATION_STRIDE));
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
            is_new: found.newest.is_none() && found.damage.headers == 0,
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
        let pinned = [0, 1].map(|at| found.devices[at].as_ref().map(|table| table.generation));
        recovery.devices =
            std::mem::take(&mut found.devices).map(|table| table.map(|table| table.devices).unwrap_or_default());
        let mut log = Self {
            batch_bytes_max: settings.batch_bytes_max(),
            critical_reserve: settings.critical_reserve_segments as usize,
            pool,
            lanes: Lanes::new(states, current),
            heads: resumed.map(Result::ok),
            buffers: Default::default(),
            readers: Readers::new(),
            who,
            log_id,
            next_generation,
            finished: 0,
            epochs,
            pinned,
            undeclared: losses,
            loss_batch: Default::default(),
            counters: Default::default(),
        };
        log.settle(&found.headless, clock);
        recovery.undeclared = log.undeclared_count() > 0;
        Ok((log, recovery))
    }

    /// Frees what is not needed and declares what was lost.
    fn settle(&mut self, headless: &[usize], clock: &ClockReading) {
        self.sweep_where(|segment| segment.first < segment.end);
        if self.pay_debts(clock).is_err() {
            self.free_empty();
            // What the disk does not take now comes before anything else that is appended.
            let _ = self.pay_debts(clock);
        }
        // What tells of a loss goes after the loss was told.
        if self.undeclared_count() == 0 {
            self.free_empty();
            for number in headless {
                self.pool.slots[*number].usage = Usage::Free { generation: 0, blank: false, abandoned: true };
            }
            // Files that cannot be removed now are tried again when one is taken.
            let _ = self.pool.discard_unusable();
        }
        self.lanes.forget_empty();
    }

    /// Frees segments without a whole entry: the write that was to begin them had not finished.
    fn free_empty(&mut self) {
        let active = |number: usize| self.heads.iter().flatten().any(|active| active.number == number);
        let empty = self.pool.taken().filter(|(number, segment)| segment.first == segment.end && !active(*number));
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

/// Goes on in the stream's last segment, or says why not.
fn resume<D: Disk>(
    pool: &mut Pool<D>,
    found: &Survey,
    log_id: &[u8; 16],
    stream: Stream,
    source: &SourceId,
) -> Result<Active<D::File>, StreamStart> {
    let newest = found.lanes.iter().rev().find(|lane| lane.lane.stream == stream).ok_or(StreamStart::First)?;
    let before = newest.lane.epoch;
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
    if newest.source.is_some_and(|known| known != *source) {
        return Err(StreamStart::Renamed { before });
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

fn recovered(lane: &LaneState) -> RecoveredLane {
    RecoveredLane { lane: lane.lane, first: lane.released_end, end: lane.end, foreign: lane.foreign }
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
            let holes = lane.holes.iter().map(|hole| loss(hole.range, LossReason::Corrupt, hole.chain));
            // An epoch begins only after the torn tail of the one before was declared.
            let mut later = self.lanes[index + 1..].iter().filter(|later| later.lane.stream == stream);
            let declared = later.any(|later| later.source.is_some());
            let torn = lane.torn.filter(|_| !declared).map(|range| loss(range, LossReason::TornTail, CHAIN_START));
            losses.extend(holes.chain(torn).filter_map(|loss| self.undeclared_part(lane, loss)));
        }
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
            end: found.end,
            chain: found.chain,
            holes: Vec::new(),
            foreign: found.source.is_some_and(|known| known != *source),
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
        loop {
            let covers =
                |known: &&Loss| lane_of(known) == lane.lane && known.first <= loss.first && loss.first < known.end;
            match self.declared.iter().find(covers) {
                Some(known) => loss.first = known.end,
                None => return (loss.first < loss.end).then_some(loss),
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
