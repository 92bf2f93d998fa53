//! A batch: consecutive records of one stream, encoded once, acked as one.
//!
//! Its bytes are made at the ring log's group commit and never change again: on the machine's disk, as MQTT payload
//! and in the unified log. A receiver checks a batch by its header, without decoding the body.
//!
//! ```text
//!   0      4      8              72                                          256             256+body_len
//!   ├──────┼──────┼──────────────┼───────────────────────────────────────────┼───────────────┤
//!   │magic │crc32c│ signature    │ version … source                          │ body (codec)  │
//!   └──────┴──────┴──────────────┴───────────────────────────────────────────┴───────────────┘
//!                 └── crc covers ───────────────────────────────────────────────────────────▶│
//!                                └── chain hash (SHA-256), which the signature signs ───────▶│
//! ```
//!
//! Retention can take the body of a samples batch out of a unified log: see [`Batch::emptied`].
//!
//! `README.md` of this crate specifies every byte; golden files pin it.

#[cfg(all(feature = "alloc", feature = "sign"))]
mod builder;
mod emptied;

use crate::checksum::crc32c;
use crate::codec::Codec;
use crate::ids::{Epoch, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use crate::limits::{BATCH_BYTES_MAX, BATCH_COUNT_MAX, BATCH_DECODED_BYTES_MAX, SOURCE_BYTES_MAX};
use crate::version::BATCH_VERSION;
use crate::wire::Writer;

/// The first four bytes of every batch.
pub const MAGIC: [u8; 4] = *b"AFB1";
/// Bytes of the header.
pub const HEADER_LEN: usize = 256;
/// Where the part begins that the chain hash covers and the signature signs.
pub const SIGNED_FROM: usize = 72;
/// SHA-256 of a batch from [`SIGNED_FROM`] to its end. The first batch of an epoch has zeros here.
pub type ChainHash = [u8; 32];
/// The chain hash before the first batch of an epoch.
pub const CHAIN_START: ChainHash = [0; 32];

/// The state of a source's clocks when a batch was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Microseconds since boot.
    pub monotonic_us: u64,
    /// Whether something (NTP, PTP, GNSS) kept the wall clock in time.
    pub synchronised: bool,
    /// Names one boot of the machine.
    pub boot: [u8; 16],
}

/// A batch's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Ed25519 over the chain hash; see [`crate::sign`].
    pub signature: [u8; 64],
    /// Number of the body's codec; see [`crate::codec`].
    pub codec: u8,
    /// The stream.
    pub stream: Stream,
    /// Bytes of the body.
    pub body_len: u32,
    /// Bytes of the body once decompressed; the same where a codec does not compress.
    pub decoded_len: u32,
    /// Records in it; at least one.
    pub count: u32,
    /// Sequence of its first record.
    pub first: Sequence,
    /// The stream's epoch.
    pub epoch: Epoch,
    /// Earliest event time in it.
    pub time_first: Timestamp,
    /// Latest event time in it.
    pub time_last: Timestamp,
    /// The clock when it was made.
    pub clock: ClockReading,
    /// Chain hash of the batch before it in the same stream and epoch.
    pub previous: ChainHash,
    /// The source that assigned the sequences.
    pub source: SourceId,
}

impl Header {
    /// The sequences in it.
    pub fn range(&self) -> SequenceRange {
        SequenceRange { first: self.first, end: Sequence::new(self.first.get() + u64::from(self.count)) }
    }

    /// The first sequence after it.
    pub fn end(&self) -> Sequence {
        self.range().end
    }

    /// Bytes of the whole batch.
    pub fn batch_len(&self) -> usize {
        HEADER_LEN + self.body_len as usize
    }

    /// Whether retention has removed its records; see [`Batch::emptied`].
    pub const fn is_emptied(&self) -> bool {
        self.codec == Codec::Removed.number()
    }

