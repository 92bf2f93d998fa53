//! A thief of the collector's key can rewrite its log: evidence kept outside shows it.

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use proptest::prelude::*;

use super::*;
use crate::log::Witnesses;
use crate::log::records::Decoder;

/// The attestations of a log, in the form that agents and operators keep.
fn kept(entries: &[ForgedEntry]) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, _, bytes, _) in entries {
        let (batch, _) = Batch::parse(bytes).unwrap();
        for record in Decoder::default().open(&batch) {
            if let Body::LifeCycle(LifeCycle::Attested { attestation }) = record.unwrap().event.body {
                assert_eq!(attestation.len(), ATTESTATION_LEN);
                lines.push(attestation.iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    lines
}

fn witness(lines: &[String]) -> CheckMaterial {
    let mut witnesses = Witnesses::default();
    witnesses.read(&lines.join("\n")).unwrap();
    CheckMaterial { witnesses, ..by_key() }
}

fn machine_by(entries: &[ForgedEntry], means: CheckMaterial) -> Certificate {
    certified_by(entries, About::Machine("88-C".into()), span(), means).unwrap()
}

#[test]
fn a_log_that_was_made_anew_with_the_collectors_key_is_refuted_by_a_witness_and_by_nothing_else() {
    let real = history();
    let witnesses = kept(&real);
    let certificate = machine_by(&real, witness(&witnesses));
    assert!(certificate.complete, "{}", text::text(&certificate));
    assert!(certificate.log.witnessed.is_some() && certificate.rests_on.contains("on witness"), "{certificate:?}");
    // A whole agent is left out, and the collector's key signs all of it again.
    let forged = lived(KEY, &["press"]).end();
    let without = machine_by(&forged, by_key());
    assert!(without.complete, "the control: {}", text::text(&without));
    assert!(without.rests_on.contains("on no witness from outside"), "{}", without.rests_on);
    assert_eq!(machine_by(&forged, witness(&witnesses)).verdict, Verdict::Refuted);
    for line in witnesses {
        let certificate = machine_by(&forged, witness(&[line]));
        assert_eq!(certificate.verdict, Verdict::Refuted, "one is enough");
    }
}

#[test]
fn a_tail_that_was_cut_off_is_refuted_by_a_witness_of_it() {
    let real = history();
    let witnesses = kept(&real);
    let cut = &real[..real.len() / 2];
    let report = |means| verify::verify_by(&log_of(cut), &source("collector"), means).unwrap();
    assert!(report(by_key()).is_sound(), "the control: the log alone cannot tell");
    let findings = report(witness(&witnesses[witnesses.len() - 1..])).findings;
    assert!(says(&findings.refuted, "its tail was cut off"), "{:?}", findings.refuted);
}

#[test]
fn a_stranger_who_signs_everything_with_a_key_of_his_own_is_found_out_by_whoever_names_the_key() {
    let forged = lived(44, &["press"]).end();
    let found = CheckMaterial { trust: Trust::Found, ..CheckMaterial::default() };
    let certificate = machine_by(&forged, found);
    assert!(certificate.complete, "the control: {}", text::text(&certificate));
    let key = identity(44).public_key().to_string();
    assert!(text::text(&certificate).contains(&format!("with the key found there: {key}")));
    assert_eq!(machine_by(&forged, by_key()).verdict, Verdict::Refuted);
    let witnesses = kept(&history());
    let found = CheckMaterial { trust: Trust::Found, ..witness(&witnesses) };
    assert_eq!(machine_by(&forged, found).verdict, Verdict::Refuted, "a witness under the real key tells, too");
}

#[test]
fn a_ring_that_holds_what_was_acknowledged_refutes_a_log_without_it() {
    let real = history();
    let samples = samples_of(&real, "press");
    let batches: Vec<Vec<u8>> = samples.iter().map(|at| real[*at].2.clone()).collect();
    let with_ring = |entries: &[ForgedEntry], acked_end: u64, batches: &[Vec<u8>]| {
        let mut rings = Rings::default();
        rings.read(&ring_of(batches, acked_end)).unwrap();
        certified_by(entries, About::Source(source("press")), span(), CheckMaterial { rings, ..by_key() }).unwrap()
    };
    assert!(with_ring(&real, 60, &batches).complete);
    // The machine never reached this log; its ring claims that it has.
    let mut more = Agent::new("press", Stream::Samples, 1);
    (0..12).for_each(|_| drop(more.samples(5)));
    let unsent = [batches.clone(), vec![more.samples(5)]].concat();
    let certificate = with_ring(&real, 60, &unsent);
    assert_eq!(certificate.causes, [Cause::Open], "what was not acknowledged is on its way");
    assert!(says(&certificate.open, "sequences 60 up to 65 are in the ring log and have not arrived"));
    let certificate = with_ring(&real, 65, &unsent);
    assert!(says(&certificate.refuted, "were acknowledged, but are not in the log"), "{certificate:?}");
    // A different history under the same sequences.
    let mut other = Agent::new("press", Stream::Samples, 1);
    let others = [other.samples(7), other.samples(7)];
    assert!(says(&with_ring(&real, 60, &others).refuted, "differ in the ring log"));
}

/// The lane of the press, as a ring has it under this key.
fn under_key(seed: u8, batches: usize) -> Vec<Vec<u8>> {
    let mut agent = Agent::new("press", Stream::Samples, 1);
    agent.identity = identity(seed);
    (0..batches).map(|_| agent.samples(5)).collect()
}

#[test]
fn a_ring_under_another_key_refutes_what_it_had_acknowledged_and_leaves_open_what_it_still_holds() {
    let real = history();
    let with_ring = |acked_end: u64, batches: &[Vec<u8>]| {
        let mut rings = Rings::default();
        rings.read(&ring_of(batches, acked_end)).unwrap();
        certified_by(&real, About::Source(source("press")), span(), CheckMaterial { rings, ..by_key() }).unwrap()
    };
    // A thief of the collector's key can pin a different key for a name; the agent's ring has the events that it really
    // sent.
    let certificate = with_ring(60, &under_key(55, 12));
    assert_eq!(certificate.verdict, Verdict::Refuted);
    assert!(says(&certificate.refuted, "signed with another key than that of press in the log"), "{certificate:?}");
    // An agent that has lost its key refutes no log: its events have not come, and the certificate says how to get
    // them.
    let certificate = with_ring(0, &under_key(55, 12));
    assert_eq!((certificate.verdict, &certificate.causes[..]), (Verdict::Incomplete, &[Cause::Open][..]));
    assert!(says(&certificate.open, "`agents replace press --key KEY --why …`"), "{:?}", certificate.open);
    // The control: under the key that the log names, the ring has the events of the log.
    let own_key = Agent::new("press", Stream::Samples, 1).identity.public_key();
    let seed = (0..=255).find(|seed| identity(*seed).public_key() == own_key).unwrap();
    assert!(with_ring(60, &under_key(seed, 12)).complete);
}

#[test]
fn a_log_of_which_nothing_counts_is_not_sound() {
    let disk = log_of(&history());
    assert!(verify::verify(&disk, &source("collector")).unwrap().is_sound(), "the control");
    // A later, empty segment that begins at the first offset: no earlier entry counts.
    let name = disk.names().into_iter().find(|name| name.ends_with(".seg")).unwrap();
    let bytes = disk.bytes(&name);
    let afferent_protocol::segment::Head::Present { header, .. } =
        afferent_protocol::segment::SegmentHeader::decode(&bytes)
    else {
        panic!("a segment has a header")
    };
    let later = afferent_protocol::segment::SegmentHeader { generation: header.generation + 9, ..header };
    let name = format!("{:020}-{:010}.seg", header.first_ordinal, later.generation);
    let file = disk.create(&name, 4096).unwrap();
    file.write_at(&later.encode(), 0).unwrap();
    let report = verify::verify(&disk, &source("collector")).unwrap();
    assert_eq!(report.report.batches, 0);
    assert!(!report.is_sound() && report.report.uncounted[0].batches > 20, "{report:?}");
}

proptest! {
    #[test]
    fn no_bytes_of_a_witness_file_are_more_than_refused(text in "[0-9a-fA-F#\n é]{0,900}") {
        let _ = Witnesses::default().read(&text);
    }
}

/// The same attestation, of a different partition, signed with the same key.
fn of_partition(line: &str, partition: u32) -> String {
    let bytes: [u8; ATTESTATION_LEN] = afferent_host::hex::decode_array(line).unwrap();
    let attestation = Attestation::read(&bytes).unwrap().verify().unwrap();
    let signed = Attestation { partition, ..attestation }.sign(&identity(KEY));
    afferent_host::hex::encode(&signed)
}

#[test]
fn a_witness_of_another_partition_refutes_and_says_so() {
    let real = history();
    let last = kept(&real).pop().unwrap();
    assert_eq!(of_partition(&last, 0), last, "the control: signed again it is what it was");
    let certificate = machine_by(&real, witness(&[of_partition(&last, 0)]));
    assert_eq!((certificate.verdict, certificate.log.partition), (Verdict::Complete, 0));
    let certificate = machine_by(&real, witness(&[of_partition(&last, 3)]));
    assert_eq!(certificate.verdict, Verdict::Refuted);
    assert!(format!("{certificate:?}").contains("another partition"), "{certificate:?}");
}
