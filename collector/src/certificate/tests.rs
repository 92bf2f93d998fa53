use afferent_protocol::batch::{Batch, SIGNED_FROM};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Epoch, Sequence, Stream};
use proptest::prelude::*;

use super::*;
use crate::core::{Core, OwnIdentity, Removal, Removed};
use crate::log::{Doubt, EmbeddedLog, LogSettings, UnifiedLog, inspect};
use crate::simulated::{Agent, MemoryDisk, clock, greet, identity, source};
use crate::sources::Sources;

type TestCore = Core<EmbeddedLog<MemoryDisk>>;

const SETTINGS: LogSettings = LogSettings { segment_bytes: 256 * 1024 };

fn start(disk: &MemoryDisk, seconds: u64) -> TestCore {
    let own = OwnIdentity {
        source: source("collector"),
        identity: identity(99),
        epoch: Epoch::new(5),
        challenge: [3; 32],
        endorsements: Vec::new(),
    };
    let mut sources = Sources::new(own.source);
    let each = &mut |head: &_, batch: &Batch<'_>| sources.rebuild(head, batch);
    let (log, recovery) = EmbeddedLog::open(disk.clone(), SETTINGS, &mut || 7, clock(seconds).wall, each).unwrap();
    let mut core = Core::new(log, sources, own, &recovery, &clock(seconds));
    core.begin(&clock(seconds)).unwrap();
    core
}

/// A collector at work; a payload comes every ten seconds.
struct World {
    disk: MemoryDisk,
    core: TestCore,
    seconds: u64,
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new(1);
        Self { core: start(&disk, 0), disk, seconds: 0 }
    }

    fn greet(&mut self, agent: &Agent, first: u64) {
        self.seconds += 1;
        greet(&mut self.core, agent, first, &clock(self.seconds)).unwrap();
    }

    fn give(&mut self, agent: &Agent, payload: &[u8]) {
        self.seconds += 10;
        let received = self.core.receive(agent.name, payload, None, &clock(self.seconds));
        assert_eq!(received.refusal, None);
        self.core.commit(&clock(self.seconds)).unwrap();
    }

    /// The collector dies and starts again.
    fn restart(&mut self) {
        self.core = start(&self.disk, self.seconds);
    }

    fn end(mut self) -> Vec<Entry> {
        let now = clock(self.seconds + 10);
        self.core.ending(&now);
        self.core.commit(&now).unwrap();
        self.core.commit(&now).unwrap();
        entries(&self.disk)
    }
}

/// What a forger who can write files has to do with: batches, and the offset of each.
type Entry = (u64, Vec<u8>);

fn entries(disk: &MemoryDisk) -> Vec<Entry> {
    let mut entries = Vec::new();
    let report = inspect::dump(disk, &mut |head, batch| entries.push((head.ordinal, batch.bytes().to_vec()))).unwrap();
    assert!(report.is_sound());
    entries
}

/// Two agents, and a collector that is killed in between. The streams of `press` have sequences 0 to 60 with an event a
/// second.
fn history() -> Vec<Entry> {
    lived().end()
}

fn lived() -> World {
    let mut world = World::new();
    let (mut samples, mut critical) =
        (Agent::new("press", Stream::Samples, 1), Agent::new("press", Stream::Critical, 2));
    let mut other = Agent::new("lathe", Stream::Samples, 3);
    for agent in [&samples, &critical, &other] {
        world.greet(agent, 0);
    }
    for round in 0..12 {
        for agent in [&mut samples, &mut critical, &mut other] {
            let batch = agent.samples(5);
            world.give(agent, &batch);
        }
        if round == 6 {
            world.restart();
        }
    }
    world
}

/// The first thirty seconds.
fn span() -> Span {
    Span { from: clock(0).wall, until: clock(30).wall }
}

