//! The bytes of every format, pinned. Wire formats are for ever: when this fails, the code is wrong. Never change a file
//! in `tests/data/formats`; make a new version of the format, with files of its own.
//!
//! Each `name.bin` has a `name.txt` beside it that says what it holds, as the independent reader of `oracle_reader` reads
//! it. Three things are held against each other: what [`made`] defines, the file's bytes, and the text.
//!
//! For a new version of a format, define it in [`made`] and run this once with `AFFERENT_WRITE_GOLDEN=1`: files that do
//! not exist yet are then written. It never changes a file.

mod made;
mod oracle;

use std::path::PathBuf;

use afferent_protocol::batch::{Batch, Header};
use afferent_protocol::codec;
use afferent_protocol::frame::{Accumulator, Fed};
use afferent_protocol::ids::Position;
use afferent_protocol::record::Record;
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{Head, SegmentHeader};
use afferent_protocol::session::Control;
use afferent_tests::oracle_reader::{ReadBatch, ReadSegment, check_lanes, read_batch, read_segment};
use made::{KEY, MadeBatch};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/formats").join(name)
}

fn golden(name: &str) -> (Vec<u8>, String) {
    let read =
        |ending: &str| std::fs::read(path(&format!("{name}.{ending}"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    (read("bin"), String::from_utf8(read("txt")).expect("the text is UTF-8"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn batch_text(batch: &ReadBatch) -> String {
    let mut text = format!(
        "batch source={} stream={} epoch={:016x} first={} count={} times={}..={} synchronised={} monotonic={} wall={}\n",
        batch.lane.source,
        batch.lane.stream,
        batch.lane.epoch,
        batch.first,
        batch.count,
        batch.times.0,
        batch.times.1,
        batch.synchronised,
        batch.monotonic,
        batch.wall,
    );
    text += &format!(
        "  boot={} signed={}\n  previous={}\n  chain={}\n",
        hex(&batch.boot),
        batch.is_signed_by(&KEY.public_key().0),
        hex(&batch.previous),
        hex(&batch.chain)
    );
    if batch.is_emptied {
        text += "  removed\n";
    }
    for event in &batch.events {
        text += &format!("  {} {} {} {}\n", event.sequence, event.time, event.subject, event.body);
    }
    text
}

fn segment_text(segment: &ReadSegment) -> String {
    let header = &segment.header;
    let mut text = format!(
        "segment kind={} stream={} log={} generation={} epoch={:016x} first={} begun={}\n",
        header.kind,
        header.stream,
        hex(&header.log_id),
        header.generation,
        header.epoch,
        header.first_ordinal,
        header.begun
    );
    for entry in &segment.entries {
        text += &format!(
            "entry at={} ordinal={} acked_end={} stamp={}\n{}",
            entry.position,
            entry.ordinal,
            entry.acked_end,
            entry.stamp,
            batch_text(&entry.batch)
        );
    }
    for (from, to) in &segment.corrupt {
        text += &format!("corrupt from={from} to={to}\n");
    }
    text + &format!("tail {:?}\n", segment.tail)
}

/// What the accumulator makes of a line's bytes.
fn line_text(bytes: &[u8]) -> String {
    let mut accumulator = Accumulator::<600>::new();
    let (mut rest, mut text) = (bytes, String::new());
    loop {
        match accumulator.feed(rest) {
            Fed::More => return text,
            Fed::Frame { payload, taken } => {
                text += &format!("frame {}\n", hex(payload));
                rest = &rest[taken..];
            }
            Fed::Noise { noise, taken } => {
                text += &format!("noise {noise:?}\n");
                rest = &rest[taken..];
            }
        }
    }
}

/// Name, bytes and text of everything that is pinned.
fn everything() -> Vec<(String, Vec<u8>, String)> {
    let mut all = vec![];
    for (name, made) in made::batches() {
        let bytes = made.seal();
        let text = batch_text(&read_batch(&bytes).unwrap());
        all.push((name.to_owned(), bytes, text));
    }
    for (name, bytes) in made::emptied() {
        let text = batch_text(&read_batch(&bytes).unwrap());
        all.push((name.to_owned(), bytes, text));
    }
    for (name, bytes) in made::segments() {
        let text = segment_text(&read_segment(&bytes).unwrap().unwrap());
        all.push((name.to_owned(), bytes, text));
    }
    for (name, control) in made::controls() {
        all.push((name.to_owned(), control.encode().to_vec(), format!("{control:?}\n")));
    }
    let line = made::line();
    let text = line_text(&line);
    all.push(("serial-noise-v1".to_owned(), line, text));
    all
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
            write_missing(&name, &bytes, &text);
        }
        let (pinned_bytes, pinned_text) = golden(&name);
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
        assert!(KEY.public_key().verifier().unwrap().verify(&batch).is_some(), "{name}");
    }
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
                    entries.push((at.get() as usize, entry.head.ordinal, entry.head.stamp.micros()))
                }
                Step::Corrupt { from, to } => corrupt.push((from.get() as usize, to.get() as usize)),
            }
        }
        let expected: Vec<_> = read.entries.iter().map(|entry| (entry.position, entry.ordinal, entry.stamp)).collect();
        assert_eq!((entries, corrupt), (expected, read.corrupt), "{name}");
        use afferent_tests::oracle_reader::ReadTail;
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
    use afferent_tests::oracle_reader::ReadTail;
    let ring = read("segment-ring-v1");
    assert_eq!((ring.entries.len(), ring.corrupt.len()), (3, 0));
    assert!(matches!(ring.tail, ReadTail::Clean { .. }));
    let key = |_: &str| Some(KEY.public_key().0);
    let problems = check_lanes(ring.entries.iter().map(|entry| &entry.batch), key, |_, _, _| false);
    assert!(problems.is_empty(), "{problems:?}");
    let torn = read("segment-unified-torn-v1");
    assert_eq!((torn.entries.len(), torn.corrupt.len()), (2, 0));
    assert!(matches!(torn.tail, ReadTail::Torn { claimed: Some(_), .. }));
    let corrupt = read("segment-unified-corrupt-v1");
    assert_eq!((corrupt.entries.len(), corrupt.corrupt.len()), (2, 1));
    assert!(matches!(corrupt.tail, ReadTail::Clean { .. }));
}

#[test]
fn control_messages_are_decoded_to_what_they_were_made_of() {
    for (name, control) in made::controls() {
        assert_eq!(Control::decode(&golden(name).0), Ok(control), "{name}");
    }
}
