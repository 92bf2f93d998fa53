//! A sealed batch as it is kept: what of its header cannot be made again from elsewhere, then its body.
//!
//! ```text
//!  0     8     16         24        32        40   48   64       68  72    74       76   77
//!  ├─────┼─────┼──────────┼─────────┼─────────┼────┼────┼────────┼───┼─────┼────────┼────┼──────┤
//!  │epoch│first│time_first│time_last│monotonic│wall│boot│previous│crc│count│body_len│flag│ body │
//!  └─────┴─────┴──────────┴─────────┴─────────┴────┴────┴────────┴───┴─────┴────────┴────┴──────┘
//! ```
//!
//! Little-endian. `previous` and `crc` are the link chain: the batch's `crc` field in place of a chain hash. Source and
//! stream are those of the log that it lies in. Flag bit 0: the clock was synchronised; bit 1: the hole before this batch
//! was declared, see [`Head::declared`]. Expanding an item gives the same batch, byte for byte, whenever it is done.

use afferent_protocol::batch::{ClockReading, HEADER_LEN, Header};
use afferent_protocol::checksum::{crc32c, crc32c_append};
use afferent_protocol::codec::Codec;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};

/// Bytes before the body.
pub const HEAD_LEN: usize = 77;

/// What is kept of a batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stream's epoch.
    pub epoch: Epoch,
    /// Sequence of the first event.
    pub first: Sequence,
    /// Earliest event time.
    pub time_first: Timestamp,
    /// Latest event time.
    pub time_last: Timestamp,
    /// The clock when it was sealed.
    pub clock: ClockReading,
    /// `crc` of the batch before it in the same epoch; 0 before the first.
    pub previous: u32,
    /// `crc` of this batch.
    pub crc: u32,
    /// Events in it.
    pub count: u16,
    /// Bytes of the body.
    pub body_len: u16,
    /// What lies between the batch before and this one was lost before it could be sealed, and this batch, or a later
    /// one, says so: a hole that is found here after a reset is nothing new.
    pub declared: bool,
}

impl Head {
    /// The first sequence after it.
    pub const fn end(&self) -> Sequence {
        Sequence::new(self.first.get().saturating_add(self.count as u64))
    }

    /// Fills in the `crc` that the batch of this head and `body` has.
    pub fn sealed(mut self, source: &SourceId, stream: Stream, body: &[u8]) -> Self {
        let header = self.header(source, stream).encode();
        let (_, covered) = header.split_at(8);
        self.crc = crc32c_append(crc32c(covered), body);
        self
    }

    /// The batch's header.
    pub fn header(&self, source: &SourceId, stream: Stream) -> Header {
        let mut previous = [0; 32];
        if let Some(place) = previous.first_chunk_mut() {
            *place = self.previous.to_le_bytes();
        }
        Header {
            crc: self.crc,
            signature: [0; 64],
            codec: Codec::Rows.number(),
            stream,
            body_len: u32::from(self.body_len),
            decoded_len: u32::from(self.body_len),
            count: u32::from(self.count),
            first: self.first,
            epoch: self.epoch,
            time_first: self.time_first,
            time_last: self.time_last,
            clock: self.clock,
            previous,
            source: *source,
        }
    }

    /// The item's first bytes.
    pub fn encode(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[0..8].copy_from_slice(&self.epoch.get().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_first.micros().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_last.micros().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.clock.monotonic_us.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.clock.wall.micros().to_le_bytes());
        bytes[48..64].copy_from_slice(&self.clock.boot);
        bytes[64..68].copy_from_slice(&self.previous.to_le_bytes());
        bytes[68..72].copy_from_slice(&self.crc.to_le_bytes());
        bytes[72..74].copy_from_slice(&self.count.to_le_bytes());
        bytes[74..76].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[76] = u8::from(self.clock.synchronised) | u8::from(self.declared) << 1;
        bytes
    }

    /// Reads the head of an item; `None` when no writer made it, or its body is not there.
    pub fn decode(item: &[u8]) -> Option<Self> {
        let (head, body) = item.split_first_chunk::<HEAD_LEN>()?;
        let time = |at| Timestamp::new(u64_at(head, at) as i64);
        let mut boot = [0; 16];
        boot.copy_from_slice(&head[48..64]);
        let head = Self {
            epoch: Epoch::new(u64_at(head, 0)),
            first: Sequence::new(u64_at(head, 8)),
            time_first: time(16)?,
            time_last: time(24)?,
            clock: ClockReading {
                monotonic_us: u64_at(head, 32),
                wall: time(40)?,
                synchronised: head[76] & 1 == 1,
                boot,
            },
            previous: u32_at(head, 64),
            crc: u32_at(head, 68),
            count: u16::from_le_bytes([head[72], head[73]]),
            body_len: u16::from_le_bytes([head[74], head[75]]),
            declared: head[76] & 2 == 2,
        };
        (head.count > 0 && body.len() == usize::from(head.body_len)).then_some(head)
    }
}

/// Turns an item that begins at `HEADER_LEN - HEAD_LEN` of `buffer` and has `len` bytes into the batch that it was made
/// from; gives the batch's head and length.
pub fn expand(buffer: &mut [u8], len: usize, source: &SourceId, stream: Stream) -> Option<(Head, usize)> {
    let start = HEADER_LEN - HEAD_LEN;
    let head = Head::decode(buffer.get(start..start + len)?)?;
    *buffer.first_chunk_mut()? = head.header(source, stream).encode();
    Some((head, HEADER_LEN + usize::from(head.body_len)))
}

fn u64_at(head: &[u8; HEAD_LEN], at: usize) -> u64 {
    head.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(head: &[u8; HEAD_LEN], at: usize) -> u32 {
    head.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
