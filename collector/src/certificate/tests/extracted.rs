//! Certificates by extracts are those of the whole log.

use afferent_protocol::event::{Loss, LossReason, ResealReason};
use afferent_protocol::session::Lane;
use proptest::prelude::*;

use super::*;
use crate::certificate::extracts::{self, CertificateRequest};
use crate::core::{Notice, Removal, RemovalKind};
use crate::log::records::Decoder;
use crate::log::{Beside, Indexed, RowFacts};

/// Segments that are finished after a few batches.
const TINY: LogSettings = LogSettings { segment_bytes: 4096 };

/// A log with these entries in small segments, with extracts signed by the collector.
fn extracted_log(entries: &[ForgedEntry]) -> SimDisk {
    let disk = SimDisk::of_seed(2);
    let (mut log, _) = EmbeddedLog::open(disk.clone(), TINY, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
    for (_, stamp, bytes, clock_offset_us) in entries {
        log.append_measured(&Batch::parse(bytes).unwrap().0, *stamp, *clock_offset_us);
        log.commit().unwrap();
    }
    let mut indexer = log.indexer().signing(source("collector"), identity(KEY));
    while !matches!(indexer.step(), Indexed::UpToDate) {}
    disk
}

/// The certificate by the extracts of a log, if they give one.
fn by_extracts(disk: &SimDisk, about: &About, span: Span, means: &CheckMaterial) -> Option<Made> {
    let own = source("collector");
    let log = Beside::load(disk, &own, Offset::new(u64::MAX)).unwrap();
    extracts::certificate(&log, &CertificateRequest { about, span, own, means })
}

fn proved(made: Result<Certificate, ProveError>) -> Made {
    match made {
        Ok(certificate) => Ok(certificate),
        Err(ProveError::None(error)) => Err(error),
        Err(ProveError::Log(error)) => panic!("{error}"),
    }
}

/// Whether all methods give this certificate, except those that give none.
pub(super) fn is_the_same(
    entries: &[ForgedEntry],
    about: &About,
    span: Span,
    means: &CheckMaterial,
    certificate: &Made,
) {
    let disk = extracted_log(entries);
    let found = by_extracts(&disk, about, span, means);
    if let Some(found) = found.filter(|found| !is_right_about_the_span(found, certificate, entries)) {
        assert_eq!(found, *certificate, "by extracts");
    }
    let own = source("collector");
    assert_eq!(proved(certify_whole_log(&disk, about, span, own, means)), *certificate, "by one pass");
    let by_either_way = proved(certify(&disk, about, span, own, means));
    assert!(by_either_way == *certificate || is_right_about_the_span(&by_either_way, certificate, entries));
}

type Made = Result<Certificate, CertificateError>;

/// Whether the log is refuted only by the signature of a batch outside the span: the next batch names its chain hash,
/// so that an answer about the span stays valid.
fn is_right_about_the_span(found: &Made, whole: &Made, entries: &[ForgedEntry]) -> bool {
    let (Ok(found), Ok(whole)) = (found, whole) else { return false };
    let is_signature = |text: &String| text.contains("it is not signed with its source's key");
    // The content of a batch with a wrong signature was not read.
    let follows_from_it = |text: &String| text.contains("does not follow its predecessor");
    let is_about = |name: &SourceId| found.sources.iter().any(|source| source.source == *name);
    let of_span = entries.iter().map(|(_, _, bytes, _)| Batch::parse(bytes).unwrap().0).filter(|batch| {
        let header = batch.header();
        is_about(&header.source) && header.time_last >= found.span.from && header.time_first < found.span.until
    });
    let is_signed = |batch: &Batch<'_>| {
        let name = batch.header().source.to_string();
        identity(name.bytes().fold(1, |sum, byte| sum ^ byte)).public_key().verifier().unwrap().verify(batch).is_some()
    };
    whole.refuted.iter().any(is_signature)
        && whole.refuted.iter().all(|text| is_signature(text) || follows_from_it(text))
        && of_span.into_iter().all(|batch| is_signed(&batch))
}

#[test]
fn an_ordinary_log_needs_no_reading_of_the_whole() {
    let entries = history();
    for about in [About::Source(source("press")), About::Machine("88-C".into())] {
        let disk = extracted_log(&entries);
        let found = by_extracts(&disk, &about, span(), &by_key()).expect("it leads to a certificate").unwrap();
        assert!(found.complete, "{found:#?}");
        assert_eq!(Ok(found), certified(&entries, about, span()));
    }
}

