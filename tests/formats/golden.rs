//! The bytes of every format, pinned. Wire formats are forever: when this fails, the code is wrong. Never change a file
//! in `tests/data/formats`; make a new version of the format, with files of its own.
//!
//! Each `name.bin` has a `name.txt` beside it that says what it holds, as the independent reader of `oracle_reader` reads
//! it; what its lines mean is written at the head of [`text`]. Held against each other are: what [`made`] defines, the
//! file's bytes, the text, and what a reader in Python prints (see [`python`]).
//!
//! For a new version of a format, define it in [`made`] and run this once with `AFFERENT_WRITE_GOLDEN=1`: files that do
//! not exist yet are then written. It never changes a file.

mod made;
mod oracle;
mod python;
mod text;

use std::collections::BTreeSet;
use std::path::PathBuf;

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, Header};
use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
use afferent_protocol::codec;
use afferent_protocol::endorsement::Endorsement;
use afferent_protocol::event::{Body, Change, Kind};
use afferent_protocol::fragment::Assembler;
use afferent_protocol::frame::{Accumulator, Fed, Noise};
use afferent_protocol::ids::{Position, SourceId};
use afferent_protocol::record::Record;
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{Head, SegmentHeader};
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Down, Up};
use afferent_protocol::sign::{Context, PublicKey};
use afferent_tests::oracle_reader::{
    ReadTail, attestation_text, check_lanes, endorsement_text, hex, read_batch, read_clock, read_control,
    read_fragment, read_message, read_segment, read_witness,
};
use made::{KEY, LINE_FRAME_MAX, LOG_KEY, MadeBatch, SOURCE, VECTORS, keys};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/formats").join(name)
}

