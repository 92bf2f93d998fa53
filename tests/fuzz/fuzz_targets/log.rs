//! The unified log's segment files against a model: what was committed is read back, at its offset and once, after
//! refusals, power cuts in any operation and starts that are cut as well; what was not is there whole or not at all.
//! Then the newest segment holds whatever the input says: the log opens, and what is not damaged is read back.
//!
//! Input: eight bytes of the disk's chance, the number of steps, three bytes a step (what is done, and its figures), and
//! the rest: two bytes where in the newest segment the damage begins, one what becomes of its end, and the damage.
#![no_main]

use std::sync::OnceLock;

use afferent_collector::log::{EmbeddedLog, LogSettings, ReadError, Recovery, UnifiedLog};
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN, entry_len};
use afferent_protocol::sign::Identity;
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 64;
/// Small enough that a few commits need several.
const SETTINGS: LogSettings = LogSettings { segment_bytes: 8192 };
/// How many samples the batches have that are appended; the last one is longer than a segment.
const COUNTS: [u64; 6] = [1, 2, 3, 40, 120, 1500];

type Log = EmbeddedLog<SimDisk>;

/// Batches are all that a log sees: which sequence they have does not matter to it.
fn batches() -> &'static [Vec<u8>] {
    static BATCHES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    BATCHES.get_or_init(|| {
        let identity = Identity::from_seed(&[3; 32]);
        let sealed = |(number, count): (usize, &u64)| {
            let mut builder = BatchBuilder::new();
            for index in 0..*count {
                let value = Value::Integer(index as i64);
                let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
                let event = Event { time: Timestamp::clamped(1), subject: Subject::literal("88-C/spindle"), body };
                builder.push(&event).expect("it is a sample");
            }
            let lineage = Lineage {
                source: SourceId::literal("press"),
                stream: Stream::Samples,
                epoch: Epoch::new(number as u64),
                first: Sequence::ZERO,
                previous: CHAIN_START,
            };
            let wall = Timestamp::clamped(2);
            let clock = ClockReading { wall, monotonic_us: 5, synchronised: true, boot: [7; 16] };
            let mut bytes = Vec::new();
            builder.seal(&lineage, &clock, &identity, &mut bytes);
            bytes
        };
        COUNTS.iter().enumerate().map(sealed).collect()
    })
}

/// A batch in the log: its first offset, and which of [`batches`] it is.
type At = (u64, usize);

fn end((first, kind): At) -> u64 {
    first + COUNTS[kind]
}

/// Which one this is, held against all its bytes.
fn kind_of(batch: &Batch<'_>) -> usize {
    let kind = batch.header().epoch.get() as usize;
    let (known, _) = Batch::parse(&batches()[kind]).expect("it was sealed here");
    assert!(batch.header() == known.header() && batch.chain_hash() == known.chain_hash(), "it is as it was appended");
    kind
}

fn try_open(disk: &SimDisk) -> Option<(Log, Recovery, Vec<At>)> {
    let mut found = Vec::new();
    let mut each = |head: &EntryHead, batch: &Batch<'_>| found.push((head.ordinal, kind_of(batch)));
    let opened = Log::open(disk.clone(), SETTINGS, &mut || 7, Timestamp::clamped(3), &mut each);
    opened.ok().map(|(log, recovery)| (log, recovery, found))
}

