//! Random appends, releases, restarts, refusals, power cuts, rollbacks of the next log, partings and lost files against
//! a model that knows what was accepted.

use std::collections::{BTreeMap, BTreeSet};

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::event::{LossReason, ResealReason};
use afferent_protocol::ids::Stream;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Stream, usize),
    Release(Stream, u64),
    Drain,
    Restart,
    /// The power goes, perhaps in the middle of an append.
    PowerCut(Option<Stream>),
    Refuse(u64, u64),
    Retry,
    /// The next log is put back by so many batches.
    Rewind(Stream, u64),
    /// The next log has something else behind what it has acked; so many steps are made at once.
    Reseal(Stream, u8),
    ResealSteps(u8),
    /// A file of the ring is gone when it starts again.
    LoseFile(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || prop_oneof![Just(Stream::Critical), Just(Stream::Samples)];
    prop_oneof![
        12 => (stream(), prop_oneof![100..2_000usize, 2_000..20_000usize]).prop_map(|(s, n)| Step::Append(s, n)),
        3 => (stream(), 0..6u64).prop_map(|(stream, batches)| Step::Release(stream, batches)),
        1 => Just(Step::Drain),
        1 => Just(Step::Restart),
        2 => proptest::option::of(stream()).prop_map(Step::PowerCut),
        1 => (0..6u64, 0..12u64).prop_map(|(first, count)| Step::Refuse(first, count)),
        1 => Just(Step::Retry),
        1 => (stream(), 0..9u64).prop_map(|(stream, back)| Step::Rewind(stream, back)),
        1 => (stream(), 0..12u8).prop_map(|(stream, steps)| Step::Reseal(stream, steps)),
        2 => (0..30u8).prop_map(Step::ResealSteps),
        1 => (0..8usize).prop_map(Step::LoseFile),
    ]
}