fn golden(name: &str) -> (Vec<u8>, String) {
    let read =
        |ending: &str| std::fs::read(path(&format!("{name}.{ending}"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    (read("bin"), String::from_utf8(read("txt")).expect("the text is UTF-8"))
}

/// Name, bytes and text of everything that is pinned.
fn everything() -> Vec<(&'static str, Vec<u8>, String)> {
    let mut all = vec![];
    let batches = made::batches().into_iter().map(|(name, made)| (name, made.seal()));
    for (name, bytes) in batches.chain(made::emptied()).chain(made::devices()) {
        let text = text::batch(&read_batch(&bytes).unwrap(), &keys());
        all.push((name, bytes, text));
    }
    for (name, bytes) in made::segments() {
        let text = text::segment(&read_segment(&bytes).unwrap().unwrap(), &keys());
        all.push((name, bytes, text));
    }
    let witness = made::witness();
    let text = read_witness(&witness).unwrap();
    all.push(("witness-v1", witness, text));
    for (name, control) in made::controls() {
        let bytes = control.encode().to_vec();
        let text = read_control(&bytes).unwrap();
        all.push((name, bytes, text));
    }
    for (name, bytes) in signed() {
        let text = read_message(&bytes, SOURCE).unwrap().text;
        all.push((name, bytes, text));
    }
    for (name, bytes) in made::statements() {
        let text = if bytes.len() == 213 { attestation_text("", &bytes) } else { endorsement_text("", &bytes) };
        all.push((name, bytes, text.unwrap().replace('=', ": ").replace(' ', "\n").replace(":\n", ": ")));
    }
    for (name, bytes) in made::payloads() {
        let text = read_clock(&bytes).or_else(|_| read_fragment(&bytes)).unwrap();
        all.push((name, bytes, text));
    }
    let line = made::line();
    let text = text::line(&line, LINE_FRAME_MAX);
    all.push(("serial-line-v2", line, text));
    let (vectors, names) = (made::signatures(), VECTORS.map(|(name, _)| name));
    let text = text::signatures(&vectors, &names);
    all.push(("signatures-v1", vectors, text));
    all
}

/// Signed messages of both directions.
fn signed() -> Vec<(&'static str, Vec<u8>)> {
    let source = SourceId::literal(SOURCE);
    let ups = made::ups().into_iter().map(|(name, up)| (name, up.sign(&source, &KEY)));
    let downs = made::downs().into_iter().map(|(name, down)| (name, down.sign(&source, made::identity_of(&down.key))));
    ups.chain(downs).collect()
}

fn write_missing(name: &str, bytes: &[u8], text: &str) {
    for (ending, content) in [("bin", bytes), ("txt", text.as_bytes())] {
        let path = path(&format!("{name}.{ending}"));
        if !path.exists() {
            std::fs::write(path, content).unwrap();
        }
    }
}

#[test]
fn what_is_made_today_has_the_bytes_and_the_meaning_of_the_files() {
    for (name, bytes, text) in everything() {
        if std::env::var_os("AFFERENT_WRITE_GOLDEN").is_some() {
            write_missing(name, &bytes, &text);
        }
        let (pinned_bytes, pinned_text) = golden(name);
        assert!(bytes == pinned_bytes, "{name}: the code makes other bytes than it did: {}", hex(&bytes));
        assert_eq!(text, pinned_text, "{name}: the bytes are read as something else than they were");
    }
}

#[test]
fn every_file_is_held_against_the_code() {
    let mut names: Vec<_> =
        everything().into_iter().flat_map(|(name, ..)| [format!("{name}.bin"), format!("{name}.txt")]).collect();
    let files = std::fs::read_dir(path("")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.collect();
    names.sort();
    files.sort();
    assert_eq!(files, names);
}

#[test]
fn no_text_is_what_rust_prints_for_debugging() {
    for (name, _, text) in everything() {
        let quoted = text.split('"').step_by(2).collect::<String>();
        let debug = ["Some(", "None", "Ok(", " { ", "[\n", "::"].iter().find(|debug| quoted.contains(**debug));
        assert_eq!(debug, None, "{name}");
    }
}

fn check_header(header: &Header, made: &MadeBatch) {
    assert_eq!(header.codec, 1);
    assert_eq!(header.source, made.lineage.source);
    assert_eq!(header.stream, made.lineage.stream);
    assert_eq!(header.epoch, made.lineage.epoch);
    assert_eq!(header.first, made.lineage.first);
    assert_eq!(header.previous, made.lineage.previous);
    assert_eq!(header.count as usize, made.events.len());
    assert_eq!(header.clock, made.clock);
    assert_eq!(Some(header.time_first), made.events.iter().map(|event| event.time).min());
    assert_eq!(Some(header.time_last), made.events.iter().map(|event| event.time).max());
}

#[test]
fn batches_are_decoded_field_by_field_to_what_they_were_made_of() {
    for (name, made) in made::batches() {
        let (bytes, _) = golden(name);
        let (batch, rest) = Batch::parse(&bytes).unwrap();
        assert!(rest.is_empty());
        check_header(batch.header(), &made);
        let records: Vec<Record<'_>> = codec::records(&batch, &mut []).unwrap().map(|record| record.unwrap()).collect();
        assert_eq!(records.len(), made.events.len(), "{name}");
        for (at, (record, event)) in records.iter().zip(&made.events).enumerate() {
            assert_eq!(record.sequence.get(), made.lineage.first.get() + at as u64, "{name}");
            assert_eq!(record.event, *event, "{name}");
        }
        assert!(made.identity.public_key().verifier().unwrap().verify(&batch).is_some(), "{name}");
    }
}

#[test]
fn the_files_have_every_kind_of_event_and_every_change_of_a_life_cycle() {
    let batches = made::batches();
    let bodies = || batches.iter().flat_map(|(_, made)| &made.events).map(|event| event.body);
    let kinds: BTreeSet<Kind> = bodies().map(|body| body.kind()).collect();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    let changes =
        bodies().filter_map(|body| if let Body::LifeCycle(change) = body { Some(change.kind()) } else { None });
    assert_eq!(changes.collect::<BTreeSet<Change>>(), BTreeSet::from(Change::ALL));
}

#[test]
fn an_emptied_batch_is_the_batch_that_it_was_without_its_events() {
    let (bytes, _) = golden("batch-removed-v1");
    let (whole, _) = golden("batch-samples-v1");
    let ((batch, rest), (whole, _)) = (Batch::parse(&bytes).unwrap(), Batch::parse(&whole).unwrap());
    assert!(rest.is_empty());
    assert_eq!(batch.header().codec, 255);
    let Header { crc, codec, body_len, decoded_len, .. } = *batch.header();
    assert_eq!(Header { crc, codec, body_len, decoded_len, ..*whole.header() }, *batch.header());
    assert_eq!(batch.chain_hash(), whole.chain_hash());
    assert_eq!(codec::records(&batch, &mut []).unwrap().count(), 0);
    assert!(KEY.public_key().verifier().unwrap().verify(&batch).is_some());
}

#[test]
fn what_was_sealed_again_is_what_it_was_under_the_sequences_that_its_first_event_names() {
    let read = |name: &str| read_batch(&golden(name).0).unwrap();
    let (old, new) = (read("batch-resealed-old-v1"), read("batch-resealed-new-v1"));
    let [resealed, copies @ ..] = &new.events[..] else { panic!("the new epoch has events") };
    let expected = format!("resealed stream=samples epoch={:016x} first={} reason=diverged", old.lane.epoch, old.first);
    assert_eq!((resealed.sequence, &resealed.body), (0, &expected));
    assert_eq!(copies.len(), old.events.len());
    for copy in copies {
        let event = &old.events[(copy.sequence - 1) as usize];
        assert_eq!(event.sequence, old.first + copy.sequence - 1);
        assert_eq!((copy.time, &copy.subject, &copy.body), (event.time, &event.subject, &event.body));
    }
}

#[test]
fn batches_of_a_device_are_linked_by_their_checksums_and_have_ticks_for_times() {
    let read = |name: &str| read_batch(&golden(name).0).unwrap();
    let batches = ["batch-device-v1", "batch-device-next-v1", "batch-device-synchronised-v1"].map(read);
    let mut previous = [0; 32];
    for batch in &batches {
        assert_eq!((batch.signature, batch.previous), ([0; 64], previous));
        previous[..4].copy_from_slice(&batch.crc.to_le_bytes());
        assert!(batch.times.1 as u64 <= batch.monotonic);
        assert_eq!(batch.wall as u64 == batch.monotonic, !batch.synchronised);
    }
}

#[test]
fn signed_messages_are_read_to_what_they_were_made_of() {
    let source = SourceId::literal(SOURCE);
    for (name, up) in made::ups() {
        let read = Up::read(&golden(name).0).unwrap();
        assert_eq!(read.verify_own_key(&source), Some(up), "{name}");
    }
    for (name, down) in made::downs() {
        let read = Down::read(&golden(name).0).unwrap().verify_own_key(&source).unwrap();
        assert_eq!(read, down, "{name}");
        assert_eq!(read.trusted_by(&[LOG_KEY.public_key()]), Some(&LOG_KEY.public_key()), "{name}");
        let attested = read.attested().map(|attestation| attestation == made::attestation());
        assert_eq!(attested, down.attestation.map(|_| true), "{name}");
    }
    for (name, control) in made::controls() {
        assert_eq!(Control::decode(&golden(name).0), Ok(control), "{name}");
    }
}

#[test]
fn statements_and_payloads_are_read_by_the_code() {
    let (attestation, _) = golden("attestation-v1");
    assert_eq!(Attestation::read(&attestation).unwrap().verify(), Some(made::attestation()));
    for name in ["endorsement-successor-v1", "endorsement-colleague-v1"] {
        assert!(Endorsement::read(&golden(name).0).is_some_and(|read| read.by == LOG_KEY.public_key()), "{name}");
    }
    assert!(ClockRequest::decode(&golden("clock-request-v1").0).is_some());
    assert!(ClockReply::decode(&golden("clock-reply-v1").0).is_some());
    let mut assembler = Assembler::<1024>::new();
    assert!(["fragment-v1", "fragment-last-v1"].iter().all(|name| assembler.take(&golden(name).0).is_none()));
    assert!(assembler.is_of(&golden("fragment-v1").0), "both are pieces of one batch");
}

#[test]
fn the_code_accepts_and_refuses_the_signatures_that_the_text_says() {
    let (bytes, text) = golden("signatures-v1");
    let told = text.lines().filter_map(|line| line.strip_prefix("accepted: ")).map(|told| told == "true");
    let (mut accepted, mut refused) = (0, 0);
    for (vector, told) in bytes.chunks(text::VECTOR_LEN).zip(told) {
        let array = |at: usize| -> [u8; 32] { vector[at..at + 32].try_into().unwrap() };
        let signature = vector[64..].try_into().unwrap();
        let verifier = PublicKey(array(0)).verifier();
        let is_accepted = verifier.is_some_and(|key| key.verify_in(Context::Batch, &array(32), signature));
        assert_eq!(is_accepted, told, "{}", hex(vector));
        *(if told { &mut accepted } else { &mut refused }) += 1;
    }
    assert_eq!((accepted, refused), (2, 12));
}

#[test]
fn a_library_that_is_not_strict_accepts_what_anybody_can_sign() {
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    let is_accepted = |vector: &[u8]| {
        let message = [&b"afferent batch v1\0\0\0"[..], &vector[32..64]].concat();
        let signature = Signature::from_bytes(vector[64..].try_into().unwrap());
        VerifyingKey::from_bytes(vector[..32].try_into().unwrap())
            .is_ok_and(|key| key.verify(&message, &signature).is_ok())
    };
    let accepted = golden("signatures-v1").0.chunks(text::VECTOR_LEN).filter(|vector| is_accepted(vector)).count();
    assert_eq!(accepted, 9, "the two right ones, and seven that the rules are there for");
}

#[test]
fn a_serial_line_is_taken_apart_as_the_text_says() {
    let (bytes, text) = golden("serial-line-v2");
    let mut accumulator = Accumulator::<LINE_FRAME_MAX>::new();
    let (mut rest, mut lines) = (&bytes[..], vec![]);
    loop {
        let taken = match accumulator.feed(rest) {
            Fed::More => break,
            Fed::Frame { payload, taken } => {
                lines.push(format!("frame: {}", hex(payload)));
                taken
            }
            Fed::Noise { noise, taken } => {
                let why = match noise {
                    Noise::TooLong => "too-long",
                    Noise::Encoding => "encoding",
                    Noise::Checksum => "checksum",
                };
                lines.push(format!("noise: {why}"));
                taken
            }
        };
        rest = &rest[taken..];
    }
    lines.push(format!("pending: {}", rest.len()));
    assert_eq!(lines, text.lines().collect::<Vec<_>>());
}

#[test]
fn segments_are_scanned_to_the_entries_stretches_and_tails_that_the_oracle_reads() {
    for (name, _) in made::segments() {
        let (bytes, _) = golden(name);
        let read = read_segment(&bytes).unwrap().unwrap();
        let Head::Present { header, copies: 2 } = SegmentHeader::decode(&bytes) else { panic!("{name}: no header") };
        assert_eq!(header.log_id, read.header.log_id);
        assert_eq!(header.generation, read.header.generation);
        assert_eq!(header.first_ordinal, read.header.first_ordinal);
        let mut scan = Scan::new(&bytes, header.seed());
        let (mut entries, mut corrupt) = (vec![], vec![]);
        while let Some(step) = scan.step() {
            match step {
                Step::Entry(at, entry) => {
                    let head = entry.head;
                    let other = (head.other.0.get(), head.other.1);
                    entries.push((at.get() as usize, head.ordinal, head.acked_end, other, head.stamp.micros()));
                }
                Step::Corrupt { from, to } => corrupt.push((from.get() as usize, to.get() as usize)),
            }
        }
        let expected = read.entries.iter();
        let expected = expected.map(|entry| (entry.position, entry.ordinal, entry.acked_end, entry.other, entry.stamp));
        assert_eq!((entries, corrupt), (expected.collect(), read.corrupt), "{name}");
        let tail = match scan.tail() {
            Tail::Clean { end } => ReadTail::Clean { at: end.get() as usize },
            Tail::Torn { end, claim } => {
                ReadTail::Torn { at: end.get() as usize, claimed: claim.map(|head| head.count) }
            }
        };
        assert_eq!(tail, read.tail, "{name}");
        assert!(scan.tail().end() >= Position::new(1024));
    }
}

#[test]
fn the_segments_are_what_their_names_say() {
    let read = |name: &str| read_segment(&golden(name).0).unwrap().unwrap();
    let key = |source: &str| Some(if source == SOURCE { &KEY } else { &LOG_KEY }.public_key().0);
    for (name, entries) in [("segment-ring-v2", 3), ("segment-unified-v2", 6), ("segment-unified-clocks-v2", 6)] {
        let segment = read(name);
        assert_eq!((segment.entries.len(), segment.corrupt.len()), (entries, 0), "{name}");
        assert!(matches!(segment.tail, ReadTail::Clean { .. }), "{name}");
        let problems = check_lanes(segment.entries.iter().map(|entry| &entry.batch), key, |_, _, _| false);
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
    let torn = read("segment-unified-torn-v2");
    assert_eq!((torn.entries.len(), torn.corrupt.len()), (2, 0));
    assert!(matches!(torn.tail, ReadTail::Torn { claimed: Some(_), .. }));
    let corrupt = read("segment-unified-corrupt-v2");
    assert_eq!((corrupt.entries.len(), corrupt.corrupt.len()), (2, 1));
    assert!(matches!(corrupt.tail, ReadTail::Clean { .. }));
}
