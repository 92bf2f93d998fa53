//! Indexes: a search by them equals a search in the log, and a wrong index changes no result.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use afferent_host::disk::Disk;
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::Batch;
use afferent_protocol::event::{Body, Breakdown, LaneEnd, LaneEnds, LifeCycle, Loss, LossReason, Severity};
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Timestamp};
use afferent_protocol::limits::HEARTBEAT_BYTES_MAX;
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN};
use proptest::prelude::*;

use super::segment_index::{SegmentIndex, segment_of};
use super::{EmbeddedLog, LogReader, LogSettings, TimeKind};
use crate::limits::INDEX_EVERY_BYTES;
use crate::log::{
    Indexed, Kinds, NameHash, ReadLog, ReadLogError, Rebuild, Recovery, SegmentHistory, UnifiedLog, Wanted,
};
use crate::simulated::{Agent, clock, parse, source};
use crate::sources::Sources;

pub(super) type Log = EmbeddedLog<SimDisk>;

pub(super) const SMALL: LogSettings = LogSettings { segment_bytes: 8192 };

/// Sources, and how many batches and segments rebuilt them.
pub(super) struct Counted {
    pub sources: Sources,
    pub batches: usize,
    pub histories: usize,
}

impl Rebuild for Counted {
    fn begins(&mut self, first: Offset) {
        self.sources.begins(first);
    }

    fn batch(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        self.batches += 1;
        self.sources.batch(head, batch);
    }

    fn history(&mut self, history: &SegmentHistory) {
        self.histories += 1;
        self.sources.history(history);
    }
}

pub(super) fn open(disk: &SimDisk) -> (Log, Recovery, Counted) {
    let (log, recovery, mut found) = open_unread(disk);
    found.sources.find_unattested(&log.reader());
    (log, recovery, found)
}

/// A log that was not read since its start.
fn open_unread(disk: &SimDisk) -> (Log, Recovery, Counted) {
    let mut found = Counted { sources: Sources::new(source("collector")), batches: 0, histories: 0 };
    let (log, recovery) =
        Log::open_by_indexes(disk.clone(), SMALL, &mut || 7, clock(0).wall, &mut found).expect("it always opens");
    (log, recovery, found)
}

pub(super) fn open_reading_everything(disk: &SimDisk) -> (Log, Recovery, Sources) {
    let sources = RefCell::new(Sources::new(source("collector")));
    let mut each = |head: &EntryHead, batch: &Batch<'_>| sources.borrow_mut().rebuild(head, batch);
    let (log, recovery) = Log::open(disk.clone(), SMALL, &mut || 7, clock(0).wall, &mut each).expect("it always opens");
    (log, recovery, sources.into_inner())
}

pub(super) fn index_all(log: &Log) -> usize {
    let mut indexer = log.indexer();
    std::iter::from_fn(|| match indexer.step() {
        Indexed::UpToDate => None,
        step => Some(step),
    })
    .filter(|step| matches!(step, Indexed::Made { .. }))
    .count()
}

/// Several agents in turn: samples, breakdowns, losses, and the collector's own events.
pub(super) fn filled(disk: &SimDisk, batches: &[u8]) {
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut lathe = Agent::new("lathe", Stream::Critical, 2);
    let mut own = Agent::new("collector", Stream::Critical, 3);
    let key = press.identity.public_key().0;
    let (mut log, ..) = open_reading_everything(disk);
    for (second, what) in batches.iter().enumerate() {
        let range = (Sequence::new(u64::from(*what)), Sequence::new(u64::from(*what) + 3));
        let bytes = match what % 8 {
            0..4 => press.samples(1 + u64::from(*what) % 30),
            4 => lathe.event(Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: "" })),
            5 => lathe.loss(Loss {
                stream: Stream::Samples,
                epoch: Epoch::new(u64::from(what % 3)),
                first: range.0,
                end: range.1,
                reason: LossReason::Evicted,
                chain: [1; 32],
            }),
            6 => own.event(Body::LifeCycle(LifeCycle::KeyPinned { source: "press", key })),
            _ => {
                // A hole, as damage leaves it: with the gap that declares it, before or after the batches that follow.
                let (first, end) = (Sequence::new(press.next), Sequence::new(press.next + 5));
                press.next += 5;
                let (stream, epoch) = (Stream::Samples, Epoch::new(1));
                own.event(Body::LifeCycle(LifeCycle::Gap { source: "press", stream, epoch, first, end }))
            }
        };
        log.append(&parse(&bytes), clock(second as u64).wall);
        log.commit().unwrap();
    }
}

pub(super) fn mixed(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 37 % 251) as u8).collect()
}

