//! Random appends, releases, restarts, refusals and power cuts against a model that knows what was accepted.

use std::collections::BTreeMap;

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::Stream;
use proptest::prelude::*;

use super::memory_disk::MemoryDisk;
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
    ]
}

/// What must be true of the ring, kept apart from it.
struct Model {
    disk: MemoryDisk,
    log: RingLog<MemoryDisk>,
    accepted: BTreeMap<(Lane, u64), i64>,
    /// What the next log has.
    taken: BTreeMap<(Lane, u64), i64>,
    losses: Vec<Loss>,
    /// Marks of sealed batches that wait, and how many events each has.
    waiting: [Option<(i64, i64)>; 2],
    mark: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let disk = MemoryDisk::new(seed);
        let log = open(&disk, 7).0;
        let (accepted, taken) = (BTreeMap::new(), BTreeMap::new());
        Self { disk, log, accepted, taken, losses: Vec::new(), waiting: [None; 2], mark: 1 }
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
            if let Some(loss) = seen.loss {
                assert_ne!(loss.reason, LossReason::Corrupt, "a power cut is no damage: {loss:?}");
                self.losses.push(loss);
            }
        }
    }

    fn release(&mut self, stream: Stream, batches: u64) {
        let Some(held) = self.log.held().into_iter().find(|held| held.lane.stream == stream) else { return };
        let mut from = held.first;
        let mut out = Vec::new();
        for _ in 0..batches {
            if from < held.end {
                from = self.log.read(held.lane, from, 1, &clock(), &mut out).unwrap()[0].end;
            }
        }
        self.take(events(&out));
        self.log.release(held.lane, from);
    }

    fn restart(&mut self) {
        self.waiting = [None; 2];
        self.disk.refuse(0, 0);
        self.log = open(&self.disk, 7).0;
        let losses = self.log.held();
        for (index, held) in losses.iter().enumerate() {
            assert!(losses[..index].iter().all(|other| other.lane != held.lane));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(stream, bytes) => self.append(stream, bytes),
            Step::Release(stream, batches) => self.release(stream, batches),
            Step::Drain => {
                let seen = drain(&mut self.log);
                self.take(seen);
            }
            Step::Restart => self.restart(),
            Step::PowerCut(cut) => {
                if let Some(stream) = cut {
                    // Every sync from here on is refused, and any part of what was written may be there.
                    self.disk.refuse(1, 1000);
                    let _ = self.log.append(stream, &mut batch(stream, 1_000_000_000, 1, 5_000), &clock());
                }
                self.disk.power_cut();
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

    fn finish(mut self) {
        self.disk.power_cut();
        self.restart();
        let seen = drain(&mut self.log);
        self.take(seen);
        for ((lane, at), mark) in &self.accepted {
            let lost = |reason: Option<LossReason>| {
                self.losses.iter().any(|loss| {
                    (loss.stream, loss.epoch) == (lane.stream, lane.epoch)
                        && (loss.first..loss.end).contains(&sequence(*at))
                        && reason.is_none_or(|reason| reason == loss.reason)
                })
            };
            assert!(!lost(Some(LossReason::TornTail)), "what was accepted does not go with a torn tail");
            match self.taken.get(&(*lane, *at)) {
                Some(taken) => assert_eq!(taken, mark),
                None => assert!(lost(None), "{lane:?} {at} is gone without a word"),
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
