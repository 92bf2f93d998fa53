//! A reader in another language, written from the specification: it must print the texts, byte for byte, and notice any flipped
//! bit.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_protocol::batch::Batch;
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec;
use afferent_tests::oracle_reader::hex;
use afferent_tests::process::Folder;

use super::made::{self, LINE_FRAME_MAX, SOURCE};
use super::{everything, golden, path};

/// Bits of each file that are flipped, one at a time.
const FLIPS: usize = 16;

/// What it prints for these files; `None` where there is no Python.
fn read(files: &[PathBuf]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/reader.py");
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).args(["--source", SOURCE, "--longest", &LINE_FRAME_MAX.to_string()]);
    python.args(made::keys().iter().flat_map(|key| ["--key".to_owned(), hex(key)])).args(files);
    let output = match python.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.expect("python3 starts"),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.is_empty(), "the reader fails: {error}");
    Some(String::from_utf8(output.stdout).expect("it prints UTF-8"))
}

/// What it prints for each of these contents of a file with this name.
fn read_all(name: &str, contents: &[Vec<u8>]) -> Option<Vec<String>> {
    let folder = Folder::new("golden-flipped");
    let write = |(at, content): (usize, &Vec<u8>)| {
        let file = folder.join(&format!("{name}.{at}.bin"));
        std::fs::write(&file, content).expect("the folder can be written");
        file
    };
    let files: Vec<PathBuf> = contents.iter().enumerate().map(write).collect();
    let printed = read(&files)?;
    let texts: Vec<String> =
        printed.split("file: ").skip(1).map(|part| part[part.find('\n').unwrap() + 1..].into()).collect();
    assert_eq!(texts.len(), contents.len(), "{name}");
    Some(texts)
}

/// A vector's name is in the text alone.
fn without_names(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("vector: ")).collect()
}

#[test]
fn a_reader_made_from_the_specification_alone_prints_the_same_of_every_file() {
    for (name, ..) in everything() {
        let Some(said) = read(&[path(&format!("{name}.bin"))]) else {
            println!("NOT CHECKED: golden files by reader.py, because there is no python3");
            return;
        };
        assert_eq!(said, without_names(&golden(name).1), "{name}");
    }
}

/// The bytes of a golden file in which every bit means something: not what follows the end of a segment's entries, what was
/// damaged before, or noise; of vectors, those that are accepted.
fn meant(name: &str, bytes: &[u8], text: &str) -> Vec<usize> {
    let number = |line: &str, field: &str| -> usize {
        line.split_once(field).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).expect("a number")
    };
    if let Some(tail) = text.lines().find(|line| line.starts_with("tail: ")) {
        let corrupt = text.lines().find(|line| line.starts_with("corrupt: "));
        let corrupt = corrupt.map_or(0..0, |line| number(line, "from=")..number(line, "to="));
        return (0..number(tail, "at=")).filter(|at| !corrupt.contains(at)).collect();
    }
    if name.starts_with("signatures") {
        let accepted = text.lines().filter(|line| line.starts_with("accepted: ")).map(|line| line == "accepted: true");
        let of_vector = |at: usize| 128 * at..128 * (at + 1);
        return accepted.enumerate().filter(|(_, is)| *is).flat_map(|(at, _)| of_vector(at)).collect();
    }
    if name.starts_with("serial-line") {
        let (mut at, mut lines, mut meant) = (0, text.lines(), vec![]);
        for part in bytes.split(|byte| *byte == 0) {
            if !part.is_empty() && lines.next().is_some_and(|line| line.starts_with("frame: ")) {
                meant.extend(at..at + part.len());
            }
            at += part.len() + 1;
        }
        return meant;
    }
    (0..bytes.len()).collect()
}