/// What a collector with these files would certify: every checksum is right.
fn certified(entries: &[Entry], about: About, span: Span) -> Result<Certificate, CertificateError> {
    let disk = MemoryDisk::new(2);
    let (mut log, _) = EmbeddedLog::open(disk.clone(), SETTINGS, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
    for (_, bytes) in entries {
        log.append(&Batch::parse(bytes).unwrap().0, clock(0).wall);
        log.commit().unwrap();
    }
    let mut evidence = Evidence::new(about, span, source("collector"), identity(99).public_key())?;
    inspect::dump(&disk, &mut |head, batch| evidence.batch(head, batch)).unwrap();
    evidence.certificate()
}

fn of_press(entries: &[Entry]) -> Certificate {
    certified(entries, About::Source(source("press")), span()).unwrap()
}

fn sealed_batches(entries: &[Entry]) -> usize {
    let sealed_until = of_press(entries).log.sealed_until.get();
    entries.iter().filter(|(offset, _)| *offset < sealed_until).count()
}

#[test]
fn what_is_all_there_is_certified_for_a_source_and_for_a_machine() {
    let entries = history();
    let certificate = of_press(&entries);
    assert_eq!((certificate.verdict, certificate.complete), (Verdict::Complete, true), "{}", text::text(&certificate));
    let lanes: Vec<_> = certificate.lanes.iter().map(|lane| (lane.stream, lane.ranges.clone())).collect();
    let present = Range { first: Sequence::ZERO, end: Sequence::new(30), fate: Fate::Present };
    assert_eq!(lanes, [(Stream::Critical, vec![present]), (Stream::Samples, vec![present])]);
    let machine = certified(&entries, About::Machine("88-C".into()), span()).unwrap();
    assert!(machine.complete);
    assert_eq!(machine.lanes.len(), 3, "both agents speak of it");
    assert!(sealed_batches(&entries) + 3 > entries.len(), "what a stop leaves unsealed is its own last words");
    assert!(text::text(&certificate).contains("press samples 0000000000000001"));
}

#[test]
fn whatever_sealed_batch_is_taken_out_no_certificate_is_complete() {
    let entries = history();
    for at in 0..sealed_batches(&entries) {
        let mut forged = entries.clone();
        let (offset, _) = forged.remove(at);
        match certified(&forged, About::Source(source("press")), span()) {
            Ok(certificate) => assert_eq!(certificate.verdict, Verdict::Refuted, "without offset {offset}"),
            Err(error) => panic!("without offset {offset}: {error}"),
        }
    }
}

#[test]
fn without_seals_the_last_batch_of_a_lane_that_ended_could_be_taken_out_unseen() {
    // The control of the test before: chains alone do not hold the end of a lane.
    let is_of_other = |bytes: &[u8]| Batch::parse(bytes).unwrap().0.header().source == source("lathe");
    let mut entries = history();
    let last = entries.iter().rposition(|(_, bytes)| is_of_other(bytes)).unwrap();
    entries.remove(last);
    let mut proof = crate::log::Proof::with_key(source("collector"), identity(99).public_key());
    assert!(entries.iter().all(|(_, bytes)| proof.doubts(&Batch::parse(bytes).unwrap().0).is_empty()));
    assert_eq!(of_press(&entries).verdict, Verdict::Refuted);
}

#[test]
fn a_log_whose_end_was_cut_off_certifies_nothing_about_what_came_later() {
    let entries = history();
    for len in 1..entries.len() {
        let forged = &entries[..len];
        let Ok(certificate) = certified(forged, About::Source(source("press")), span()) else { continue };
        let is_all_there = certificate.lanes.len() == 2
            && certificate.lanes.iter().all(|lane| lane.ranges.last().unwrap().end >= Sequence::new(30));
        assert!(is_all_there || !certificate.complete, "{len} of {} batches", entries.len());
    }
}

proptest! {
    #[test]
    fn batches_in_another_order_are_refuted(at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let entries = history();
        let sealed = sealed_batches(&entries);
        let (at, to) = (at.index(sealed), to.index(sealed));
        prop_assume!(at != to);
        let mut forged = entries;
        let moved = forged.remove(at);
        forged.insert(to, moved);
        let certificate = certified(&forged, About::Source(source("press")), span()).unwrap();
        prop_assert_eq!(certificate.verdict, Verdict::Refuted);
    }

    #[test]
    fn an_edited_batch_is_refuted_although_its_checksum_is_right(
        at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1..=255_u8
    ) {
        let mut forged = history();
        let at = at.index(sealed_batches(&forged));
        // Of another agent only what its seal binds is looked at: all but the signature.
        let about = match Batch::parse(&forged[at].1).unwrap().0.header().source {
            own if own == source("collector") => source("press"),
            agent => agent,
        };
        let bytes = &mut forged[at].1;
        let byte = 8 + byte.index(bytes.len() - 8);
        bytes[byte] ^= flip;
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        prop_assume!(Batch::parse(bytes).is_ok_and(|(batch, rest)| rest.is_empty() && batch.bytes().len() > SIGNED_FROM));
        let certificate = certified(&forged, About::Source(about), span());
        prop_assert!(certificate.is_ok_and(|certificate| certificate.verdict == Verdict::Refuted));
    }
}

#[test]
fn what_was_declared_lost_is_named_with_its_reason_and_what_was_not_is_missing() {
    let mut world = World::new();
    let (mut samples, mut critical) =
        (Agent::new("press", Stream::Samples, 1), Agent::new("press", Stream::Critical, 2));
    for agent in [&samples, &critical] {
        world.greet(agent, 0);
    }
    let first = samples.samples(10);
    world.give(&samples, &first);
    samples.samples(10);
    world.greet(&samples, 20);
    let last = samples.samples(20);
    world.give(&samples, &last);
    let certificate = of_press(&entries(&world.disk));
    let missing = Range { first: Sequence::new(10), end: Sequence::new(20), fate: Fate::Missing };
    assert_eq!((certificate.verdict, certificate.lanes[0].ranges[1]), (Verdict::Incomplete, missing));

    let (first, end) = (Sequence::new(12), Sequence::new(20));
    let reason = LossReason::Evicted;
    let loss = Loss { stream: Stream::Samples, epoch: Epoch::new(1), first, end, reason, chain: [0; 32] };
    let declaration = critical.loss(loss);
    world.give(&critical, &declaration);
    let certificate = of_press(&world.end());
    let lane = certificate.lanes.iter().find(|lane| lane.stream == Stream::Samples).unwrap();
    let fates: Vec<_> = lane.ranges.iter().map(|range| (range.first.get(), range.end.get(), range.fate)).collect();
    let lost = Fate::Lost { reason, declared: clock(0).wall };
    assert_eq!(fates, [(0, 10, Fate::Present), (10, 12, Fate::Missing), (12, 20, lost), (20, 40, Fate::Present)]);
    assert_eq!(certificate.verdict, Verdict::Incomplete);
    assert!(text::text(&certificate).contains("sequences 12 up to 20: LOST (evicted)"));
}

#[test]
fn what_the_evidence_does_not_reach_is_open() {
    let entries = history();
    let late = Span { from: clock(50).wall, until: clock(70).wall };
    let certificate = certified(&entries, About::Source(source("press")), late).unwrap();
    assert!(!certificate.complete && certificate.verdict == Verdict::Complete);
    assert!(certificate.open.iter().any(|text| text.starts_with("press samples: nothing is known after")));
    let nobody = certified(&entries, About::Source(source("nobody")), span());
    assert_eq!(nobody, Err(CertificateError::Unknown("nobody".into())));
    let backwards = Span { from: span().until, until: span().from };
    assert_eq!(certified(&entries, About::Source(source("press")), backwards), Err(CertificateError::Span));
}

#[test]
fn an_epoch_that_ended_without_a_word_leaves_its_end_open() {
    let mut world = World::new();
    let mut first = Agent::new("press", Stream::Samples, 1);
    world.greet(&first, 0);
    let batch = first.samples(10);
    world.give(&first, &batch);
    // The same agent with a new ring log, two minutes later.
    let mut second = Agent::new("press", Stream::Samples, 4);
    second.next = 120;
    world.greet(&second, 120);
    let batch = second.samples(10);
    world.give(&second, &batch);
    let certificate = of_press(&world.end());
    assert!(!certificate.complete);
    assert!(
        certificate.open.iter().any(|text| text.contains("ended at 10 and nobody said what followed")),
        "{certificate:?}"
    );
}

/// As [`history`], and then retention says that it empties all samples.
fn emptied_history() -> Vec<Entry> {
    let mut world = lived();
    let now = clock(world.seconds + 10);
    world.core.ending(&now);
    world.core.commit(&now).unwrap();
    world.core.commit(&now).unwrap();
    let removal =
        |until| Removal { what: Removed::Events(Stream::Samples), until, rule: "samples older than 1d".into() };
    let everything = removal(Offset::new(u64::MAX));
    let sealed_until = world.core.remove(&everything, &now).unwrap_err().attested_until;
    world.core.remove(&removal(sealed_until), &now).unwrap();
    world.core.commit(&now).unwrap();
    entries(&world.disk)
}

/// The samples batches of a source, oldest first: where each is among the entries.
fn samples_of(entries: &[Entry], name: &str) -> Vec<usize> {
    let is_wanted = |bytes: &[u8]| {
        let header = *Batch::parse(bytes).unwrap().0.header();
        header.source == source(name) && header.stream == Stream::Samples
    };
    (0..entries.len()).filter(|at| is_wanted(&entries[*at].1)).collect()
}

fn empty(entries: &mut [Entry], at: usize) {
    entries[at].1 = Batch::parse(&entries[at].1).unwrap().0.emptied().to_vec();
}

/// A batch with its checksum set right after it was changed.
fn edit(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[8..]).to_le_bytes();
    bytes[4..8].copy_from_slice(&crc);
}