/// An act of an agent in a random life.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Sends this number of samples, one a second.
    Works(u64),
    /// Accepts this number of samples that never come.
    Loses(u64),
    /// Declares the last loss.
    Declares,
    Beats,
    ReplacesItsRing,
    /// Continues in a new epoch.
    SealsAgain,
    Retires,
    /// The collector restarts.
    Restarts,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        10 => (1..8_u64).prop_map(Deed::Works),
        6 => Just(Deed::Beats),
        1 => (1..5_u64).prop_map(Deed::Loses),
        1 => Just(Deed::Declares),
        1 => Just(Deed::ReplacesItsRing),
        1 => Just(Deed::SealsAgain),
        1 => Just(Deed::Retires),
        1 => Just(Deed::Restarts),
    ]
}

/// The log of two agents with these acts.
fn of_deeds(deeds: &[(bool, Deed)]) -> Vec<ForgedEntry> {
    let mut world = World::new();
    let mut machines = [Machine::new("press", 1), Machine::new("lathe", 10)];
    machines.iter().for_each(|machine| machine.greet(&mut world));
    let (mut lost, mut epoch) = ([(0, 0); 2], 100);
    for (is_other, deed) in deeds {
        let at = usize::from(*is_other);
        let (machine, name) = (&mut machines[at], source(["press", "lathe"][at]));
        let seconds = machine.samples.next.max(machine.critical.next) + 1;
        match *deed {
            Deed::Works(count) => machine.works(&mut world, count),
            Deed::Loses(count) => {
                let first = machine.samples.next;
                machine.samples.samples(count);
                lost[at] = (first, first + count);
                world.greet(&machine.samples, first + count);
            }
            Deed::Declares => {
                let (first, end) = (Sequence::new(lost[at].0), Sequence::new(lost[at].1));
                let Lane { stream, epoch } = machine.samples.lane;
                let (reason, chain) = (LossReason::Evicted, [0; 32]);
                machine.says(&mut world, seconds, Body::Loss(Loss { stream, epoch, first, end, reason, chain }));
            }
            Deed::Beats => machine.beats(&mut world, seconds),
            Deed::ReplacesItsRing => {
                machine.says(&mut world, seconds, Body::LifeCycle(LifeCycle::RingReplaced { message: "gone" }));
            }
            Deed::SealsAgain => {
                let Lane { stream, epoch: old } = machine.samples.lane;
                let first = Sequence::new(machine.samples.next);
                epoch += 1;
                let mut again = Agent::new(name.as_str(), Stream::Samples, epoch);
                world.greet(&again, 0);
                let reason = ResealReason::OtherKey;
                let batch = own_event(&mut again, seconds, LifeCycle::Resealed { stream, epoch: old, first, reason });
                world.give(&again, &batch);
                machine.samples = again;
            }
            Deed::Retires => {
                world.say(Notice::Retired { source: name, who: "ana".into(), why: "scrapped".into() });
            }
            Deed::Restarts => {
                world.restart();
                machines.iter_mut().for_each(|machine| {
                    machine.samples.run += 1;
                    machine.critical.run += 1;
                    machine.greet(&mut world);
                });
            }
        }
    }
    world.end()
}

