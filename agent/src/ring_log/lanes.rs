//! The lanes that the ring holds: how far each goes, how far it was released, and its holes.

use afferent_protocol::batch::{CHAIN_START, ChainHash};
use afferent_protocol::ids::{Epoch, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::session::{Held, Lane};
use afferent_protocol::sign::sha256;

/// A lane, and how far it is written and released.
#[derive(Clone, Debug)]
pub(super) struct LaneState {
    pub lane: Lane,
    /// Everything before it was acked by the next log, or declared as lost.
    pub released_end: Sequence,
    /// What is before it was given up: it is not shown again, even where it can still be read.
    pub lost_end: Sequence,
    /// The first sequence that is not on disk.
    pub end: Sequence,
    /// Chain hash of the batch that ends at `end`; `None` when it is unknown.
    pub chain: Option<ChainHash>,
    /// Declared ranges, in order.
    pub holes: Vec<SequenceRange>,
    /// The name under which it was written, where that is not the one that the agent has now: it is shipped as that.
    pub under: Option<SourceId>,
    /// Its tail was torn, or may be in a file that cannot be read: there may have been more of it than is here.
    pub frayed: bool,
    /// The lane has ended: its events are, or will be, copied to a new epoch. It is not shipped.
    pub resealed: bool,
}

impl LaneState {
    /// A lane in which nothing was written yet.
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            released_end: Sequence::ZERO,
            lost_end: Sequence::ZERO,
            end: Sequence::ZERO,
            chain: Some(CHAIN_START),
            holes: Vec::new(),
            under: None,
            frayed: false,
            resealed: false,
        }
    }

    /// Releases everything before `end`, and holes that follow.
    pub fn release(&mut self, end: Sequence) {
        self.released_end = self.released_end.max(end.min(self.end));
        for hole in &self.holes {
            if hole.first <= self.released_end {
                self.released_end = self.released_end.max(hole.end);
            }
        }
    }

    /// Holds again what begins at `to`, behind a hole that begins there.
    pub fn rewind(&mut self, to: Sequence) {
        assert!(to < self.released_end, "only what was released is held again");
        self.released_end = to;
        self.release(to);
    }

    /// Records a range that was declared as lost; one that touches others becomes one with them.
    pub fn add_hole(&mut self, mut hole: SequenceRange) {
        self.holes.retain(|known| {
            let apart = known.end < hole.first || hole.end < known.first;
            if !apart {
                hole.first = hole.first.min(known.first);
                hole.end = hole.end.max(known.end);
            }
            apart
        });
        let at = self.holes.partition_point(|known| known.first < hole.first);
        self.holes.insert(at, hole);
        assert!(self.holes.is_sorted_by(|one, next| one.end < next.first), "holes are in order and do not touch");
        self.release(self.released_end);
    }

    /// Where what can be read from `from` on ends: at the next hole, or where the lane does.
    pub fn whole_until(&self, from: Sequence) -> Sequence {
        self.holes.iter().find(|hole| hole.end > from).map_or(self.end, |hole| hole.first)
    }

    /// The readable events that are not released, up to the first hole: events behind it are held once the hole is
    /// gone.
    pub fn held(&self) -> Held {
        Held { lane: self.lane, first: self.released_end, end: self.whole_until(self.released_end) }
    }

    /// Whether the lane has events that are not released.
    pub fn is_held(&self) -> bool {
        self.released_end < self.end
    }

    /// Number of events that are on disk and not released.
    pub fn unacked(&self) -> u64 {
        let held_holes = self.holes.iter().filter(|hole| hole.first > self.released_end);
        self.end.since(self.released_end) - held_holes.map(|hole| hole.count()).sum::<u64>()
    }
}

/// All lanes, in the order in which they were begun.
#[derive(Debug)]
pub(super) struct Lanes {
    list: Vec<LaneState>,
    current: [Lane; 2],
}

impl Lanes {
    /// The lanes that a start has found, and those that are written to, which are added where they are new.
    pub fn new(found: Vec<LaneState>, current: [Lane; 2]) -> Self {
        let mut lanes = Self { list: found, current };
        assert_eq!(current.map(|lane| lane.stream), Stream::ALL, "each stream is written to a lane of its own");
        for lane in current {
            lanes.begin(lane);
        }
        lanes
    }

    /// Makes `lane` the one that its stream is written to.
    pub fn begin(&mut self, lane: Lane) {
        self.current[usize::from(lane.stream.number())] = lane;
        if self.get(lane).is_none() {
            self.list.push(LaneState::new(lane));
        }
    }

    /// The lane that the stream is written to.
    pub fn current(&self, stream: Stream) -> &LaneState {
        self.get(self.current[usize::from(stream.number())]).expect("the lanes that are written to are never forgotten")
    }

    /// The state of a lane, if the ring holds it.
    pub fn get(&self, lane: Lane) -> Option<&LaneState> {
        self.list.iter().find(|known| known.lane == lane)
    }

    /// The state of a lane, if the ring holds it.
    pub fn get_mut(&mut self, lane: Lane) -> Option<&mut LaneState> {
        self.list.iter_mut().find(|known| known.lane == lane)
    }

    /// Whether its stream is written to it.
    pub fn is_current(&self, lane: Lane) -> bool {
        self.current[usize::from(lane.stream.number())] == lane
    }

    /// Forgets lanes that nothing is held of and nothing can be read of, unless they are written to.
    pub fn forget_gone(&mut self, can_be_read: impl Fn(Lane) -> bool) {
        let current = self.current;
        self.list.retain(|lane| lane.is_held() || current.contains(&lane.lane) || can_be_read(lane.lane));
    }

    /// Adds a lane that its stream is not written to, behind the one whose events it takes.
    pub fn add_behind(&mut self, before: Lane, lane: Lane) {
        assert!(self.get(lane).is_none(), "copies go to an epoch that was never used");
        assert_eq!(before.stream, lane.stream, "copies stay in their stream");
        let at = self.list.iter().position(|known| known.lane == before).map_or(self.list.len(), |at| at + 1);
        self.list.insert(at, LaneState::new(lane));
    }

    /// The lanes, in the order in which they were begun.
    pub fn iter(&self) -> impl Iterator<Item = &LaneState> {
        self.list.iter()
    }
}

/// Draws new epochs: what the system's entropy gave at the start, hashed with a counter.
#[derive(Debug)]
pub(super) struct Epochs {
    seed: [u8; 32],
    drawn: u64,
}

impl Epochs {
    /// From entropy.
    pub fn new(entropy: &mut dyn FnMut() -> u64, source: &SourceId) -> Self {
        let mut bytes = source.as_str().as_bytes().to_vec();
        for _ in 0..4 {
            bytes.extend_from_slice(&entropy().to_le_bytes());
        }
        Self { seed: sha256(&bytes), drawn: 0 }
    }

    /// A lane of the stream that never was before.
    pub fn draw(&mut self, stream: Stream) -> Lane {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.seed);
        bytes[32..].copy_from_slice(&self.drawn.to_le_bytes());
        self.drawn += 1;
        let hash = sha256(&bytes);
        let epoch = Epoch::new(u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes")));
        Lane { stream, epoch }
    }

    /// Sixteen random bytes.
    pub fn draw_id(&mut self) -> [u8; 16] {
        let (one, other) = (self.draw(Stream::Critical), self.draw(Stream::Samples));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&one.epoch.get().to_le_bytes());
        id[8..].copy_from_slice(&other.epoch.get().to_le_bytes());
        id
    }
}