pub(super) fn indexes(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".idx")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_start_by_indexes_knows_what_a_start_that_reads_everything_knows(
        batches in prop::collection::vec(any::<u8>(), 0..200),
        without in any::<u8>(),
    ) {
        let disk = SimDisk::of_seed(1);
        filled(&disk, &batches);
        let (log, before, sources) = open_reading_everything(&disk);
        index_all(&log);
        // Some of the indexes are missing.
        for (at, name) in indexes(&disk).iter().enumerate() {
            if (without >> (at % 8)) & 1 == 1 {
                disk.remove(name).unwrap();
            }
        }
        let kept = indexes(&disk).len();
        let (log, after, found) = open(&disk);
        prop_assert_eq!(found.histories, kept);
        prop_assert_eq!(&before, &after);
        prop_assert_eq!(format!("{sources:?}"), format!("{:?}", found.sources));
        prop_assert_eq!(log.durable_end(), before.end);
    }
}

#[test]
fn a_start_reads_indexes_and_the_newest_segment_alone() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(200));
    let (log, ..) = open_reading_everything(&disk);
    let made = index_all(&log);
    assert!(made > 5, "all but the newest segment: {made}");
    let (_, recovery, found) = open(&disk);
    assert_eq!((found.histories, recovery.batches), (made, 200));
    assert!(found.batches < 40, "{} batches were read", found.batches);
}

#[test]
fn no_flipped_bit_of_an_index_is_believed() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(60));
    let (log, before, sources) = open_reading_everything(&disk);
    index_all(&log);
    let name = indexes(&disk).remove(0);
    for bit in (0..disk.bytes(&name).len() * 8).step_by(3) {
        disk.change(&name, bit / 8, |byte| byte ^ (1 << (bit % 8)));
        let (_, after, found) = open(&disk);
        assert!(found.batches > 0 && found.histories < indexes(&disk).len(), "bit {bit} was believed");
        assert_eq!((before.clone(), format!("{sources:?}")), (after, format!("{:?}", found.sources)));
        disk.change(&name, bit / 8, |byte| byte ^ (1 << (bit % 8)));
    }
    // A wrong index is rebuilt.
    disk.change(&name, 40, |byte| !byte);
    let (log, ..) = open(&disk);
    assert_eq!(index_all(&log), 1);
    assert_eq!(open(&disk).2.histories, indexes(&disk).len());
}

#[test]
fn an_index_is_never_believed_over_its_segment() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(100));
    let (log, ..) = open_reading_everything(&disk);
    index_all(&log);
    let count = indexes(&disk).len();
    let segments: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
    // Its header, and its last entry.
    for at in [5, SEGMENT_HEADER_LEN] {
        let name = if at == 5 { &segments[0] } else { &segments[1] };
        let at = if at == 5 { at } else { disk.bytes(name).iter().rposition(|byte| *byte != 0).unwrap() };
        disk.change(name, at, |byte| byte ^ 1);
    }
    disk.change(&segments[0], 517, |byte| byte ^ 1);
    let (log, recovery, found) = open(&disk);
    assert_eq!(found.histories, count - 2);
    assert!(!log.damage_at_opening().is_empty() && !recovery.holes.is_empty(), "{recovery:?}");
    // A damaged segment never gets an index, so that every start reports it.
    index_all(&log);
    assert_eq!(open(&disk).1.holes, recovery.holes);
    // A lost segment.
    disk.remove(&segments[3]).unwrap();
    let (log, recovery, _) = open(&disk);
    assert!(recovery.holes.len() > 1, "{recovery:?}");
    assert_eq!(log.indexer().tidy(), 1);
}

/// A log of several segments, each with several points of its index, and the names of its indexes.
fn with_points(disk: &SimDisk) -> Vec<String> {
    let settings = LogSettings { segment_bytes: 3 * INDEX_EVERY_BYTES };
    let opened = Log::open(disk.clone(), settings, &mut || 7, clock(0).wall, &mut |_, _| {});
    let (mut log, _) = opened.expect("it always opens");
    let mut press = Agent::new("press", Stream::Samples, 1);
    for second in 0..1500 {
        log.append(&parse(&press.samples(20)), clock(second).wall);
        log.commit().unwrap();
    }
    index_all(&log);
    indexes(disk)
}

/// Changes an index; its checksum is right.
fn lie(disk: &SimDisk, name: &str, change: impl FnOnce(&mut SegmentIndex)) {
    let mut index: SegmentIndex = postcard::from_bytes(&disk.bytes(name)[16..]).unwrap();
    assert!(index.points.len() >= 3);
    change(&mut index);
    index.write(disk, &segment_of(name).unwrap()).unwrap();
}

