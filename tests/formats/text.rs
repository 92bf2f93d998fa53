//! Golden files as text: what each holds, a field a line, as `field: value`. A reader in any language can print the same
//! lines and compare.
//!
//! - Numbers are decimal; epochs, terms and checks are 16 hexadecimal digits, a crc 8; bytes are hexadecimal digits; a truth
//!   value is `true` or `false`.
//! - Texts in events are quoted as in JSON, with the escapes that JSON must have (`\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`, and
//!   `\u00xx` for other characters below U+0020) and no others.
//! - Numbers with a fraction have the shortest digits that give the same double back, in positional notation from 0.0001 up to
//!   below 1e16 with at least one digit behind the point, else as `1.5e16`, `5e-324`.
//! - An event is one line: `event: sequence=… time=… subject=… kind field=value …`, fields in the order of the tables.
//! - `signed_by` is the key, of those that the reader was told, whose signature is right, or `nobody`; `signed` says whether
//!   the key that stands in the bytes has signed them.
//! - `vector` is a name that stands in the text alone. Of what is damaged the reader prints `refused`, and `problem` of a unified
//!   log that contradicts itself: no golden file has either.

use afferent_tests::oracle_reader::*;

const STREAMS: [&str; 2] = ["critical", "samples"];

/// A batch; `keys` may have signed it.
pub fn batch(batch: &ReadBatch, keys: &[[u8; 32]]) -> String {
    let signed_by = keys.iter().find(|key| batch.is_signed_by(key)).map_or("nobody".to_owned(), |key| hex(key));
    let mut text = format!(
        "source: {}\nstream: {}\nepoch: {:016x}\nfirst: {}\ncount: {}\ntime_first: {}\ntime_last: {}\n",
        batch.lane.source,
        STREAMS[usize::from(batch.lane.stream)],
        batch.lane.epoch,
        batch.first,
        batch.count,
        batch.times.0,
        batch.times.1,
    );
    text += &format!(
        "synchronised: {}\nmonotonic: {}\nwall: {}\nboot: {}\nprevious: {}\nchain: {}\ncrc: {:08x}\nsigned_by: {signed_by}\n",
        batch.synchronised,
        batch.monotonic,
        batch.wall,
        hex(&batch.boot),
        hex(&batch.previous),
        hex(&batch.chain),
        batch.crc,
    );
    if batch.is_emptied {
        text += "events: removed\n";
    }
    for ReadEvent { sequence, time, subject, body, .. } in &batch.events {
        text += &format!("event: sequence={sequence} time={time} subject={} {body}\n", quote(subject));
    }
    text
}

/// A segment.
pub fn segment(segment: &ReadSegment, keys: &[[u8; 32]]) -> String {
    let header = &segment.header;
    let mut text = format!(
        "segment: {}\nstream: {}\nlog_id: {}\ngeneration: {}\nepoch: {:016x}\nfirst_ordinal: {}\nbegun: {}\n",
        ["ring", "unified"][usize::from(header.kind)],
        STREAMS[usize::from(header.stream)],
        hex(&header.log_id),
        header.generation,
        header.epoch,
        header.first_ordinal,
        header.begun
    );
    let mut hash = [0; 32];
    for entry in &segment.entries {
        text += &format!(
            "entry: at={} ordinal={} acked_end={} stamp={}",
            entry.position, entry.ordinal, entry.acked_end, entry.stamp
        );
        text += &match (header.kind, entry.clock_offset) {
            (0, _) => format!(" other_epoch={:016x} other_end={}\n", entry.other.0, entry.other.1),
            (_, Some(offset)) => format!(" clock_offset={offset}\n"),
            (_, None) => " clock_offset=unknown\n".to_owned(),
        };
        text += &batch(&entry.batch, keys);
        hash = running(&hash, entry);
    }
    for (from, to) in &segment.corrupt {
        text += &format!("corrupt: from={from} to={to}\n");
    }
    text += &match segment.tail {
        ReadTail::Clean { at } => format!("tail: clean at={at}\n"),
        ReadTail::Torn { at, claimed } => {
            let claimed = claimed.map_or("unknown".to_owned(), |count| count.to_string());
            format!("tail: torn at={at} claimed={claimed}\n")
        }
    };
    if header.kind == 1 && header.first_ordinal == 0 {
        text += &format!("running: {}\n", hex(&hash));
    }
    text
}

/// A serial line.
pub fn line(bytes: &[u8], longest: usize) -> String {
    let read = read_line(bytes, longest).into_iter();
    let lines = read.map(|read| match read {
        ReadLine::Frame(payload) => format!("frame: {}\n", hex(&payload)),
        ReadLine::Noise(why) => format!("noise: {why}\n"),
        ReadLine::Pending(count) => format!("pending: {count}\n"),
    });
    lines.collect()
}

/// Vectors of signatures of batches: so many bytes each.
pub const VECTOR_LEN: usize = 32 + 32 + 64;

/// Vectors of signatures of batches, with what they are.
pub fn signatures(bytes: &[u8], names: &[&str]) -> String {
    assert_eq!(bytes.len(), names.len() * VECTOR_LEN);
    let vectors = names.iter().zip(bytes.chunks(VECTOR_LEN)).map(|(name, vector)| {
        let array = |at: usize| -> [u8; 32] { vector[at..at + 32].try_into().expect("32 bytes") };
        let (key, hash, signature) = (array(0), array(32), vector[64..].try_into().expect("64 bytes"));
        let is_accepted = is_signed(b"afferent batch v1\0\0\0", &hash, &key, signature);
        format!(
            "vector: {name}\nkey: {}\nhash: {}\nsignature: {}\naccepted: {is_accepted}\n",
            hex(&key),
            hex(&hash),
            hex(signature)
        )
    });
    vectors.collect()
}