fn samples_lane(certificate: &Certificate) -> Vec<(u64, u64, Fate)> {
    let lane = certificate.lanes.iter().find(|lane| lane.stream == Stream::Samples).unwrap();
    lane.ranges.iter().map(|range| (range.first.get(), range.end.get(), range.fate)).collect()
}

#[test]
fn samples_that_retention_has_removed_are_named_and_the_certificate_is_not_complete() {
    let whole = emptied_history();
    let samples = samples_of(&whole, "press");
    let mut entries = whole.clone();
    for (count, at) in (1..).zip(&samples) {
        empty(&mut entries, *at);
        let certificate = of_press(&entries);
        assert_eq!((certificate.verdict, certificate.complete), (Verdict::Removed, false), "{count} batches");
        assert!(certificate.refuted.is_empty(), "{:?}", certificate.refuted);
        let removed = (count * 5).min(30);
        let mut expected = vec![(0, removed, Fate::Removed)];
        if removed < 30 {
            expected.push((removed, 30, Fate::Present));
        }
        assert_eq!(samples_lane(&certificate), expected);
        let text = text::text(&certificate);
        assert!(text.contains(&format!("sequences 0 up to {removed}: REMOVED by retention")), "{text}");
        assert!(text.contains("NOT COMPLETE: retention has removed samples"), "{text}");
    }
}

