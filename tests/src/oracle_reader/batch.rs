//! A batch, read by the table "Batch header".

use super::body::{ReadEvent, read_body};
use super::signature::{is_signed, sha256};
use super::{LaneKey, crc32c};

/// A batch as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadBatch {
    /// Whose, which stream, which epoch.
    pub lane: LaneKey,
    /// Sequence of the first event.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Earliest and latest event time, as the header says.
    pub times: (i64, i64),
    /// Whether the clock was kept in time.
    pub synchronised: bool,
    /// Microseconds since boot.
    pub monotonic: u64,
    /// The wall clock.
    pub wall: i64,
    /// The boot.
    pub boot: [u8; 16],
    /// Chain hash of the batch before.
    pub previous: [u8; 32],
    /// Its own chain hash.
    pub chain: [u8; 32],
    /// Its signature.
    pub signature: [u8; 64],
    /// Its events; none when it was emptied.
    pub events: Vec<ReadEvent>,
    /// Whether its events were removed.
    pub is_emptied: bool,
    /// The checksum in its header.
    pub crc: u32,
    /// All its bytes.
    pub len: usize,
}

impl ReadBatch {
    /// Whether this key has signed it.
    pub fn is_signed_by(&self, key: &[u8; 32]) -> bool {
        is_signed(b"afferent batch v1\0\0\0", &self.chain, key, &self.signature)
    }
}

pub(super) fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(super) fn time(bytes: &[u8]) -> Result<i64, String> {
    let time = le(bytes) as i64;
    if (0..=253_402_300_799_999_999).contains(&time) { Ok(time) } else { Err(format!("time {time}")) }
}

/// The batch that `bytes` begins with, decoded to its last event.
pub fn read_batch(bytes: &[u8]) -> Result<ReadBatch, String> {
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    ensure(bytes.len() >= 256, "shorter than a header")?;
    ensure(&bytes[..4] == b"AFB1", "magic")?;
    ensure(bytes[72] == 1, "version")?;
    ensure(bytes[74] < 2 && bytes[75] < 2, "stream or clock state")?;
    let body_len = le(&bytes[76..80]) as usize;
    ensure(body_len <= 1_048_320 && bytes.len() >= 256 + body_len, "body_len")?;
    let bytes = &bytes[..256 + body_len];
    let crc = le(&bytes[4..8]) as u32;
    ensure(crc32c(&[&bytes[8..]]) == crc, "crc")?;
    let (count, first) = (le(&bytes[84..88]) as u32, le(&bytes[88..96]));
    ensure((1..=65_536).contains(&count) && first.checked_add(u64::from(count)).is_some(), "count")?;
    let name_len = usize::from(bytes[184]);
    ensure((1..=63).contains(&name_len), "source_len")?;
    ensure(bytes[185 + name_len..256].iter().all(|byte| *byte == 0), "zeros after the source")?;
    let name = &bytes[185..185 + name_len];
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)) && name[0] != b'.';
    ensure(is_name, "source")?;
    let times = (time(&bytes[104..112])?, time(&bytes[112..120])?);
    ensure(times.0 <= times.1, "range of times")?;
    ensure(le(&bytes[80..84]) as usize == body_len, "decoded_len")?;
    let is_emptied = bytes[73] == 255;
    let (events, chain) = if is_emptied {
        ensure(bytes[74] == 1 && body_len == 32, "what is left of a removed body")?;
        (vec![], bytes[256..].try_into().expect("32 bytes"))
    } else {
        ensure(bytes[73] == 1, "codec")?;
        (read_body(&bytes[256..], count, first)?, sha256(&bytes[72..]))
    };
    let earliest = events.iter().map(|event| event.time).min();
    let latest = events.iter().map(|event| event.time).max();
    let are_times_right = is_emptied || (earliest, latest) == (Some(times.0), Some(times.1));
    ensure(are_times_right, "the header's times are not those of the events")?;
    let source = String::from_utf8_lossy(name).into_owned();
    Ok(ReadBatch {
        lane: LaneKey { source, stream: bytes[74], epoch: le(&bytes[96..104]) },
        first,
        count,
        times,
        synchronised: bytes[75] == 1,
        monotonic: le(&bytes[120..128]),
        wall: time(&bytes[128..136])?,
        boot: bytes[136..152].try_into().expect("16 bytes"),
        previous: bytes[152..184].try_into().expect("32 bytes"),
        chain,
        signature: bytes[8..72].try_into().expect("64 bytes"),
        events,
        is_emptied,
        crc,
        len: bytes.len(),
    })
}