/// The offsets that a reader gets that starts again at every `step`-th one, and the damage that it reports.
fn read_from_everywhere(log: &Log, step: u64) -> (BTreeSet<u64>, Vec<ReadLogError>) {
    let (mut found, mut damage) = (BTreeSet::new(), Vec::new());
    for from in (0..log.durable_end().get()).step_by(step as usize) {
        let until = Offset::new(from + step);
        let reader = log.reader();
        let read = reader.read_part(Offset::new(from), until, &mut Vec::new(), &mut |head, _| {
            found.extend((head.ordinal..head.end_ordinal()).filter(|offset| (from..from + step).contains(offset)));
            if head.end_ordinal() >= until.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        damage.extend(read.err());
    }
    (found, damage)
}

#[test]
fn a_lie_about_where_entries_are_costs_readers_nothing_and_is_mended() {
    let lies: [fn(&mut SegmentIndex); 4] = [
        |index| index.points[1].position += 8,
        |index| index.points[1].offset += 100,
        |index| index.points[2].offset -= 100,
        |index| _ = index.points.remove(1),
    ];
    for (nth, change) in lies.into_iter().enumerate() {
        let disk = SimDisk::of_seed(1);
        let names = with_points(&disk);
        let before = disk.bytes(&names[1]);
        lie(&disk, &names[1], change);
        let (log, _, found) = open(&disk);
        assert_eq!(found.histories, names.len(), "lie {nth} looks like the truth");
        let (offsets, damage) = read_from_everywhere(&log, 70);
        assert!(damage.is_empty(), "lie {nth}: {damage:?}");
        assert!(offsets.into_iter().eq(0..log.durable_end().get()), "lie {nth}");
        assert_eq!(disk.bytes(&names[1]), before, "lie {nth} is mended");
        for second in [0, 400, 700, 1100, 1499] {
            let at = log.reader().seek_time(TimeKind::Ingest, clock(second).wall).unwrap();
            assert_eq!(at, Offset::new(second * 20), "lie {nth}");
        }
    }
}

#[test]
fn points_of_finished_segments_are_on_the_disk_and_those_that_were_used_last_in_memory() {
    let disk = SimDisk::of_seed(1);
    let names = with_points(&disk);
    let (log, ..) = open_unread(&disk);
    let of_newest = log.reader().points_held();
    let per_segment = 3;
    assert_eq!(of_newest.1, 0, "nobody has read anything");
    assert!(of_newest.0 <= per_segment && names.len() >= 4, "{of_newest:?}");
    // The control: without indexes all are in memory.
    let (reading_everything, ..) = open_reading_everything(&disk);
    let all = reading_everything.reader().points_held().0;
    assert!(all > names.len() * 2, "{all}");
    index_all(&reading_everything);
    assert_eq!(reading_everything.reader().points_held(), of_newest, "they have gone to the disk");
    let (offsets, damage) = read_from_everywhere(&log, 70);
    assert!(damage.is_empty() && offsets.into_iter().eq(0..log.durable_end().get()));
    let (held, loaded) = log.reader().points_held();
    assert!(held == of_newest.0 && loaded <= all && loaded > 0, "{held}, {loaded}");
}

#[test]
fn an_index_that_goes_or_is_changed_while_the_log_is_open_costs_readers_nothing() {
    let harm: [fn(&SimDisk, &str); 4] = [
        |disk, name| disk.remove(name).unwrap(),
        |disk, name| disk.change(name, 40, |byte| !byte),
        |disk, name| lie(disk, name, |index| index.points[1].position += 8),
        |disk, name| lie(disk, name, |index| index.points[1].offset += 100),
    ];
    for (nth, harm) in harm.into_iter().enumerate() {
        let disk = SimDisk::of_seed(1);
        let names = with_points(&disk);
        let (log, ..) = open_unread(&disk);
        let before = disk.bytes(&names[1]);
        harm(&disk, &names[1]);
        let machine = Wanted { machine: Some(NameHash::machine("88-C")), ..Wanted::default() };
        let everywhere = 0..log.durable_end().get();
        assert!(stretches(&log.reader(), &machine).into_iter().eq(everywhere.clone()), "harm {nth}");
        let (offsets, damage) = read_from_everywhere(&log, 70);
        assert!(damage.is_empty(), "harm {nth}: {damage:?}");
        assert!(offsets.into_iter().eq(everywhere), "harm {nth}");
        assert_eq!(disk.bytes(&names[1]), before, "harm {nth} is mended");
        for second in [0, 400, 700, 1100, 1499] {
            let at = log.reader().seek_time(TimeKind::Ingest, clock(second).wall).unwrap();
            assert_eq!(at, Offset::new(second * 20), "harm {nth}");
        }
    }
}

#[test]
fn names_of_a_segment_take_no_more_room_than_they_need() {
    let disk = SimDisk::of_seed(1);
    let names = with_points(&disk);
    let index: SegmentIndex = {
        let segment = segment_of(&names[0]).unwrap();
        let (log, ..) = open(&disk);
        log.reader().derived(&segment)
    };
    let names = index.names.as_ref().unwrap();
    assert!(names.capacity() <= 2 * names.len(), "{} for {}", names.capacity(), names.len());
    // The control: every batch brings its names, so that the list was far longer.
    assert!(index.batches as usize > 10 * names.len());
}

#[test]
fn damage_that_a_reader_finds_is_reported_and_reported_again_by_the_next_start() {
    let disk = SimDisk::of_seed(1);
    let names = with_points(&disk);
    disk.change(&segment_of(&names[1]).unwrap(), 100_000, |byte| !byte);
    let (log, _, _) = open(&disk);
    assert!(log.damage_at_opening().is_empty(), "the index stands for a segment that nobody has read");
    let (offsets, damage) = read_from_everywhere(&log, 20);
    assert!(matches!(damage[..], [ReadLogError::Damaged { .. }]), "{damage:?}");
    assert_eq!(offsets.len() as u64, log.durable_end().get() - 20, "no more than one batch is lost");
    assert!(!disk.names().contains(&names[1]));
    assert_eq!(open(&disk).0.damage_at_opening().len(), 1);
}

#[test]
fn an_index_whose_write_fails_or_is_cut_off_is_made_at_the_next_start() {
    for failing in 0..4 {
        let disk = SimDisk::of_seed(failing);
        filled(&disk, &mixed(30));
        let (log, before, _) = open_reading_everything(&disk);
        disk.fails_in(Some(failing));
        index_all(&log);
        disk.fails_in(None);
        let disk = disk.after_power_cut();
        let (log, after, _) = open(&disk);
        assert_eq!(before, after);
        index_all(&log);
        assert!(open(&disk).2.histories > 0);
    }
}

fn stretches(reader: &LogReader<SimDisk>, wanted: &Wanted) -> BTreeSet<u64> {
    let mut at = Offset::ZERO;
    let mut found = BTreeSet::new();
    while let Some(range) = reader.next_range(at, wanted) {
        assert!(range.start >= at && range.start < range.end, "{range:?} from {at}");
        found.extend(range.start.get()..range.end.get());
        at = range.end;
    }
    found
}

#[test]
fn what_is_wanted_is_never_passed_over_and_much_else_is() {
    let disk = SimDisk::of_seed(1);
    let (mut log, ..) = open_reading_everything(&disk);
    let mut agents: Vec<Agent> =
        (0..40).map(|number| Agent::new(&format!("press-{number}"), Stream::Samples, 1)).collect();
    let mut of_source = vec![BTreeSet::new(); 40];
    for round in 0..400_usize {
        // Forty agents, each for a while.
        let number = round / 10;
        let first = log.append(&parse(&agents[number].samples(20)), clock(round as u64).wall);
        of_source[number].extend(first.get()..first.get() + 20);
        log.commit().unwrap();
    }
    let all: BTreeSet<u64> = (0..8000).collect();
    let of = |number: usize| {
        let sources = vec![NameHash::source(&format!("press-{number}"))];
        Wanted { sources, ..Wanted::default() }
    };
    assert_eq!(stretches(&log.reader(), &of(3)), all, "nobody has looked into the log yet");
    index_all(&log);
    for (number, offsets) in of_source.iter().enumerate().take(39) {
        let found = stretches(&log.reader(), &of(number));
        assert!(found.is_superset(offsets), "source {number}");
        assert!(found.len() < 2000, "source {number}: {} offsets would be read", found.len());
    }
    let event = Some((clock(100).wall, clock(150).wall));
    let found = stretches(&log.reader(), &Wanted { event, ..Wanted::default() });
    assert!(!found.is_empty() && found.is_superset(&(100..150).collect()));
    let kinds = Kinds::of_type("afferent.breakdown.v1");
    assert!(stretches(&log.reader(), &Wanted { kinds, ..Wanted::default() }).len() < 1000, "the newest segment alone");
    assert_eq!(stretches(&log.reader(), &Wanted { event: None, ..Wanted::default() }), all);
    let machine = Some(NameHash::machine("88-C"));
    assert_eq!(stretches(&log.reader(), &Wanted { machine, ..Wanted::default() }), all);
    let never = Some((Timestamp::default(), Timestamp::clamped(1)));
    assert!(stretches(&log.reader(), &Wanted { event: never, ..Wanted::default() }).is_empty());
}

#[test]
fn a_stretch_is_read_without_what_lies_behind_it() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(200));
    let (log, ..) = open_reading_everything(&disk);
    index_all(&log);
    let reader = log.reader();
    let range = reader.next_range(Offset::new(500), &Wanted::default()).unwrap();
    let mut scratch = Vec::new();
    let (mut at, mut last) = (range.start, 0);
    while at < range.end {
        let chunk = reader.read_until(at, range.end, 1 << 20, &mut scratch).unwrap();
        last = chunk.entries().last().unwrap().head.end_ordinal();
        at = chunk.next();
    }
    assert_eq!(last, range.end.get());
    assert!(reader.bytes_read() <= 2 * SMALL.segment_bytes, "{} bytes were read", reader.bytes_read());
}