#[test]
fn samples_that_are_gone_and_that_retention_was_not_to_remove_refute() {
    let mut entries = history();
    let lathe = samples_of(&entries, "lathe");
    // Of whomever the certificate is about.
    empty(&mut entries, lathe[3]);
    assert_eq!(of_press(&entries).verdict, Verdict::Refuted);
    let mut said = emptied_history();
    empty(&mut said, lathe[3]);
    assert!(of_press(&said).complete, "{:?}", of_press(&said));
}

#[test]
fn a_span_that_signed_batches_part_from_what_was_removed_is_complete() {
    let mut entries = emptied_history();
    for at in samples_of(&entries, "press").into_iter().take(4) {
        empty(&mut entries, at);
    }
    // Sequences and seconds are the same; 20 to 25 are the first that are there.
    let certificate = |from, until| {
        let span = Span { from: clock(from).wall, until: clock(until).wall };
        certified(&entries, About::Source(source("press")), span).unwrap()
    };
    assert!(certificate(26, 40).complete);
    assert_eq!(samples_lane(&certificate(26, 40)), [(25, 40, Fate::Present)]);
    assert_eq!(certificate(10, 40).verdict, Verdict::Removed);
    assert_eq!(samples_lane(&certificate(10, 40)), [(10, 20, Fate::Removed), (20, 40, Fate::Present)]);
    // Nobody can prove any more that the batch before did not reach into it.
    assert_eq!(certificate(20, 40).verdict, Verdict::Removed);
}