/// Damage to the files.
#[derive(Clone, Debug)]
enum Fate {
    Nothing,
    /// Changes a byte of a file with this ending.
    Rots(&'static str, prop::sample::Index, prop::sample::Index, u8),
    Vanishes(&'static str, prop::sample::Index),
    /// Puts one file under the name of a different one.
    Swapped(&'static str, prop::sample::Index, prop::sample::Index),
    /// Removes an entry with all checksums right; the extracts stay the old ones.
    TakenOut(prop::sample::Index),
    /// As before, and the collector makes new extracts.
    TakenOutAndExtracted(prop::sample::Index),
}

fn fate() -> impl Strategy<Value = Fate> {
    use prop::sample::Index;
    let ending = || prop_oneof![Just(".seg"), Just(".ext"), Just(".ext")];
    prop_oneof![
        2 => Just(Fate::Nothing),
        3 => (ending(), any::<Index>(), any::<Index>(), 1..=255_u8).prop_map(|(e, f, at, x)| Fate::Rots(e, f, at, x)),
        1 => (ending(), any::<Index>()).prop_map(|(ending, file)| Fate::Vanishes(ending, file)),
        1 => (ending(), any::<Index>(), any::<Index>()).prop_map(|(e, one, other)| Fate::Swapped(e, one, other)),
        2 => any::<Index>().prop_map(Fate::TakenOut),
        1 => any::<Index>().prop_map(Fate::TakenOutAndExtracted),
    ]
}

fn files(disk: &SimDisk, ending: &str) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(ending)).collect()
}

fn replace(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let _ = disk.remove(name);
    disk.create(name, bytes.len() as u64).unwrap().write_at(bytes, 0).unwrap();
}

/// The log's files after that damage.
fn befallen(entries: &[ForgedEntry], fate: &Fate) -> SimDisk {
    let disk = extracted_log(entries);
    match fate {
        Fate::Nothing => {}
        Fate::Rots(ending, file, at, flip) => {
            let names = files(&disk, ending);
            let name = file.get(&names);
            disk.change(name, at.index(disk.bytes(name).len()), |byte| byte ^ flip);
        }
        Fate::Vanishes(ending, file) => disk.remove(file.get::<String>(&files(&disk, ending))).unwrap(),
        Fate::Swapped(ending, one, other) => {
            let names = files(&disk, ending);
            let (one, other) = (one.get(&names), other.get(&names));
            let (was_one, was_other) = (disk.bytes(one), disk.bytes(other));
            replace(&disk, one, &was_other);
            replace(&disk, other, &was_one);
        }
        Fate::TakenOut(at) => {
            let mut left = entries.to_vec();
            left.remove(at.index(left.len()));
            let without = extracted_log(&left);
            for name in files(&without, ".ext") {
                without.remove(&name).unwrap();
            }
            for name in files(&disk, ".ext") {
                replace(&without, &name, &disk.bytes(&name));
            }
            return without;
        }
        Fate::TakenOutAndExtracted(at) => {
            let mut left = entries.to_vec();
            left.remove(at.index(left.len()));
            return extracted_log(&left);
        }
    }
    disk
}

/// The batches of a source in a span of a log, without their offsets.
fn batches_of(disk: &SimDisk, name: SourceId, span: Span) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    inspect::dump(disk, &mut |_, batch| {
        let header = batch.header();
        if header.source == name && header.time_last >= span.from && header.time_first < span.until {
            batches.push(batch.bytes().to_vec());
        }
    })
    .unwrap();
    batches
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn extracts_lead_to_what_the_log_proves_whatever_becomes_of_the_files(
        deeds in prop::collection::vec((any::<bool>(), deed()), 10..60),
        (from, len) in (0..40_u64, 1..40_u64),
        is_of_machine in any::<bool>(),
        fate in fate(),
    ) {
        let (entries, span) = (of_deeds(&deeds), seconds(from, from + len));
        let about = if is_of_machine { About::Machine("88-C".into()) } else { About::Source(source("press")) };
        let disk = befallen(&entries, &fate);
        let log_is_whole = certify_whole_log(&disk, &about, span, source("collector"), &by_key());
        let (found, all) = (by_extracts(&disk, &about, span, &by_key()), proved(log_is_whole));
        let Some(found) = found else {
            let may_lead_nowhere = !matches!(fate, Fate::Nothing) || all.is_err() || files(&disk, ".ext").is_empty();
            prop_assert!(may_lead_nowhere, "{:#?}", all);
            return Ok(());
        };
        if found == all {
            return Ok(());
        }
        // The damage does not bear on the span: the answer is the previous one, and all of the span is still there.
        let before = extracted_log(&entries);
        let truth = proved(certify_whole_log(&before, &about, span, source("collector"), &by_key()));
        let is_refuted = all.as_ref().map_or(true, |all| all.verdict == Verdict::Refuted);
        prop_assert!(is_refuted && !matches!(fate, Fate::Nothing), "{:#?} and not {:#?}", found, all);
        prop_assert_eq!(&found, &truth);
        for source in found.unwrap().sources {
            prop_assert_eq!(batches_of(&disk, source.source, span), batches_of(&before, source.source, span));
        }
    }
}