/// What must be true of the ring, kept apart from it.
struct Model {
    disk: SimDisk,
    log: RingLog<SimDisk>,
    accepted: BTreeMap<(Lane, u64), i64>,
    /// What the next log has.
    taken: BTreeMap<(Lane, u64), i64>,
    losses: Vec<Loss>,
    /// Marks of sealed batches that wait, and how many events each has.
    waiting: [Option<(i64, i64)>; 2],
    mark: i64,
    /// How far the next log has each lane.
    acked: BTreeMap<Lane, Sequence>,
    /// Lanes that hold another one's events once more, and the first of their sequences there.
    copies: BTreeMap<Lane, (Lane, u64)>,
    /// The lane and sequence under which the next log has each event.
    delivered: BTreeMap<i64, (Lane, u64)>,
    boot: u8,
    /// Files were lost, with them perhaps what was declared.
    files_lost: bool,
    /// What the next log once had and has lost: where the ring cannot show it any more, it finds the gap.
    forgotten: BTreeSet<i64>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::of_seed(seed);
        let log = open(&disk, 7).0;
        let (accepted, taken) = (BTreeMap::new(), BTreeMap::new());
        Self {
            disk,
            log,
            accepted,
            taken,
            losses: Vec::new(),
            waiting: [None; 2],
            mark: 1,
            acked: BTreeMap::new(),
            copies: BTreeMap::new(),
            delivered: BTreeMap::new(),
            boot: 0,
            files_lost: false,
            forgotten: BTreeSet::new(),
        }
    }

    fn appended(&mut self, appended: &Appended) {
        let (mark, count) = self.waiting[usize::from(appended.lane.stream.number())].take().unwrap();
        assert_eq!(appended.range.count(), count as u64);
        for at in 0..count as u64 {
            let place = (appended.lane, appended.range.first.get() + at);
            assert_eq!(self.accepted.insert(place, mark + at as i64), None, "no sequence is given twice");
        }
    }

    fn append(&mut self, stream: Stream, bytes: usize) {
        let count = if stream == Stream::Samples { (bytes / 1000).max(1) as i64 } else { 1 };
        let mut builder = batch(stream, self.mark, count, bytes);
        let was_pending = self.log.pending(stream);
        let result = self.log.append(stream, &mut builder, &clock());
        if builder.is_empty() {
            assert!(!was_pending);
            self.waiting[usize::from(stream.number())] = Some((self.mark, count));
        }
        assert_eq!(self.log.pending(stream), was_pending || (builder.is_empty() && result.is_err()));
        self.mark += count;
        if let Ok(appended) = result {
            self.appended(&appended);
        }
    }

    fn take(&mut self, seen: Vec<Seen>) {
        for seen in seen {
            let before = self.taken.insert((seen.lane, seen.sequence), seen.mark);
            assert!(before.is_none_or(|before| before == seen.mark), "the same sequence with another event");
            if seen.loss.is_none() && self.accepted.values().any(|mark| *mark == seen.mark) {
                let here = (seen.lane, seen.sequence);
                let known = *self.delivered.entry(seen.mark).or_insert(here);
                // What was sealed again in a file that was lost is sealed again once more, whether it had arrived or
                // not: then what the first events of the epochs name leads to one place.
                let is_named = self.files_lost && self.origin(known) == self.origin(here);
                assert!(known == here || is_named, "event {} is there twice", seen.mark);
            }
            if let Some(loss) = seen.loss.filter(|_| !self.files_lost) {
                assert_ne!(loss.reason, LossReason::Corrupt, "a power cut is no damage: {loss:?}");
            }
            self.losses.extend(seen.loss);
        }
    }

    /// Where an event was accepted, by what the lanes say that it was sealed again in.
    fn origin(&self, (mut lane, mut sequence): (Lane, u64)) -> (Lane, u64) {
        while let Some((original, first)) = self.copies.get(&lane).filter(|_| sequence > 0) {
            (lane, sequence) = (*original, first + sequence - 1);
        }
        (lane, sequence)
    }

    fn release(&mut self, stream: Stream, batches: u64) {
        let Some(held) = self.log.held().into_iter().find(|held| held.lane.stream == stream) else { return };
        let mut from = held.first;
        let mut out = Vec::new();
        for _ in 0..batches {
            if from < held.end {
                match self.log.read(held.lane, from, 1, &clock(), &mut out) {
                    Ok(batches) => from = batches[0].end,
                    Err(error) => {
                        assert!(self.files_lost, "{error}");
                        break;
                    }
                }
            }
        }
        self.take(events(&out));
        self.acks(held.lane, from);
        self.log.release(held.lane, from);
    }

    fn drain(&mut self) {
        self.seal_again(u8::MAX);
        let seen = drain(&mut self.log);
        self.take(seen);
        let ends: Vec<_> = self.log.held().iter().map(|held| (held.lane, held.first)).collect();
        ends.into_iter().for_each(|(lane, end)| self.acks(lane, end));
    }

    fn acks(&mut self, lane: Lane, end: Sequence) {
        let acked = self.acked.entry(lane).or_default();
        *acked = end.max(*acked);
    }

    /// What was acked is forgotten by the next log, which says so.
    fn rewind(&mut self, stream: Stream, back: u64) {
        let Some(held) = self.log.held().into_iter().find(|held| held.lane.stream == stream) else { return };
        let oldest = self.log.oldest(held.lane);
        let Ok(ends) = self.log.boundaries(held.lane, held.first, oldest, 1000) else { return };
        let ends: Vec<Sequence> = std::iter::once(oldest).chain(ends.into_iter().map(|(end, _)| end)).collect();
        let to = ends[ends.len().saturating_sub(1 + back as usize)];
        if self.log.rewind(held.lane, to) {
            self.acked.insert(held.lane, to);
            let forgotten = self.taken.extract_if((held.lane, to.get())..(held.lane, u64::MAX), |_, _| true);
            let forgotten: Vec<_> = forgotten.collect();
            for (_, mark) in forgotten {
                self.delivered.remove(&mark);
                self.forgotten.insert(mark);
            }
            assert!(
                self.log.held().iter().any(|now| now.lane == held.lane && now.first >= to && now.first <= held.first)
            );
        }
    }

    fn reseal(&mut self, stream: Stream, steps: u8) {
        let Some(held) = self.log.held().into_iter().find(|held| held.lane.stream == stream) else { return };
        let from = held.first.max(self.acked.get(&held.lane).copied().unwrap_or_default());
        self.log.reseal(held.lane, from, ResealReason::Diverged, &clock());
        self.seal_again(steps);
    }

    fn seal_again(&mut self, steps: u8) {
        let mut refused = 0;
        while self.log.resealing() && refused < steps {
            refused += 1;
            let result = self.log.reseal_step(&clock());
            self.copies.extend(self.log.reseals.origin(&self.log.lanes));
            if steps == u8::MAX && result.is_ok() {
                refused = 0;
            }
        }
    }

    fn lose_file(&mut self, index: usize) {
        let mut files: Vec<usize> = self.log.pool.readable().map(|(number, _)| number).collect();
        files.sort_unstable();
        let Some(number) = files.get(index % files.len().max(1)) else { return };
        self.files_lost = true;
        self.disk.lose(&crate::ring_log::pool::file_name(*number));
        self.restart();
    }

    fn restart(&mut self) {
        self.waiting = [None; 2];
        self.disk.refuse(0, 0);
        let clock = ClockReading { boot: [self.boot; 16], ..clock() };
        let (log, _) = open_as(&self.disk, 7, who("press-1"), &clock).unwrap();
        self.log = log;
        let held = self.log.held();
        for (index, known) in held.iter().enumerate() {
            assert!(held[..index].iter().all(|other| other.lane != known.lane));
            // What the next log has lost it asks for once more; the session goes back to what the ring still has of it.
            let acked = self.acked.get(&known.lane).copied().unwrap_or_default();
            let to = acked.max(self.log.oldest(known.lane));
            if to < known.first {
                self.log.rewind(known.lane, to);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(stream, bytes) => self.append(stream, bytes),
            Step::Release(stream, batches) => self.release(stream, batches),
            Step::Drain => self.drain(),
            Step::Rewind(stream, back) => self.rewind(stream, back),
            Step::Reseal(stream, steps) => self.reseal(stream, steps),
            Step::ResealSteps(steps) => self.seal_again(steps),
            Step::LoseFile(index) => self.lose_file(index),
            Step::Restart => self.restart(),
            Step::PowerCut(cut) => {
                if let Some(stream) = cut {
                    // Every sync from here on is refused, and any part of what was written may be there.
                    self.disk.refuse(1, 1000);
                    let _ = self.log.append(stream, &mut batch(stream, 1_000_000_000, 1, 5_000), &clock());
                }
                self.boot = self.boot.wrapping_add(1);
                self.disk.lose_power();
                self.restart();
            }
            Step::Refuse(first, count) => self.disk.refuse(first, count),
            Step::Retry => {
                if let Ok(appended) = self.log.retry(&clock()) {
                    appended.iter().for_each(|appended| self.appended(appended));
                }
            }
        }
    }

    /// Whether the event is declared as lost, where it was accepted or where it was sealed again.
    fn is_lost(&self, lane: Lane, at: u64, reason: Option<LossReason>) -> bool {
        let declared = self.losses.iter().any(|loss| {
            let is_in = (loss.first..loss.end).contains(&sequence(at));
            // There may have been more than it names.
            let is_behind = loss.reason == LossReason::VanishedAtLeast && sequence(at) >= loss.end;
            (loss.stream, loss.epoch) == (lane.stream, lane.epoch)
                && (is_in || is_behind)
                && reason.is_none_or(|reason| reason == loss.reason)
        });
        let copies = self.copies.iter().filter(|(_, (original, first))| *original == lane && *first <= at);
        declared || copies.clone().any(|(copy, (_, first))| self.is_lost(*copy, at - first + 1, reason))
    }

    fn finish(mut self) {
        self.boot = self.boot.wrapping_add(1);
        self.disk.lose_power();
        self.restart();
        self.drain();
        if self.log.resealing() {
            // A full ring has room for copies once the next log has what else is in it.
            self.drain();
        }
        assert!(!self.log.resealing(), "what is to be sealed again stays in the ring forever");
        // With a critical file goes what it declared: that is declared in its turn.
        let declarations_lost = self.losses.iter().any(|loss| loss.stream == Stream::Critical);
        for ((lane, at), mark) in &self.accepted {
            let torn = self.is_lost(*lane, *at, Some(LossReason::TornTail));
            assert!(!torn || self.files_lost, "what was accepted does not go with a torn tail");
            if let Some(taken) = self.taken.get(&(*lane, *at)) {
                assert_eq!(taken, mark);
            } else if !self.delivered.contains_key(mark) {
                let excused = self.files_lost && (declarations_lost || self.forgotten.contains(mark));
                assert!(excused || self.is_lost(*lane, *at, None), "{lane:?} {at} is gone without a word");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_accepted_is_there_or_declared(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new(seed);
        for step in &steps {
            model.step(step);
        }
        model.finish();
    }
}
