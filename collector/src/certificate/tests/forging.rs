//! Forgers who can write the files and do not have the keys.

use afferent_protocol::batch::SIGNED_FROM;
use afferent_protocol::checksum::crc32c;
use proptest::prelude::*;

use super::*;

#[test]
fn a_complete_history_is_certified_for_a_source_and_for_a_machine() {
    let entries = history();
    let certificate = of_press(&entries);
    assert_eq!((certificate.verdict, certificate.complete), (Verdict::Complete, true), "{}", text::text(&certificate));
    assert_eq!(lane_of(&certificate, Stream::Samples), [(0, 30, Fate::Present)]);
    assert_eq!(certificate.sources[0].known_until, Some(clock(35).wall));
    let machine = of_machine(&entries);
    assert!(machine.complete, "{}", text::text(&machine));
    assert_eq!(machine.sources.len(), 2, "both agents speak of it");
    assert!(attested_batches(&entries) + 3 > entries.len(), "what a stop leaves unattested is its own last words");
    assert!(text::text(&certificate).contains("press samples: batches with 30 events, all present"));
}

#[test]
fn whatever_attested_batch_is_taken_out_the_log_is_refuted() {
    let entries = history();
    for at in 0..attested_batches(&entries) {
        let mut forged = entries.clone();
        let (offset, ..) = forged.remove(at);
        match certified(&forged, About::Source(source("press")), span()) {
            Ok(certificate) => assert_eq!(certificate.verdict, Verdict::Refuted, "without offset {offset}"),
            Err(error) => panic!("without offset {offset}: {error}"),
        }
        let report = verify::verify_by(&log_of(&forged), &source("collector"), by_key()).unwrap();
        assert!(!report.is_sound(), "without offset {offset}, and renumbered");
    }
}

#[test]
fn without_attestations_the_last_batch_of_a_lane_that_ended_could_be_taken_out_unseen() {
    // The control of the test before: chains alone do not bind the end of a lane.
    let is_of_other = |bytes: &[u8]| Batch::parse(bytes).unwrap().0.header().source == source("lathe");
    let mut entries = history();
    let last = entries.iter().rposition(|(_, _, bytes, _)| is_of_other(bytes)).unwrap();
    entries.remove(last);
    let mut proof = crate::log::Proof::new(source("collector"), &by_key().trust);
    assert!(entries.iter().all(|(_, _, bytes, _)| proof.doubts(&Batch::parse(bytes).unwrap().0).is_empty()));
    assert_eq!(of_press(&entries).verdict, Verdict::Refuted);
}

#[test]
fn a_whole_agent_that_was_dropped_is_refuted() {
    let is_of_lathe = |bytes: &[u8]| Batch::parse(bytes).unwrap().0.header().source == source("lathe");
    let mut entries = history();
    entries.retain(|(_, _, bytes, _)| !is_of_lathe(bytes));
    assert_eq!(of_machine(&entries).verdict, Verdict::Refuted);
    let report = verify::verify_by(&log_of(&entries), &source("collector"), by_key()).unwrap();
    assert!(report.report.suspects.is_empty() && !report.is_sound(), "only attestations tell: {report:?}");
}

#[test]
fn a_log_whose_end_was_cut_off_certifies_nothing_about_what_came_later() {
    let entries = history();
    let mut complete = 0;
    for len in 1..entries.len() {
        let forged = &entries[..len];
        let Ok(certificate) = certified(forged, About::Source(source("press")), span()) else { continue };
        let samples = lane_of(&certificate, Stream::Samples);
        assert!(samples == [(0, 30, Fate::Present)] || !certificate.complete, "{len} of {} batches", entries.len());
        complete += u64::from(certificate.complete);
    }
    assert!(complete > 0, "once all of it has come, with a statement and an attestation behind it, it is complete");
}

#[test]
fn ingest_times_that_were_moved_are_refuted() {
    let entries = history();
    for at in 0..attested_batches(&entries) {
        let mut forged = entries.clone();
        forged[at].1 = Timestamp::clamped(forged[at].1.micros() + 1);
        assert_eq!(of_press(&forged).verdict, Verdict::Refuted, "entry {at}");
    }
}

#[test]
fn clock_offsets_that_were_changed_are_refuted() {
    let entries = history();
    assert!(entries.iter().filter(|(.., clock_offset_us)| clock_offset_us.is_some()).count() > 2);
    for at in 0..attested_batches(&entries) {
        for other in [None, Some(0), Some(-1), Some(864_000_000_000)] {
            let mut forged = entries.clone();
            forged[at].3 = other;
            let verdict = of_press(&forged).verdict;
            assert_eq!(verdict == Verdict::Refuted, other != entries[at].3, "entry {at} with {other:?}: {verdict:?}");
        }
    }
}

proptest! {
    #[test]
    fn batches_in_another_order_are_refuted(at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let entries = history();
        let attested = attested_batches(&entries);
        let (at, to) = (at.index(attested), to.index(attested));
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
        let at = at.index(attested_batches(&forged));
        // Of a different agent only the bytes bound by its attestation are checked: all but the signature.
        let about = match Batch::parse(&forged[at].2).unwrap().0.header().source {
            own if own == source("collector") => source("press"),
            agent => agent,
        };
        let bytes = &mut forged[at].2;
        let byte = 8 + byte.index(bytes.len() - 8);
        bytes[byte] ^= flip;
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        prop_assume!(Batch::parse(bytes).is_ok_and(|(batch, rest)| rest.is_empty() && batch.bytes().len() > SIGNED_FROM));
        let certificate = certified(&forged, About::Source(about), span());
        prop_assert!(certificate.is_ok_and(|certificate| certificate.verdict == Verdict::Refuted));
    }
}