/// Statements of operators, agents and the collector, each in a batch of its own, among samples.
fn with_statements(disk: &SimDisk) {
    let (mut press, mut lathe) = (Agent::new("press", Stream::Samples, 1), Agent::new("lathe", Stream::Critical, 2));
    let mut own = Agent::new("collector", Stream::Critical, 3);
    let (mut log, ..) = open_reading_everything(disk);
    let (offset, time) = (Offset::new(5), clock(9).wall);
    let said = [
        LifeCycle::TermBegun { log_id: [1; 16], partition: 0, term: 77, first: Offset::ZERO },
        LifeCycle::Retired { source: "old", who: "Ada", why: "scrapped" },
        LifeCycle::Alias { source: "press", former: "press-7" },
        LifeCycle::KeyReplaced { source: "lathe", key: [5; 32], who: "Ada" },
        LifeCycle::RolledBack { source: "press", term: 3, until: offset, end: Offset::new(9), time },
        LifeCycle::TermBegun { log_id: [1; 16], partition: 0, term: 78, first: Offset::new(90) },
    ];
    for round in 0..9_u64 {
        let mut bytes = [0; HEARTBEAT_BYTES_MAX];
        let (stream, epoch, end) = (Stream::Samples, Epoch::new(1), Sequence::new(round));
        let lanes = LaneEnds::write(&[LaneEnd { stream, epoch, end, check: 0 }], &mut bytes).unwrap();
        let beat = lathe.of_itself(Body::LifeCycle(LifeCycle::Heartbeat { instance: [round as u8; 16], lanes }));
        let mut batches = vec![press.samples(20), beat];
        if round == 4 {
            batches.push(lathe.of_itself(Body::LifeCycle(LifeCycle::RingReplaced { message: "gone" })));
        }
        batches.extend(said.get(round as usize).map(|said| own.event(Body::LifeCycle(*said))));
        // Only the collector speaks for other sources.
        batches.push(lathe.of_itself(Body::LifeCycle(LifeCycle::Retired { source: "press", who: "Eve", why: "no" })));
        for bytes in batches {
            log.append(&parse(&bytes), clock(round).wall);
            log.commit().unwrap();
        }
    }
}