/// What a reader finds, over damage where there is some.
fn read(log: &Log, may_be_damaged: bool) -> Vec<At> {
    let (reader, mut scratch) = (log.reader(), Vec::new());
    let (mut at, mut found) = (reader.first(), Vec::new());
    while at < reader.durable_end() {
        match reader.read(at, 4000, &mut scratch) {
            Ok(chunk) => {
                found.extend(chunk.entries().map(|entry| (entry.head.ordinal, kind_of(&entry.batch))));
                assert!(chunk.next() > at, "a reader goes on");
                at = chunk.next();
            }
            Err(ReadError::Corrupt { end, .. }) if may_be_damaged => {
                assert!(end > at, "a reader goes on behind damage");
                at = end;
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

/// The log, and what must be true of it.
struct Model {
    disk: SimDisk,
    log: Log,
    committed: Vec<At>,
    /// What was appended since the last commit.
    appended: Vec<At>,
    /// What commits that failed have held since the last one that did not: a crash may leave a beginning of one.
    failed: Vec<Vec<At>>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::of_seed(seed);
        let (log, ..) = try_open(&disk).expect("an empty disk takes a log");
        Self { disk, log, committed: Vec::new(), appended: Vec::new(), failed: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.appended.last().or(self.committed.last()).map_or(0, |last| end(*last))
    }

    fn append(&mut self, kind: usize) {
        let (batch, _) = Batch::parse(&batches()[kind]).expect("it was sealed here");
        let expected = self.end();
        assert_eq!(self.log.append(&batch, Timestamp::clamped(4)), Offset::new(expected), "offsets are dense");
        self.appended.push((expected, kind));
    }

    fn commit(&mut self) {
        let appended = std::mem::take(&mut self.appended);
        match self.log.commit() {
            Ok(durable) => {
                if !appended.is_empty() {
                    self.failed.clear();
                }
                self.committed.extend(appended);
                assert_eq!(durable, Offset::new(self.end()));
            }
            Err(error) => {
                assert!(!error.is_unknown(), "a file either takes a commit or is given up");
                self.failed.push(appended);
            }
        }
        assert_eq!(self.log.durable_end(), Offset::new(self.end()), "nothing of a commit that failed counts");
    }

    /// The log is opened on a disk that refuses nothing, and holds what was committed.
    fn open(&mut self) {
        self.disk.refuse(0, 0);
        self.disk.stop_never();
        let (log, recovery, found) = try_open(&self.disk).expect("what chance leaves opens");
        // Writes that did not finish are named, and nothing else: of a header, and of the log's end.
        let of_entries = log.damage_at_opening().iter();
        let of_entries = of_entries.filter(|damage| damage.to.get() > SEGMENT_HEADER_LEN as u64).count();
        assert!(of_entries <= usize::from(recovery.torn), "a power cut is no damage: {recovery:?}");
        assert!(recovery.holes.is_empty(), "nothing that was committed is missing: {recovery:?}");
        assert!(found.starts_with(&self.committed), "{:?} was committed, and {found:?} is there", self.committed);
        let rest = &found[self.committed.len()..];
        let is_of = |failed: &Vec<At>| failed.starts_with(rest);
        assert!(rest.is_empty() || self.failed.iter().any(is_of), "{rest:?} was never appended");
        assert_eq!(read(&log, false), found, "readers find what the start has found");
        (self.log, self.committed) = (log, found);
        (self.appended, self.failed) = Default::default();
        assert_eq!(self.log.durable_end(), Offset::new(self.end()));
    }

    fn power_cut(&mut self) {
        self.failed.push(std::mem::take(&mut self.appended));
        self.disk = self.disk.power_cut();
    }

    fn step(&mut self, [what, a, b]: [u8; 3]) {
        match what % 8 {
            0..=2 => (0..b % 8 + 1).for_each(|_| self.append(usize::from(a) % COUNTS.len())),
            3 => self.commit(),
            4 => self.disk.refuse(u64::from(a % 8), u64::from(b % 8)),
            // The power goes in the middle of a commit.
            5 => {
                self.disk.stop_after(u64::from(a % 16));
                self.commit();
                self.power_cut();
                self.open();
            }
            // It goes in the middle of a start.
            6 => {
                self.power_cut();
                self.disk.stop_after(u64::from(a % 8));
                // What a start shows it has decided.
                if let Some((_, _, found)) = try_open(&self.disk) {
                    assert!(found.starts_with(&self.committed));
                    (self.committed, self.failed) = (found, Vec::new());
                }
                self.power_cut();
                self.open();
            }
            _ => {
                self.failed.push(std::mem::take(&mut self.appended));
                self.disk = self.disk.process_end();
                self.open();
            }
        }
    }
}

/// First offset and generation of a segment, by its name.
fn of_name(name: &str) -> Option<(u64, u64)> {
    let (first, generation) = name.strip_suffix(".seg")?.split_once('-')?;
    Some((first.parse().ok()?, generation.parse().ok()?))
}

/// Something else stands in the newest segment, from `at` on.
fn damaged(mut model: Model, at: u16, end_is: u8, damage: &[u8]) {
    model.power_cut();
    model.open();
    let names = model.disk.names();
    let newest = names.iter().filter_map(|name| of_name(name).map(|(first, of)| (of, first, name))).max();
    let Some((_, first, name)) = newest else { return };
    let mut bytes = model.disk.bytes(name);
    let at = usize::from(at) % bytes.len().max(1);
    bytes.truncate(match end_is % 4 {
        0 => at,
        1 => at + damage.len(),
        _ => bytes.len(),
    });
    bytes.resize(bytes.len().max(at + damage.len()), 0);
    bytes[at..at + damage.len()].copy_from_slice(damage);
    model.disk.replace(name, &bytes);

    // What lies before the damage, by the lengths of its entries.
    let mut position = SEGMENT_HEADER_LEN;
    let mut is_whole = |(offset, kind): &At| {
        if *offset >= first {
            position += entry_len(batches()[*kind].len());
        }
        *offset < first || (at >= SEGMENT_HEADER_LEN && position <= at)
    };
    let expected: Vec<At> = model.committed.iter().copied().filter(|at| is_whole(at)).collect();
    let (mut log, _, found) = try_open(&model.disk).expect("damage is no reason not to open");
    assert!(expected.iter().all(|at| found.contains(at)), "{expected:?} is not damaged, and {found:?} is there");
    assert!(found.is_sorted_by(|one, next| end(*one) <= next.0), "offsets go up");
    let read_back = read(&log, true);
    assert!(expected.iter().all(|at| read_back.contains(at)), "{expected:?} is not damaged, and {read_back:?} is read");

    // The log goes on, and the next start finds it so.
    let (batch, _) = Batch::parse(&batches()[0]).expect("it was sealed here");
    let after = (log.append(&batch, Timestamp::clamped(4)).get(), 0);
    assert!(log.commit().is_ok(), "nothing is refused");
    let (.., found) = try_open(&model.disk.power_cut()).expect("it opens again");
    assert_eq!(found.last(), Some(&after), "what was appended behind damage is there");
    assert!(expected.iter().all(|at| found.contains(at)));
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, rest)) = data.split_first_chunk::<8>() else { return };
    let Some((count, rest)) = rest.split_first() else { return };
    let (steps, _) = rest.as_chunks::<3>();
    let steps = &steps[..steps.len().min(usize::from(*count) % STEPS_MAX)];
    let rest = &rest[steps.len() * 3..];
    let mut model = Model::new(u64::from_le_bytes(*seed));
    steps.iter().for_each(|step| model.step(*step));
    match rest {
        [low, high, end_is, damage @ ..] => damaged(model, u16::from_le_bytes([*low, *high]), *end_is, damage),
        _ => {
            model.power_cut();
            model.open();
        }
    }
});
