//! Certificates after retention has removed events.

use afferent_protocol::checksum::crc32c;
use proptest::prelude::*;

use super::*;
use crate::core::{Removal, RemovalKind};
use crate::log::Doubt;

/// As [`history`]; then retention declares that it empties all samples.
fn emptied_history() -> Vec<ForgedEntry> {
    let mut world = lived(KEY, &["press", "lathe"]);
    let now = clock(world.seconds + 10);
    world.core.ending(&now);
    world.core.commit(&now).unwrap();
    world.core.commit(&now).unwrap();
    let removal =
        |until| Removal { what: RemovalKind::Events(Stream::Samples), until, rule: "samples older than 1d".into() };
    let everything = removal(Offset::new(u64::MAX));
    let attested_until = world.core.remove(&everything, &now).unwrap_err().attested_until;
    world.core.remove(&removal(attested_until), &now).unwrap();
    world.core.commit(&now).unwrap();
    entries(&world.disk)
}

fn empty(entries: &mut [ForgedEntry], at: usize) {
    entries[at].2 = Batch::parse(&entries[at].2).unwrap().0.emptied().to_vec();
}

/// A batch with its checksum set right after it was changed.
fn edit(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[8..]).to_le_bytes();
    bytes[4..8].copy_from_slice(&crc);
}

fn lane_of_samples(certificate: &Certificate) -> Vec<(u64, u64, Fate)> {
    lane_of(certificate, Stream::Samples)
}

#[test]
fn samples_that_retention_has_removed_are_named_and_the_certificate_is_not_complete() {
    let whole = emptied_history();
    let samples = samples_of(&whole, "press");
    let mut entries = whole.clone();
    for (count, at) in (1..).zip(&samples) {
        empty(&mut entries, *at);
        let certificate = of_press(&entries);
        assert_eq!(certificate.verdict, Verdict::Incomplete, "{count} batches");
        assert_eq!(certificate.causes, [Cause::Removed], "{:?}", certificate.open);
        assert!(certificate.refuted.is_empty(), "{:?}", certificate.refuted);
        let removed = (count * 5).min(30);
        let mut expected = vec![(0, removed, Fate::Removed)];
        if removed < 30 {
            expected.push((removed, 30, Fate::Present));
        }
        assert_eq!(lane_of_samples(&certificate), expected);
        let text = text::text(&certificate);
        assert!(text.contains(&format!("sequences 0 up to {removed}: REMOVED by retention")), "{text}");
        assert!(text.contains("INCOMPLETE: retention has removed samples"), "{text}");
    }
}

#[test]
fn samples_that_are_gone_and_that_retention_was_not_to_remove_refute() {
    let mut entries = history();
    let lathe = samples_of(&entries, "lathe");
    // Whatever the subject of the certificate is.
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
    let certificate = |from, until| certified(&entries, About::Source(source("press")), seconds(from, until)).unwrap();
    assert!(certificate(26, 40).complete);
    assert_eq!(lane_of_samples(&certificate(26, 40)), [(25, 40, Fate::Present)]);
    assert_eq!(certificate(10, 40).causes, [Cause::Removed]);
    assert_eq!(lane_of_samples(&certificate(10, 40)), [(10, 20, Fate::Removed), (20, 40, Fate::Present)]);
    // No signature shows any more that the batch before did not reach into it.
    assert_eq!(certificate(20, 40).causes, [Cause::Removed]);
}

proptest! {
    #[test]
    fn no_time_that_an_emptied_batch_is_given_makes_a_certificate_complete(
        which in any::<u16>(),
        times in prop::collection::vec((0_i64..200, 0_i64..200), 12),
    ) {
        let mut forged = emptied_history();
        // At least one of the batches within the span.
        let which = which | 1;
        for (nth, at) in samples_of(&forged, "press").into_iter().enumerate() {
            if which >> nth & 1 == 1 {
                empty(&mut forged, at);
                let (one, other) = times[nth];
                let time = |second: i64| (clock(0).wall.micros() + (second - 100) * 1_000_000).to_le_bytes();
                edit(&mut forged[at].2, 104, &time(one.min(other)));
                edit(&mut forged[at].2, 112, &time(one.max(other)));
            }
        }
        for about in [About::Source(source("press")), About::Machine("88-C".into())] {
            let certificate = certified(&forged, about, span()).unwrap();
            prop_assert!(!certificate.complete && certificate.verdict >= Verdict::Incomplete, "{}", text::text(&certificate));
        }
    }

    #[test]
    fn an_emptied_batch_whose_kept_chain_hash_was_edited_is_refuted(
        at in any::<prop::sample::Index>(), byte in 256..288_usize, flip in 1..=255_u8
    ) {
        let mut forged = emptied_history();
        // Of a different agent only the signature is checked, and it refutes the log as well.
        let samples = [samples_of(&forged, "press"), samples_of(&forged, "lathe")].concat();
        let at = samples[at.index(samples.len())];
        empty(&mut forged, at);
        prop_assert_eq!(of_press(&forged).refuted, Vec::<String>::new());
        let edited = forged[at].2[byte] ^ flip;
        edit(&mut forged[at].2, byte, &[edited]);
        prop_assert_eq!(of_press(&forged).verdict, Verdict::Refuted);
    }
}

#[test]
fn no_edit_of_an_emptied_batch_takes_it_out_of_its_lane_unseen() {
    let entries = emptied_history();
    // Batches within the span; changes of later ones do not concern this certificate.
    let samples = samples_of(&entries, "press");
    for (nth, at) in samples[..6].iter().enumerate() {
        let mut forged = entries.clone();
        empty(&mut forged, *at);
        // A different epoch, name and sequences.
        for (place, with) in [(96, &[9][..]), (185, b"xress"), (88, &[200])] {
            let mut forged = forged.clone();
            edit(&mut forged[*at].2, place, with);
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
    assert!(
        certificate.open.iter().any(|text| text.starts_with("retention has removed samples of lathe")),
        "{certificate:?}"
    );
}

#[test]
fn a_log_without_its_samples_is_verified_and_they_are_counted() {
    let mut entries = emptied_history();
    let samples = samples_of(&entries, "press");
    samples.iter().take(6).for_each(|at| empty(&mut entries, *at));
    let verified = |entries: &[ForgedEntry]| verify::verify(&log_of(entries), &source("collector")).unwrap();
    let report = verified(&entries);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.report.emptied(), 6);
    let hash = entries[samples[2]].2[256] ^ 1;
    edit(&mut entries[samples[2]].2, 256, &[hash]);
    let whys: Vec<_> = verified(&entries).report.suspects.iter().map(|suspect| suspect.why).collect();
    assert_eq!(whys, [Doubt::Signature, Doubt::Chain], "it is not what was signed, nor what the next one continues");
}