#[test]
fn what_was_said_of_sources_is_known_after_a_start_with_and_without_indexes() {
    let disk = SimDisk::of_seed(1);
    with_statements(&disk);
    let (log, _, read) = open_reading_everything(&disk);
    assert!(index_all(&log) > 0);
    let (_, _, by_index) = open(&disk);
    assert!(by_index.histories > 0);
    assert_eq!(by_index.sources.views(), read.views());
    assert_eq!(by_index.sources.terms(), read.terms());
    let terms: Vec<_> = read.terms().iter().map(|term| (term.number, term.first.get())).collect();
    assert_eq!(terms, [(77, 0), (78, 90)]);
    let view = |name: &str| read.view(&source(name)).unwrap();
    assert_eq!((view("old").retired.unwrap().who.as_str(), view("press").retired), ("Ada", None));
    assert_eq!(view("press").aliases, [source("press-7")]);
    assert_eq!(view("press").rolled_back.unwrap().end, Offset::new(9));
    let lathe = view("lathe");
    assert_eq!((lathe.key.unwrap().0, lathe.rings_replaced.len()), ([5; 32], 1));
    let beats: Vec<_> = lathe.heartbeats.iter().map(|beat| (beat.instance[0], beat.lanes[0].2.get())).collect();
    assert_eq!(beats, [(5, 5), (6, 6), (7, 7), (8, 8)], "the newest ones, with the ends that they name");
}
