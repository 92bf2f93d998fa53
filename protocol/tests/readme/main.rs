//! Holds the tables and examples of `README.md` against the code: the specification cannot drift.
//!
//! Here: layouts with fixed places, numbers and names; [`rows`]: events; [`messages`]: the session, and the serial
//! line.

mod messages;
mod rows;

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::{self, ClockReading, Header};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::Codec;
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::limits::*;
use afferent_protocol::segment::{self, EntryHead, LogKind, SegmentHeader};
use afferent_protocol::sign::{Context, Identity, PublicKey, Running, sha256};
use afferent_protocol::topic::shard;
use afferent_protocol::version::{BATCH_VERSION, CONTROL_VERSION, SEGMENT_VERSION};

const README: &str = include_str!("../../README.md");

/// The rows of the first table after `heading` whose first column is called `column`, as cells.
fn table(heading: &str, column: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let start = section.find(&format!("| {column} |")).unwrap_or_else(|| panic!("no table of {column}"));
    let lines = section[start..].lines().take_while(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The rows of the table after `heading` with exactly this first line.
fn table_after(heading: &str, first_line: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    let (_, rows) = section.split_once(&format!("{first_line}\n")).unwrap_or_else(|| panic!("no table {first_line}"));
    let lines = rows.lines().take_while(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Holds every row of a byte table against `bytes`, and the table against having holes.
fn check_layout(heading: &str, bytes: &[u8], fields: &[(&str, &[u8])]) {
    check_rows(heading, &table(heading, "offset"), bytes, fields);
}

fn check_rows(heading: &str, rows: &[Vec<&str>], bytes: &[u8], fields: &[(&str, &[u8])]) {
    let mut at = 0;
    for row in rows {
        let (offset, len): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(offset, at, "{heading}: a hole before `{}`", row[2]);
        let value = if row[2] == "zeros" {
            vec![0; len]
        } else {
            let known = fields.iter().find(|(name, _)| *name == row[2]);
            known.unwrap_or_else(|| panic!("{heading}: `{}` is not in the code", row[2])).1.to_vec()
        };
        assert_eq!(value.len(), len, "{heading}: length of `{}`", row[2]);
        assert_eq!(&bytes[offset..offset + len], value, "{heading}: `{}` stands elsewhere", row[2]);
        at += len;
    }
    assert_eq!(at, bytes.len(), "{heading}: the table ends early");
    assert_eq!(rows.iter().filter(|row| row[2] != "zeros").count(), fields.len(), "{heading}: a field is missing");
}

fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros).unwrap()
}

fn header() -> Header {
    Header {
        crc: 0x0102_0304,
        signature: [0xA1; 64],
        codec: 0xC1,
        stream: Stream::Samples,
        body_len: 0x0403,
        decoded_len: 0x0506,
        count: 0x0708,
        first: Sequence::new(0x1112_1314_1516_1718),
        epoch: Epoch::new(0x2122_2324_2526_2728),
        time_first: time(0x0001_1111_1111_1111),
        time_last: time(0x0001_2222_2222_2222),
        clock: ClockReading {
            wall: time(0x0001_3333_3333_3333),
            monotonic_us: 0x4142_4344_4546_4748,
            synchronised: true,
            boot: [0xB1; 16],
        },
        previous: [0xB2; 32],
        source: SourceId::new("press-88").unwrap(),
    }
}

#[test]
fn the_batch_header_lies_as_the_table_says() {
    let header = header();
    let bytes = header.encode();
    let mut name = [0; 63];
    name[..8].copy_from_slice(b"press-88");
    check_layout(
        "### Batch header",
        &bytes,
        &[
            ("magic", b"AFB1"),
            ("crc", &header.crc.to_le_bytes()),
            ("signature", &[0xA1; 64]),
            ("version", &[1]),
            ("codec", &[0xC1]),
            ("stream", &[1]),
            ("synchronised", &[1]),
            ("body_len", &0x0403_u32.to_le_bytes()),
            ("decoded_len", &0x0506_u32.to_le_bytes()),
            ("count", &0x0708_u32.to_le_bytes()),
            ("first", &header.first.get().to_le_bytes()),
            ("epoch", &header.epoch.get().to_le_bytes()),
            ("time_first", &header.time_first.micros().to_le_bytes()),
            ("time_last", &header.time_last.micros().to_le_bytes()),
            ("monotonic", &header.clock.monotonic_us.to_le_bytes()),
            ("wall", &header.clock.wall.micros().to_le_bytes()),
            ("boot", &[0xB1; 16]),
            ("previous", &[0xB2; 32]),
            ("source_len", &[8]),
            ("source", &name),
        ],
    );
    assert_eq!(Header::decode(&bytes).unwrap(), header);
    assert!(README.contains("1048320"), "the longest body");
    assert_eq!(BATCH_BYTES_MAX - batch::HEADER_LEN, 1_048_320);
}

#[test]
fn the_codecs_are_those_of_the_code() {
    let rows = table("### Codecs", "codec");
    let told: Vec<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let known: Vec<u8> = (0..=u8::MAX).filter(|number| Codec::from_number(*number).is_some()).collect();
    assert_eq!(told, known);
    assert!(known.iter().all(|number| Codec::from_number(*number).unwrap().number() == *number));
    for row in rows {
        let heading = format!("### Codec {}: {}\n", row[0], row[1]);
        assert!(README.contains(&heading), "{heading}");
    }
}

#[test]
fn the_segment_header_lies_as_the_table_says() {
    let header = SegmentHeader {
        kind: LogKind::Unified,
        log_id: [0xC1; 16],
        generation: 0x0102_0304_0506_0708,
        stream: Stream::Samples,
        epoch: Epoch::new(0x1112_1314_1516_1718),
        first_ordinal: 0x2122_2324_2526_2728,
        begun: time(0x0001_3132_3334_3536),
    };
    let bytes = header.encode();
    for copy in [&bytes[..512], &bytes[512..]] {
        check_layout(
            "### Segment header",
            &copy[..72],
            &[
                ("magic", b"AFFSEG1\n"),
                ("version", &[2]),
                ("kind", &[1]),
                ("stream", &[1]),
                ("log_id", &[0xC1; 16]),
                ("generation", &header.generation.to_le_bytes()),
                ("epoch", &header.epoch.get().to_le_bytes()),
                ("first_ordinal", &header.first_ordinal.to_le_bytes()),
                ("begun", &header.begun.micros().to_le_bytes()),
                ("crc", &crc32c(&copy[..64]).to_le_bytes()),
            ],
        );
        assert!(copy[72..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(segment::SEGMENT_HEADER_LEN, 1024);
}

#[test]
fn the_head_of_an_entry_lies_as_the_table_says() {
    let segment = SegmentHeader {
        kind: LogKind::Ring,
        log_id: [0xC1; 16],
        generation: 9,
        stream: Stream::Samples,
        epoch: Epoch::new(1),
        first_ordinal: 0,
        begun: time(0),
    };
    let head = EntryHead {
        other: (Epoch::new(0x6162_6364_6566_6768), 0x7172_7374_7576_7778),
        batch_len: 0x0001_0203,
        batch_crc: 0x1112_1314,
        count: 0x2122_2324,
        ordinal: 0x3132_3334_3536_3738,
        acked_end: 0x4142_4344_4546_4748,
        stamp: time(0x0001_5152_5354_5556),
    };
    let bytes = head.encode(segment.seed());
    let seeded = [&[0xC1; 16][..], &9_u64.to_le_bytes(), &bytes[4..]].concat();
    check_layout(
        "### Entry",
        &bytes,
        &[
            ("crc", &crc32c(&seeded).to_le_bytes()),
            ("batch_len", &head.batch_len.to_le_bytes()),
            ("batch_crc", &head.batch_crc.to_le_bytes()),
            ("count", &head.count.to_le_bytes()),
            ("ordinal", &head.ordinal.to_le_bytes()),
            ("acked_end", &head.acked_end.to_le_bytes()),
            ("stamp", &head.stamp.micros().to_le_bytes()),
            ("other_epoch", &head.other.0.get().to_le_bytes()),
            ("other_end", &head.other.1.to_le_bytes()),
        ],
    );
    let measured = head.with_clock_offset_us(Some(-5));
    assert_eq!(measured.encode(segment.seed())[40..], [&(-5_i64).to_le_bytes()[..], &1_u64.to_le_bytes()].concat());
    assert_eq!((measured.clock_offset_us(), head.clock_offset_us()), (Some(-5), None));
    assert_eq!(head.with_clock_offset_us(None).encode(segment.seed())[40..], [0; 16]);
    assert_eq!((segment::ENTRY_HEAD_LEN, segment::STOP_LEN, segment::ENTRY_ALIGN), (56, 56, 8));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let mut known = std::collections::BTreeMap::new();
    macro_rules! limits {
        ($($name:ident),*) => { $(known.insert(stringify!($name), i128::from($name as i64));)* };
    }
    limits!(SOURCE_BYTES_MAX, SUBJECT_BYTES_MAX, UNIT_BYTES_MAX, TEXT_BYTES_MAX, MESSAGE_BYTES_MAX, EVENT_BYTES_MAX);
    limits!(BATCH_COUNT_MAX, BATCH_BYTES_MAX, BATCH_DECODED_BYTES_MAX, BATCH_SUBJECTS_MAX, BATCH_UNITS_MAX);
    limits!(MESSAGE_PAYLOAD_BYTES_MAX, CONTROL_BYTES_MAX, LANES_MAX, WINDOW_BATCHES_MAX);
    limits!(HEARTBEAT_LANES_MAX, HEARTBEAT_BYTES_MAX, STATEMENT_BYTES_MAX);
    limits!(FOLLOWED_FILES_MAX, FOLLOWED_NAME_BYTES_MAX, FOLLOWED_BYTES_MAX, INPUT_NAME_BYTES_MAX);
    limits!(SIGNED_BYTES_MAX, FORMER_NAMES_MAX, ENDORSEMENTS_MAX);
    limits!(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, TIME_MIN, TIME_MAX);
    let rows = table("## Limits", "limit");
    for row in &rows {
        assert_eq!(known.get(row[0]).copied(), row[1].parse().ok(), "{}", row[0]);
    }
    let source = include_str!("../../src/limits.rs");
    assert_eq!(rows.len(), source.matches("\npub const ").count(), "a limit is missing in the table");
}

#[test]
fn the_versions_and_shards_are_those_of_the_code() {
    let versions: Vec<_> = table("## Versions", "format").iter().map(|row| (row[0], row[1])).collect();
    let version = |name, version: u8| assert!(versions.contains(&(name, &*version.to_string())), "{name} {version}");
    version("batch", BATCH_VERSION);
    version("segment", SEGMENT_VERSION);
    version("control", CONTROL_VERSION);
    let by_magic =
        [("signed message", b"AFS1"), ("clock exchange", b"AFT1"), ("fragment", b"AFF1"), ("piece", b"AFP1")];
    for (format, magic) in by_magic {
        version(format, magic[3] - b'0');
    }
    for format in ["attestation", "endorsement"] {
        version(format, 1);
    }
    let agents = table("## Topics", "name");
    assert_eq!(agents.len(), 2);
    for row in agents {
        assert_eq!(shard(&SourceId::new(row[0].trim_matches('`')).unwrap()).to_string(), row[1]);
    }
}

#[test]
fn the_contexts_of_signatures_are_those_of_the_code() {
    let contexts = [Context::Batch, Context::Control, Context::Attestation, Context::Endorsement, Context::Extract];
    let rows = table("## Signatures", "context");
    assert_eq!(rows.len(), contexts.len());
    for (row, context) in rows.iter().zip(contexts) {
        let zeros: usize = row[1].parse().unwrap();
        assert_eq!([row[0].trim_matches('`').as_bytes(), &vec![0; zeros]].concat(), context.bytes());
    }
    // The two y of small order that are no small numbers: points for the library, and no keys here, whatever the sign.
    let (_, rest) = README.split_once("as it stands, with k").unwrap().0.rsplit_once("```text\n").unwrap();
    for line in rest.lines().take(2) {
        let digits = line.split(' ').next().unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
        for sign in [0, 0x80] {
            let mut key: [u8; 32] = std::array::from_fn(byte);
            key[31] |= sign;
            assert!(PublicKey(key).verifier().is_none(), "{digits}");
        }
    }
}

#[test]
fn attestations_lie_as_the_tables_say() {
    let identity = Identity::from_seed(&[8; 32]);
    let (first, stamp, chain) = (Offset::new(0x0102_0304_0506_0708), time(0x0001_1112_1314_1516), [0xC7; 32]);
    let mut running = Running::from_hash([0xC6; 32]);
    running.push(first, stamp, 0x2122_2324, &chain, None);
    let rows: Vec<Vec<&str>> = table("## Attestations", "offset");
    let (layout, hashed) = (rows, table_after("## Attestations", "| offset | bytes | hashed of an entry |"));
    let entry = [
        ("the running hash before it", &[0xC6; 32][..]),
        ("ordinal", &first.get().to_le_bytes()),
        ("stamp", &stamp.micros().to_le_bytes()),
        ("count", &0x2122_2324_u32.to_le_bytes()),
        ("chain hash of its batch; of an emptied batch the one that was kept", &chain),
        ("clock_offset, where that was measured; else nothing", &(-5_i64).to_le_bytes()),
    ];
    let bytes: Vec<u8> = entry.iter().flat_map(|(_, value)| value.to_vec()).collect();
    check_rows("running hash", &hashed, &bytes, &entry);
    assert_eq!(running.hash(), sha256(&bytes[..84]));
    let mut measured = Running::from_hash([0xC6; 32]);
    measured.push(first, stamp, 0x2122_2324, &chain, Some(-5));
    assert_eq!(measured.hash(), sha256(&bytes));
    assert_eq!(Running::default().hash(), [0; 32]);
    let attestation = Attestation {
        key: identity.public_key(),
        log_id: [1; 16],
        partition: 0x0102_0304,
        term: 0x1112_1314_1516_1718,
        number: 0x2122_2324_2526_2728,
        end: Offset::new(0x3132_3334_3536_3738),
        time: time(0x0001_4142_4344_4546),
        previous: [2; 32],
        hash: running,
    };
    let bytes = attestation.sign(&identity);
    let signature = identity.sign_in(Context::Attestation, &sha256(&bytes[..149]));
    assert_eq!(attestation.digest(), sha256(&bytes[..149]));
    let fields = [
        ("version", &[1][..]),
        ("key", &attestation.key.0),
        ("log_id", &[1; 16]),
        ("partition", &attestation.partition.to_le_bytes()),
        ("term", &attestation.term.to_le_bytes()),
        ("number", &attestation.number.to_le_bytes()),
        ("end", &attestation.end.get().to_le_bytes()),
        ("time", &attestation.time.micros().to_le_bytes()),
        ("previous", &[2; 32]),
        ("hash", &attestation.hash.hash()),
        ("signature", &signature),
    ];
    check_rows("## Attestations", &layout, &bytes, &fields);
    assert_eq!(ATTESTATION_LEN, 213);
}

#[test]
fn a_witness_lies_as_the_tables_say() {
    // Only the agent writes witnesses; its own tests hold it to the same file.
    let pinned = include_bytes!("../../../tests/data/formats/witness-v1.bin");
    let crc = crc32c(&pinned[12..]).to_le_bytes();
    let fields = [
        ("magic", &b"AFFWIT1\n"[..]),
        ("crc", &crc),
        ("count", &3_u32.to_le_bytes()),
        ("log_id", &[0x11; 16]),
        ("version", &70_000_u64.to_le_bytes()),
        ("generation", &5_u64.to_le_bytes()),
        ("boot", b"0123456789abcdef"),
        ("is_clean", &[1]),
        ("lanes", &pinned[80..]),
    ];
    check_layout("### Witness", pinned, &fields);
    let fields = [
        ("stream", &[1][..]),
        ("is_current", &[0]),
        ("is_resealed", &[1]),
        ("epoch", &0x1D_u64.to_le_bytes()),
        ("released_end", &100_u64.to_le_bytes()),
        ("end", &u64::MAX.to_le_bytes()),
    ];
    let rows = table_after("### Witness", "| offset | bytes | of a lane | meaning |");
    check_rows("### Witness", &rows, &pinned[80 + 2 * 32..][..32], &fields);
}

#[test]
fn the_example_of_a_running_hash_is_what_the_code_makes() {
    let heading = "| ordinal | stamp | count | chain hash of its batch | running hash behind it |";
    let rows = table_after("## Attestations", heading);
    let hash = |digits: &str| -> [u8; 32] {
        let digits = digits.trim_matches('`');
        std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
    };
    let (mut running, mut hashed) = (Running::default(), vec![]);
    for row in &rows {
        let (ordinal, stamp, count): (u64, i64, u32) =
            (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2].parse().unwrap());
        let fields = [&ordinal.to_le_bytes()[..], &stamp.to_le_bytes(), &count.to_le_bytes(), &hash(row[3])];
        hashed.push([&running.hash()[..], &fields.concat()].concat());
        running.push(Offset::new(ordinal), time(stamp), count, &hash(row[3]), None);
        assert_eq!(running.hash(), hash(row[4]), "{}", row[0]);
    }
    assert_eq!(rows.len(), 3);
    assert_eq!(rows::example("running hash"), hashed[1], "the second of them");
    let golden = include_str!("../../../tests/data/formats/segment-unified-v2.txt");
    assert!(golden.contains(&format!("number=0 end=27 time={} ", rows[2][1])));
    assert!(golden.contains(&format!(" hash={} ", rows[2][4].trim_matches('`'))), "the first attestation has it");
}

#[test]
fn endorsements_lie_as_the_table_says() {
    let identity = Identity::from_seed(&[8; 32]);
    for (role, number) in [(Role::Successor, 0), (Role::Colleague, 1)] {
        let endorsement = Endorsement { role, log_id: [1; 16], key: PublicKey([2; 32]), by: identity.public_key() };
        let bytes = endorsement.sign(&identity);
        let signature = identity.sign_in(Context::Endorsement, &sha256(&bytes[..82]));
        let fields = [
            ("version", &[1][..]),
            ("role", &[number]),
            ("log_id", &[1; 16]),
            ("key", &[2; 32]),
            ("by", &endorsement.by.0),
            ("signature", &signature),
        ];
        check_layout("## Endorsements", &bytes, &fields);
    }
    assert_eq!(ENDORSEMENT_LEN, 146);
}
