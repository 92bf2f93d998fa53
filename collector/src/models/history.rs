//! The reports of one machine, in the order of [`Order`], whatever order they came in.
//!
//! A report equal to its predecessor, at the same distance, takes one byte.

use std::cmp::Ordering;

use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use serde::{Deserialize, Serialize};

use super::LoggedEvent;
use super::order::Order;
use super::packed::{Pack, Packed, get_number, get_signed, put_number, put_signed};
use super::pool::Pool;
use super::report::Report;

/// The source, stream and epoch that number a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Lane {
    source: SourceId,
    stream: Stream,
    epoch: Epoch,
}

/// One report: its time, lane and content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEntry {
    time: i64,
    lane: u32,
    what: u32,
    sequence: u64,
    offset: u64,
}

/// The entry before, and its distance to its predecessor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreviousReport {
    last: ReportEntry,
    time_step: i64,
    offset_step: i64,
}

const SAME_TIME_STEP: u8 = 1;
const SAME_LANE: u8 = 1 << 1;
const SAME_WHAT: u8 = 1 << 2;
const NEXT_SEQUENCE: u8 = 1 << 3;
const SAME_OFFSET_STEP: u8 = 1 << 4;

impl PreviousReport {
    fn steps(&self, entry: &ReportEntry) -> (i64, i64) {
        let offset_step = entry.offset.wrapping_sub(self.last.offset).cast_signed();
        (entry.time.wrapping_sub(self.last.time), offset_step)
    }

    fn pass(&mut self, entry: ReportEntry) {
        (self.time_step, self.offset_step) = self.steps(&entry);
        self.last = entry;
    }
}

impl Pack for ReportEntry {
    type Before = PreviousReport;

    fn put(&self, before: &mut PreviousReport, to: &mut Vec<u8>) {
        let (time_step, offset_step) = before.steps(self);
        let sequence_step = self.sequence.wrapping_sub(before.last.sequence).cast_signed();
        let flags = [
            (SAME_TIME_STEP, time_step == before.time_step),
            (SAME_LANE, self.lane == before.last.lane),
            (SAME_WHAT, self.what == before.last.what),
            (NEXT_SEQUENCE, sequence_step == 1),
            (SAME_OFFSET_STEP, offset_step == before.offset_step),
        ];
        let flags = flags.iter().fold(0, |all, (flag, holds)| if *holds { all | flag } else { all });
        to.push(flags);
        if flags & SAME_TIME_STEP == 0 {
            put_signed(time_step.wrapping_sub(before.time_step), to);
        }
        if flags & SAME_LANE == 0 {
            put_number(self.lane.into(), to);
        }
        if flags & SAME_WHAT == 0 {
            put_number(self.what.into(), to);
        }
        if flags & NEXT_SEQUENCE == 0 {
            put_signed(sequence_step, to);
        }
        if flags & SAME_OFFSET_STEP == 0 {
            put_signed(offset_step, to);
        }
        before.pass(*self);
    }

    fn get(before: &mut PreviousReport, from: &mut &[u8]) -> Option<Self> {
        let (flags, rest) = from.split_first()?;
        *from = rest;
        let last = before.last;
        let time_step = match flags & SAME_TIME_STEP {
            0 => before.time_step.wrapping_add(get_signed(from)?),
            _ => before.time_step,
        };
        let lane = if flags & SAME_LANE == 0 { u32::try_from(get_number(from)?).ok()? } else { last.lane };
        let what = if flags & SAME_WHAT == 0 { u32::try_from(get_number(from)?).ok()? } else { last.what };
        let sequence_step = if flags & NEXT_SEQUENCE == 0 { get_signed(from)? } else { 1 };
        let offset_step = if flags & SAME_OFFSET_STEP == 0 { get_signed(from)? } else { before.offset_step };
        let entry = Self {
            time: last.time.wrapping_add(time_step),
            lane,
            what,
            sequence: last.sequence.wrapping_add(sequence_step.cast_unsigned()),
            offset: last.offset.wrapping_add(offset_step.cast_unsigned()),
        };
        before.pass(entry);
        Some(entry)
    }
}

/// The time and offset of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The corrected time.
    pub time: Timestamp,
    /// The offset.
    pub offset: u64,
}

/// The reports of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportHistory {
    entries: Packed<ReportEntry>,
    lanes: Pool<Lane>,
    whats: Pool<Report>,
    /// Bytes of lanes and reports.
    bytes: usize,
}

