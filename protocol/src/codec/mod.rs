//! How the records of a batch lie in its body. Codecs are numbered, and a reader knows all of them forever.

pub mod body;
mod number;
pub mod rows;

use crate::batch::Batch;
use crate::ids::Subject;
use crate::record::Record;
pub use number::Codec;

/// Why a body cannot be read, although its checksum is right: its writer was newer than this reader, or lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The codec is unknown to this reader.
    #[error("codec {0} is unknown; the sender is newer than this reader: update this side")]
    Codec(u8),
    /// The codec does not compress, and the decompressed length differs from the body's length.
    #[error("its decompressed length is not the length of its body")]
    Length,
    /// The dictionary cannot be read.
    #[error("its dictionary cannot be read")]
    Dictionary,
    /// A record cannot be read.
    #[error("record {index} of {count} cannot be read")]
    Record {
        /// Index of the record, from 0.
        index: u32,
        /// How many the header promises.
        count: u32,
    },
    /// A record refers to a subject or unit that is not in the dictionary, or its time is out of range.
    #[error("record {index} refers to a missing dictionary entry, or its time is out of range")]
    Reference {
        /// Index of the record, from 0.
        index: u32,
    },
    /// Bytes follow the last record.
    #[error("{bytes} bytes follow the last record")]
    LeftOver {
        /// Number of bytes.
        bytes: usize,
    },
}

/// The records of a batch, in order. It ends after the first error.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "boxing is not to be had without alloc; the dictionary lies on the stack"
)]
pub enum Records<'a> {
    /// The records of codec 1.
    Rows(rows::Decoder<'a>),
    /// Of codec 255: none, whatever the header counts.
    Removed,
}

impl<'a> Records<'a> {
    /// The subjects that the records are about, each once: a look at them saves a reader from decoding what it is not
    /// after.
    pub fn subjects(&self) -> &[Subject<'a>] {
        match self {
            Self::Rows(decoder) => decoder.subjects(),
            Self::Removed => &[],
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Rows(decoder) => decoder.next(),
            Self::Removed => None,
        }
    }
}

/// Decodes a batch.
///
/// `scratch` is what a codec that compresses decompresses into: at least the header's `decoded_len` bytes, which
/// [`Batch::parse`] has held against [`crate::limits::BATCH_DECODED_BYTES_MAX`]. Codec 1 does not use it.
pub fn records<'a>(batch: &Batch<'a>, scratch: &'a mut [u8]) -> Result<Records<'a>, DecodeError> {
    let header = batch.header();
    let _ = scratch;
    match Codec::from_number(header.codec) {
        Some(Codec::Rows) => rows::Decoder::new(batch).map(Records::Rows),
        Some(Codec::Removed) => Ok(Records::Removed),
        None => Err(DecodeError::Codec(header.codec)),
    }
}
