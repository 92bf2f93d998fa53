//! Where batches end: what a sender asks its receiver about to find where their histories part.

use std::io;

use afferent_host::disk::Disk;
use afferent_protocol::ids::Sequence;
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN};
use afferent_protocol::session::{Check, Lane};

use super::RingLog;
use super::pool::Segment;
use super::read::{Known, read_head};

impl<D: Disk> RingLog<D> {
    /// Up to `count` ends of batches of the lane behind `above` and up to `below`, spread evenly, with their checks, in
    /// order. The last one before or at `below` is among them. Those that damage hides are left out.
    pub fn boundaries(
        &mut self,
        lane: Lane,
        below: Sequence,
        above: Sequence,
        count: usize,
    ) -> io::Result<Vec<(Sequence, Check)>> {
        let mut ends = Vec::new();
        for (number, segment) in self.segments_between(lane, above, below) {
            self.walk_heads(number, &segment, &mut |head| {
                let end = Sequence::new(head.end_ordinal());
                if above < end && end <= below {
                    ends.push(end);
                }
                end < below
            })?;
        }
        ends.sort_unstable();
        ends.dedup();
        let mut boundaries = Vec::new();
        for end in spread(&ends, count) {
            if let Known::Check(check) = self.check_at(lane, end)? {
                boundaries.push((end, check));
            }
        }
        Ok(boundaries)
    }

    /// The beginning of the batch of the lane that has this sequence.
    pub(super) fn batch_around(&mut self, lane: Lane, sequence: Sequence) -> io::Result<Option<Sequence>> {
        let mut found = None;
        let after = sequence.checked_add(1).unwrap_or(sequence);
        for (number, segment) in self.segments_between(lane, sequence, after) {
            self.walk_heads(number, &segment, &mut |head| {
                if head.ordinal <= sequence.get() && sequence.get() < head.end_ordinal() {
                    found = Some(Sequence::new(head.ordinal));
                }
                head.end_ordinal() <= sequence.get()
            })?;
        }
        Ok(found)
    }

    /// Segments of the lane with sequences from `first` on and before `end`, oldest first.
    fn segments_between(&self, lane: Lane, first: Sequence, end: Sequence) -> Vec<(usize, Segment)> {
        let of_lane = self.pool.readable().filter(|(_, segment)| segment.lane == lane);
        let between = of_lane.filter(|(_, segment)| segment.first < end && first < segment.end);
        let mut segments: Vec<_> = between.map(|(number, segment)| (number, *segment)).collect();
        segments.sort_by_key(|(_, segment)| segment.generation);
        segments
    }

    /// Shows the heads of a segment's entries, as far as they are whole and `each` goes on.
    fn walk_heads(
        &mut self,
        number: usize,
        segment: &Segment,
        each: &mut dyn FnMut(&EntryHead) -> bool,
    ) -> io::Result<()> {
        self.open_reader(segment.lane, number)?;
        let (file, seed) = (self.reader_file(segment.lane, number), self.seed(segment.generation));
        let mut position = SEGMENT_HEADER_LEN as u64;
        while position < segment.bytes_end {
            let Some(head) = read_head(file, position, seed)? else { return Ok(()) };
            if !each(&head) {
                return Ok(());
            }
            position += head.entry_len() as u64;
        }
        Ok(())
    }
}

/// Up to `count` of these, evenly, the last one among them.
fn spread(ends: &[Sequence], count: usize) -> impl Iterator<Item = Sequence> {
    let taken = count.min(ends.len());
    (1..=taken).map(move |nth| ends[nth * ends.len() / taken - 1])
}