    /// The header's bytes, with `crc` and `signature` as in the fields.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        // Field after field, as the table has them; the rest stays zero.
        let mut out = Writer::new(&mut bytes);
        out.bytes(&MAGIC);
        out.bytes(&self.crc.to_le_bytes());
        out.bytes(&self.signature);
        out.bytes(&[BATCH_VERSION, self.codec, self.stream.number(), u8::from(self.clock.synchronised)]);
        [self.body_len, self.decoded_len, self.count].into_iter().for_each(|number| out.bytes(&number.to_le_bytes()));
        [self.first.get(), self.epoch.get()].into_iter().for_each(|number| out.bytes(&number.to_le_bytes()));
        [self.time_first, self.time_last].into_iter().for_each(|time| out.bytes(&time.micros().to_le_bytes()));
        out.bytes(&self.clock.monotonic_us.to_le_bytes());
        out.bytes(&self.clock.wall.micros().to_le_bytes());
        out.bytes(&self.clock.boot);
        out.bytes(&self.previous);
        out.byte(self.source.as_bytes().len() as u8);
        out.bytes(self.source.as_bytes());
        bytes
    }

    /// Reads a header and checks every field by itself; `bytes` may go on after it.
    ///
    /// This does not look at the body: [`Batch::parse`] does, with the CRC.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let head = bytes.get(..HEADER_LEN).ok_or(BatchError::Short { bytes: bytes.len(), needed: HEADER_LEN })?;
        if head[..4] != MAGIC {
            return Err(BatchError::Magic);
        }
        if head[72] != BATCH_VERSION {
            return Err(BatchError::Version(head[72]));
        }
        let u32_at = |at: usize| u32::from_le_bytes(array(head, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(head, at));
        let time_at =
            |at: usize, field| Timestamp::new(i64::from_le_bytes(array(head, at))).ok_or(BatchError::Field(field));
        let source_len = usize::from(head[184]);
        let source = head[185..].get(..source_len).ok_or(BatchError::Field("source length"))?;
        let source = core::str::from_utf8(source).ok().and_then(|name| SourceId::new(name).ok());
        let padding = &head[185 + source_len.min(SOURCE_BYTES_MAX)..];
        if padding.iter().any(|byte| *byte != 0) {
            return Err(BatchError::Field("padding"));
        }
        if head[75] > 1 {
            return Err(BatchError::Field("clock state"));
        }
        let header = Self {
            crc: u32_at(4),
            signature: array(head, 8),
            codec: head[73],
            stream: Stream::from_number(head[74]).ok_or(BatchError::Field("stream"))?,
            body_len: u32_at(76),
            decoded_len: u32_at(80),
            count: u32_at(84),
            first: Sequence::new(u64_at(88)),
            epoch: Epoch::new(u64_at(96)),
            time_first: time_at(104, "first event time")?,
            time_last: time_at(112, "last event time")?,
            clock: ClockReading {
                monotonic_us: u64_at(120),
                wall: time_at(128, "wall clock")?,
                synchronised: head[75] == 1,
                boot: array(head, 136),
            },
            previous: array(head, 152),
            source: source.ok_or(BatchError::Field("source"))?,
        };
        if header.time_first > header.time_last {
            return Err(BatchError::Field("range of event times"));
        }
        header.check_sizes()?;
        header.check_emptied()?;
        Ok(header)
    }

    fn check_sizes(&self) -> Result<(), BatchError> {
        if self.body_len as usize > BATCH_BYTES_MAX - HEADER_LEN {
            return Err(BatchError::TooLarge {
                bytes: self.body_len as u64 + HEADER_LEN as u64,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        if self.decoded_len as usize > BATCH_DECODED_BYTES_MAX {
            return Err(BatchError::TooLarge {
                bytes: u64::from(self.decoded_len),
                bytes_max: BATCH_DECODED_BYTES_MAX,
            });
        }
        if self.count == 0 || self.count > BATCH_COUNT_MAX {
            return Err(BatchError::Count(self.count));
        }
        if self.first.checked_add(u64::from(self.count)).is_none() {
            return Err(BatchError::Field("first sequence"));
        }
        Ok(())
    }
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("{bytes} bytes where the batch needs {needed}: it was cut short")]
    Short {
        /// Bytes that were given.
        bytes: usize,
        /// Bytes that the batch needs by its header.
        needed: usize,
    },
    /// The bytes do not begin with the batch magic.
    #[error("it does not begin with the batch magic")]
    Magic,
    /// A version that this reader does not know.
    #[error("batch version {0} is unknown; the sender is newer than this reader: update this side")]
    Version(u8),
    /// A header field has a value that no writer writes.
    #[error("the header's {0} is not valid")]
    Field(&'static str),
    /// The header declares a size over the limit.
    #[error("its header declares {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// Bytes that the header declares.
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The header declares no record, or more records than the limit.
    #[error("its header declares {0} records")]
    Count(u32),
    /// The checksum does not match: the batch was damaged on the way or on disk.
    #[error("its checksum does not match: it was damaged")]
    Crc,
}

/// A whole batch, its CRC checked.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Checks the batch that `bytes` begins with; returns it, and what follows it.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let header = Header::decode(bytes)?;
        if bytes.len() < header.batch_len() {
            return Err(BatchError::Short { bytes: bytes.len(), needed: header.batch_len() });
        }
        let (bytes, rest) = bytes.split_at(header.batch_len());
        if crc32c(&bytes[8..]) != header.crc {
            return Err(BatchError::Crc);
        }
        Ok((Self { header, bytes }, rest))
    }

    /// The batch's header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its body, as the codec left it.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// All its bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its chain hash: what the next batch of its stream and epoch names as the previous one. Of an emptied batch the
    /// one that it had.
    #[cfg(feature = "sign")]
    pub fn chain_hash(&self) -> ChainHash {
        self.kept_chain_hash().unwrap_or_else(|| crate::checksum::sha256(&self.bytes[SIGNED_FROM..]))
    }
}

/// The whole batches that a message or a buffer consists of, one after the other; ends after the first error.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, BatchError>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match Batch::parse(rest) {
            Ok((batch, after)) => {
                rest = after;
                Some(Ok(batch))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

#[cfg(all(feature = "alloc", feature = "sign"))]
pub use builder::{BatchBuilder, Lineage};
#[cfg(feature = "sign")]
pub use emptied::EMPTIED_LEN;

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the caller's range has N bytes")
}