proptest! {
    #[test]
    fn no_time_that_an_emptied_batch_is_given_makes_a_certificate_complete(
        which in any::<u16>(),
        times in prop::collection::vec((0_i64..200, 0_i64..200), 12),
    ) {
        let mut forged = emptied_history();
        // Of those within the span at least one.
        let which = which | 1;
        for (nth, at) in samples_of(&forged, "press").into_iter().enumerate() {
            if which >> nth & 1 == 1 {
                empty(&mut forged, at);
                let (one, other) = times[nth];
                let time = |second: i64| (clock(0).wall.micros() + (second - 100) * 1_000_000).to_le_bytes();
                edit(&mut forged[at].1, 104, &time(one.min(other)));
                edit(&mut forged[at].1, 112, &time(one.max(other)));
            }
        }
        for about in [About::Source(source("press")), About::Machine("88-C".into())] {
            let certificate = certified(&forged, about, span()).unwrap();
            prop_assert!(!certificate.complete && certificate.verdict >= Verdict::Removed, "{}", text::text(&certificate));
        }
    }

    #[test]
    fn an_emptied_batch_whose_kept_chain_hash_was_edited_is_refuted(
        at in any::<prop::sample::Index>(), byte in 256..288_usize, flip in 1..=255_u8
    ) {
        let mut forged = emptied_history();
        // Of another agent only its seal is looked at, and that refutes it as well.
        let samples = [samples_of(&forged, "press"), samples_of(&forged, "lathe")].concat();
        let at = samples[at.index(samples.len())];
        empty(&mut forged, at);
        prop_assert_eq!(of_press(&forged).refuted, Vec::<String>::new());
        let edited = forged[at].1[byte] ^ flip;
        edit(&mut forged[at].1, byte, &[edited]);
        prop_assert_eq!(of_press(&forged).verdict, Verdict::Refuted);
    }
}

#[test]
fn no_edit_of_an_emptied_batch_takes_it_out_of_its_lane_unseen() {
    let entries = emptied_history();
    // Those within the span; what happens to later ones is no matter of this certificate.
    let samples = samples_of(&entries, "press");
    for (nth, at) in samples[..6].iter().enumerate() {
        let mut forged = entries.clone();
        empty(&mut forged, *at);
        // Another epoch, another name, other sequences.
        for (place, with) in [(96, &[9][..]), (185, b"xress"), (88, &[200])] {
            let mut forged = forged.clone();
            edit(&mut forged[*at].1, place, with);
            let certificate = certified(&forged, About::Machine("88-C".into()), span()).unwrap();
            assert!(!certificate.complete, "batch {nth}, byte {place}: {}", text::text(&certificate));
        }
    }
}

#[test]
fn a_source_of_whose_samples_nothing_is_left_leaves_a_certificate_of_a_machine_open() {
    let mut entries = emptied_history();
    assert!(certified(&entries, About::Machine("88-C".into()), span()).unwrap().complete);
    for at in samples_of(&entries, "lathe") {
        empty(&mut entries, at);
    }
    let certificate = certified(&entries, About::Machine("88-C".into()), span()).unwrap();
    assert!(!certificate.complete);
    assert!(certificate.open.iter().any(|text| text.starts_with("samples of lathe were removed")), "{certificate:?}");
}

#[test]
fn a_log_without_its_samples_is_verified_and_they_are_counted() {
    let mut entries = emptied_history();
    let samples = samples_of(&entries, "press");
    samples.iter().take(6).for_each(|at| empty(&mut entries, *at));
    let verified = |entries: &[Entry]| {
        let disk = MemoryDisk::new(2);
        let (mut log, _) = EmbeddedLog::open(disk.clone(), SETTINGS, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
        for (_, bytes) in entries {
            log.append(&Batch::parse(bytes).unwrap().0, clock(0).wall);
        }
        log.commit().unwrap();
        inspect::verify(&disk, &source("collector")).unwrap()
    };
    let report = verified(&entries);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.emptied(), 6);
    let hash = entries[samples[2]].1[256] ^ 1;
    edit(&mut entries[samples[2]].1, 256, &[hash]);
    let whys: Vec<_> = verified(&entries).suspects.iter().map(|suspect| suspect.why).collect();
    assert_eq!(whys, [Doubt::Signature, Doubt::Chain], "it is not what was signed, nor what the next one continues");
}