/// Whether this is printed of something that is not as it was, and not only of something else.
fn is_noticed(name: &str, text: &str, golden: &str) -> bool {
    let marks = |text: &str| -> Vec<String> {
        let marks = ["refused: ", "problem: ", "corrupt: ", "tail: ", "noise: ", "accepted: ", "signed: false"];
        text.lines().filter(|line| marks.iter().any(|mark| line.starts_with(mark))).map(str::to_owned).collect()
    };
    // These have no checksum of their own: the frame around them has one.
    let is_bare = ["clock-", "fragment-"].iter().any(|bare| name.starts_with(bare));
    if is_bare { text != golden } else { marks(text) != marks(golden) }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// `FLIPS` bits of these bytes, spread over all of them, and over the bits of a byte.
fn spread(places: &[usize]) -> impl Iterator<Item = usize> {
    (0..FLIPS).map(|at| 8 * places[(2 * at + 1) * places.len() / (2 * FLIPS)] + at % 8)
}

#[test]
fn a_flipped_bit_of_any_golden_file_is_noticed() {
    for (name, bytes, text) in everything() {
        let contents: Vec<_> = spread(&meant(name, &bytes, &text)).map(|bit| flipped(&bytes, bit)).collect();
        let Some(texts) = read_all(name, &contents) else { return };
        for (at, read) in texts.iter().enumerate() {
            assert!(is_noticed(name, read, &without_names(&text)), "{name}, flip {at}: {read}");
        }
        assert!(!is_noticed(name, &without_names(&text), &without_names(&text)), "{name}: the file itself is whole");
    }
}

#[test]
fn a_flipped_bit_under_a_checksum_that_was_made_to_fit_leaves_no_signature() {
    let is_signed = |text: &str| {
        text.contains("\nsigned: true\n")
            || text.lines().any(|line| line.starts_with("signed_by: ") && line != "signed_by: nobody")
    };
    // What retention has emptied is bound by the hash that it keeps, and what a device makes is not signed.
    let has_signature = |name: &str| {
        name.starts_with("signed-")
            || name.starts_with("batch-") && !name.contains("-device") && !name.contains("-removed")
    };
    for (name, bytes, text) in everything().into_iter().filter(|(name, ..)| has_signature(name)) {
        assert!(is_signed(&text), "{name}: the file itself is signed");
        let places: Vec<usize> = (8..bytes.len()).collect();
        let mend = |mut bytes: Vec<u8>| {
            let crc = crc32c(&bytes[8..]).to_le_bytes();
            bytes[4..8].copy_from_slice(&crc);
            bytes
        };
        let contents: Vec<_> = spread(&places).map(|bit| mend(flipped(&bytes, bit))).collect();
        let Some(texts) = read_all(name, &contents) else { return };
        for (at, read) in texts.iter().enumerate() {
            assert!(!is_signed(read), "{name}, flip {at}: {read}");
        }
    }
}

#[test]
fn an_ingest_time_or_a_clock_offset_that_was_changed_under_checksums_that_fit_contradicts_the_attestations() {
    // The stamp; the clock offset; whether that was measured.
    for (name, place) in [
        ("segment-unified-v2", 32),
        ("segment-unified-terms-v2", 32),
        ("segment-unified-v2", 48),
        ("segment-unified-clocks-v2", 40),
        ("segment-unified-clocks-v2", 48),
    ] {
        let (mut bytes, text) = golden(name);
        let mut places =
            text.lines().filter_map(|line| line.strip_prefix("entry: at=")?.split(' ').next()?.parse().ok());
        let at: usize = places.nth(1).expect("a second entry");
        bytes[at + place] ^= 1;
        let crc = crc32c(&[&bytes[16..40], &bytes[at + 4..at + 56]].concat()).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&crc);
        let Some(texts) = read_all(name, &[bytes.clone(), bytes]) else { return };
        let found = texts[0].lines().filter(|line| line.starts_with("problem: ")).count();
        assert_eq!(found, 2, "each attestation behind it: {}", texts[0]);
    }
}

#[test]
fn the_code_and_the_reader_refuse_the_same_characters_of_subjects() {
    let (bytes, _) = golden("batch-device-v1");
    let at = 256 + bytes[256..].windows(7).position(|part| part == b"spindle").expect("its subject");
    let cases: [(&[u8], bool); 8] = [
        (b"\x00", false),
        (b"\x1f", false),
        (b" ", true),
        (b"\x7f", false),
        ("\u{80}".as_bytes(), false),
        ("\u{9f}".as_bytes(), false),
        ("\u{a0}".as_bytes(), true),
        ("\u{2028}".as_bytes(), true),
    ];
    let with = |character: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + character.len()].copy_from_slice(character);
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        bytes
    };
    let batches: Vec<_> = cases.iter().map(|(character, _)| with(character)).collect();
    let texts = read_all("batch-device-v1", &batches);
    for (number, (character, is_taken)) in cases.iter().enumerate() {
        let batch = Batch::parse(&batches[number]).unwrap().0;
        let is_read = codec::records(&batch, &mut []).is_ok_and(|mut records| records.all(|record| record.is_ok()));
        assert_eq!(is_read, *is_taken, "{character:?}");
        let Some(texts) = &texts else { continue };
        assert_eq!(!texts[number].starts_with("refused: a subject"), *is_taken, "{character:?}: {}", texts[number]);
    }
}