/// As [`history`] with more agents; then retention declares that it removes events before some offset. Returns the
/// offset too.
fn removed_history(what: RemovalKind) -> (Vec<ForgedEntry>, Offset) {
    let mut world = lived(KEY, &["press", "lathe", "drill"]);
    let now = clock(world.seconds + 10);
    world.core.ending(&now);
    world.core.commit(&now).unwrap();
    world.core.commit(&now).unwrap();
    let removal = |until| Removal { what, until, rule: "older than 1d".into() };
    let until = world.core.remove(&removal(Offset::new(u64::MAX)), &now).unwrap_err().attested_until;
    world.core.remove(&removal(until), &now).unwrap();
    world.core.commit(&now).unwrap();
    (world.end(), until)
}

#[test]
fn what_retention_leaves_is_certified_as_it_is_by_new_extracts_and_by_old_ones() {
    let mut found = 0;
    for what in [RemovalKind::All, RemovalKind::Events(Stream::Samples)] {
        let (entries, all) = removed_history(what);
        for until in (0..all.get()).step_by(10).map(Offset::new) {
            let disk = extracted_log(&entries);
            let (log, _) = EmbeddedLog::open(disk.clone(), TINY, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
            let removed = match what {
                RemovalKind::All => log.trimmer().remove_before(until).unwrap().segments > 0,
                RemovalKind::Events(_) => {
                    let mut forgetter = log.forgetter();
                    std::iter::from_fn(|| forgetter.step(until).unwrap()).count() > 0
                }
            };
            let mut is_the_same = || {
                for about in [About::Source(source("press")), About::Machine("88-C".into())] {
                    let whole =
                        proved(certify_whole_log(&disk, &about, seconds(0, 58), source("collector"), &by_key()));
                    let by_extracts = by_extracts(&disk, &about, seconds(0, 58), &by_key());
                    found += usize::from(removed && by_extracts.is_some());
                    assert!(by_extracts.is_none_or(|found| found == whole), "{what:?} before {until}");
                }
            };
            is_the_same();
            let mut indexer = log.indexer().signing(source("collector"), identity(KEY));
            while !matches!(indexer.step(), Indexed::UpToDate) {}
            is_the_same();
        }
    }
    assert!(found > 20, "extracts lead somewhere: {found}");
}

/// Writes extracts with the opposite content, signed with this key.
fn forged(disk: &SimDisk, key: u8) -> usize {
    let mut forged = 0;
    for name in files(disk, ".ext") {
        let bytes = crate::log::forged_extract(&disk.bytes(&name), &identity(key), &mut |_, row| {
            let is_told = matches!(&row.what, RowFacts::Told { batch, .. } if tells_a_conflict(batch));
            if is_told {
                row.what = RowFacts::Quiet;
                forged += 1;
            }
        });
        replace(disk, &name, &bytes);
    }
    forged
}

fn tells_a_conflict(batch: &[u8]) -> bool {
    let (batch, _) = Batch::parse(batch).unwrap();
    Decoder::default()
        .open(&batch)
        .any(|record| matches!(record.unwrap().event.body, Body::LifeCycle(LifeCycle::Conflict { .. })))
}

#[test]
fn an_extract_that_leaves_something_out_is_believed_by_nobody_unless_the_collector_has_signed_it() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.beats(&mut world, 30);
    world.say(Notice::Conflict { source: source("press"), boots: [[1; 16], [2; 16]], addresses: String::new() });
    press.works(&mut world, 15);
    press.beats(&mut world, 60);
    // Puts the batch with the conflict into a finished segment.
    let mut lathe = Machine::new("lathe", 30);
    lathe.greet(&mut world);
    (0..40).for_each(|_| lathe.works(&mut world, 5));
    let entries = world.end();
    let about = About::Source(source("press"));
    let truth = certified(&entries, about.clone(), seconds(31, 45)).unwrap();
    assert!(says(&truth.open, "two machines use its name"), "{truth:#?}");
    let by = |key| {
        let disk = extracted_log(&entries);
        assert_eq!(forged(&disk, key), 1);
        certify(&disk, &about, seconds(31, 45), source("collector"), &by_key()).unwrap()
    };
    assert_eq!(by(KEY + 1), truth, "a stranger's word is none");
    assert!(by(KEY).complete, "the control: the lie is one, for whoever has the collector's key");
    let found_key = CheckMaterial::default();
    let disk = extracted_log(&entries);
    forged(&disk, KEY + 1);
    let found = certify(&disk, &about, seconds(31, 45), source("collector"), &found_key).unwrap();
    assert!(!found.complete, "nor where the key is the one that is found");
}
