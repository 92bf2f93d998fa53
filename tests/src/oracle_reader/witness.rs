//! A slot of a ring's witness, read by its tables.

use super::batch::le;
use super::{crc32c, hex};

/// Reads a slot; it becomes lines of text, a field each.
pub fn read_witness(bytes: &[u8]) -> Result<String, String> {
    if bytes.len() != 2048 || !bytes.starts_with(b"AFFWIT1\n") {
        return Err("no witness".to_owned());
    }
    if bytes[8..12] != crc32c(&[&bytes[12..]]).to_le_bytes() {
        return Err("the crc of a witness".to_owned());
    }
    let count = le(&bytes[12..16]) as usize;
    let lanes_end = 80 + 32 * count;
    if count > 32 || bytes[64] > 1 || bytes[65..80].iter().chain(&bytes[lanes_end..]).any(|byte| *byte != 0) {
        return Err("a witness of another form".to_owned());
    }
    let mut text = format!(
        "kind: witness\nlog_id: {}\nversion: {}\ngeneration: {}\nboot: {}\nis_clean: {}\n",
        hex(&bytes[16..32]),
        le(&bytes[32..40]),
        le(&bytes[40..48]),
        hex(&bytes[48..64]),
        bytes[64] == 1
    );
    for lane in bytes[80..lanes_end].chunks(32) {
        if lane[..3].iter().any(|flag| *flag > 1) || lane[3..8] != [0; 5] {
            return Err("a lane of a witness of another form".to_owned());
        }
        text += &format!(
            "lane: stream={} epoch={:016x} released_end={} end={} is_current={} is_resealed={}\n",
            ["critical", "samples"][usize::from(lane[0])],
            le(&lane[8..16]),
            le(&lane[16..24]),
            le(&lane[24..32]),
            lane[1] == 1,
            lane[2] == 1
        );
    }
    Ok(text)
}