impl ReportHistory {
    /// Adds a report. A report that is already there changes nothing.
    pub fn insert(&mut self, seen: &LoggedEvent<'_>, report: Report) {
        let lane = Lane { source: seen.batch.source, stream: seen.batch.stream, epoch: seen.batch.epoch };
        let (bytes, (what, is_new)) = (report.bytes(), self.whats.hold(report));
        self.bytes += if is_new { bytes } else { 0 };
        let (lane, is_new) = self.lanes.hold(lane);
        self.bytes += if is_new { size_of::<Lane>() } else { 0 };
        let (time, sequence, offset) = (seen.time.micros(), seen.sequence.get(), seen.offset.get());
        let entry = ReportEntry { time, lane, what, sequence, offset };
        let lanes = &self.lanes;
        if !self.entries.insert(entry, |left, right| compare(lanes, left, right), |known, _| known) {
            self.release(entry);
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes + self.entries.bytes()
    }

    /// Whether all of its oldest chunk is before this time.
    pub fn begins_before(&self, time: i64) -> bool {
        self.entries.front().is_some_and(|entry| entry.time < time)
    }

    /// Passes all reports, in order.
    pub fn each(&self, mut take: impl FnMut(At, &Report)) {
        self.entries.iter().for_each(|entry| take(at(&entry), self.whats.get(entry.what)));
    }

    /// Removes the oldest reports and passes them; returns the order of the last of them.
    pub fn take_front(&mut self, take: impl FnMut(At, &Report)) -> Option<Order> {
        let taken = self.entries.take_front();
        self.release_all(&taken, take)
    }

    /// Removes the reports before this time and passes them.
    pub fn take_before(&mut self, time: Timestamp, take: impl FnMut(At, &Report)) {
        let taken = self.entries.take_while(|entry| entry.time < time.micros());
        self.release_all(&taken, take);
    }

    fn release_all(&mut self, taken: &[ReportEntry], mut take: impl FnMut(At, &Report)) -> Option<Order> {
        let last = taken.last().map(|entry| self.order(entry));
        for entry in taken {
            take(at(entry), self.whats.get(entry.what));
            self.release(*entry);
        }
        last
    }

    fn order(&self, entry: &ReportEntry) -> Order {
        let lane = self.lanes.get(entry.lane);
        Order {
            time: Timestamp::clamped(entry.time),
            source: lane.source,
            stream: lane.stream,
            epoch: lane.epoch,
            sequence: Sequence::new(entry.sequence),
            offset: Offset::new(entry.offset),
        }
    }

    fn release(&mut self, entry: ReportEntry) {
        if let Some(report) = self.whats.release(entry.what) {
            self.bytes -= report.bytes();
        }
        if self.lanes.release(entry.lane).is_some() {
            self.bytes -= size_of::<Lane>();
        }
    }
}

fn at(entry: &ReportEntry) -> At {
    At { time: Timestamp::clamped(entry.time), offset: entry.offset }
}

fn compare(lanes: &Pool<Lane>, left: &ReportEntry, right: &ReportEntry) -> Ordering {
    let by_lane = || {
        if left.lane == right.lane {
            return Ordering::Equal;
        }
        let (left, right) = (lanes.get(left.lane), lanes.get(right.lane));
        (left.source, left.stream, left.epoch).cmp(&(right.source, right.stream, right.epoch))
    };
    let by_time = left.time.cmp(&right.time);
    by_time.then_with(by_lane).then_with(|| (left.sequence, left.offset).cmp(&(right.sequence, right.offset)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::report::{Condition, Kind};
    use super::super::testing::{seen_one, state};
    use super::*;
    use afferent_protocol::event::MachineState;

    fn executing() -> Report {
        Report { kind: Kind::State(Condition::Executing), subject: "88-C".into(), code: "".into(), words: "".into() }
    }

    #[test]
    fn a_report_that_is_repeated_on_time_takes_a_byte() {
        let history = seen_one(&state(0, "88-C", MachineState::Executing), |seen| {
            let mut history = ReportHistory::default();
            for number in 0..3600_u64 {
                let time = Timestamp::clamped(1_700_000_000_000_000 + number.cast_signed() * 1_000_000);
                let (sequence, offset) = (Sequence::new(number), Offset::new(20 * number));
                history.insert(&LoggedEvent { time, sequence, offset, ..*seen }, executing());
            }
            history
        });
        assert!(history.bytes() < 3600 + 3600 * 2, "{} bytes", history.bytes());
    }

    proptest! {
        #[test]
        fn entries_come_back_whatever_they_are(
            entries in proptest::collection::vec(
                (any::<i64>(), 0_u32..9, 0_u32..9, any::<u64>(), any::<u64>()), 0..50,
            ),
        ) {
            let of = |(time, lane, what, sequence, offset)| ReportEntry { time, lane, what, sequence, offset };
            let entries: Vec<ReportEntry> = entries.into_iter().map(of).collect();
            let (mut bytes, mut before) = (Vec::new(), PreviousReport::default());
            entries.iter().for_each(|entry| entry.put(&mut before, &mut bytes));
            let (mut from, mut before) = (bytes.as_slice(), PreviousReport::default());
            let read: Vec<ReportEntry> = std::iter::from_fn(|| ReportEntry::get(&mut before, &mut from)).collect();
            prop_assert_eq!(read, entries);
        }
    }
}
