//! A batch without its records: what retention leaves of samples that a unified log no longer has to keep.
//!
//! Offsets never move and seals bind the chain hash of every batch, so that a batch cannot just be left out. Its header
//! stays, and its body gives way to the chain hash that it had: signature, chain and seals can be checked as before,
//! and they bind that hash. The header is bound only by its neighbours then: sequences and offsets
//! by those that follow each other, times by none.

use super::{Batch, BatchError, ChainHash, Header};
use crate::ids::Stream;

/// Bytes of an emptied batch's body.
const KEPT_LEN: usize = size_of::<ChainHash>();

impl Header {
    /// Nothing but samples is ever removed from within a log, and the chain hash is all that stays of a body.
    pub(super) fn check_emptied(&self) -> Result<(), BatchError> {
        let is_kept = |len: u32| len as usize == KEPT_LEN;
        let is_right = is_kept(self.body_len) && is_kept(self.decoded_len) && self.stream == Stream::Samples;
        if self.is_emptied() && !is_right { Err(BatchError::Field("removed body")) } else { Ok(()) }
    }
}

impl Batch<'_> {
    /// The chain hash that an emptied batch had.
    #[cfg(feature = "sign")]
    pub(super) fn kept_chain_hash(&self) -> Option<ChainHash> {
        self.header.is_emptied().then(|| super::array(self.body(), 0))
    }

    /// The bytes of the same batch without its records. Emptied once more it stays as it is.
    ///
    /// # Panics
    /// When it is not of the stream `samples`.
    #[cfg(feature = "sign")]
    pub fn emptied(&self) -> [u8; EMPTIED_LEN] {
        use super::HEADER_LEN;
        assert_eq!(self.header.stream, Stream::Samples, "critical events are never removed from within a log");
        let (codec, len) = (crate::codec::Codec::Removed.number(), KEPT_LEN as u32);
        let header = Header { codec, body_len: len, decoded_len: len, ..self.header };
        let mut bytes = [0; EMPTIED_LEN];
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        bytes[HEADER_LEN..].copy_from_slice(&self.chain_hash());
        let crc = crate::checksum::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// Bytes of an emptied batch.
#[cfg(feature = "sign")]
pub const EMPTIED_LEN: usize = super::HEADER_LEN + KEPT_LEN;
