//! The records of a batch. The collector decodes batches here, and nowhere else.

use afferent_protocol::batch::Batch;
use afferent_protocol::codec::{self, DecodeError};
use afferent_protocol::ids::Subject;
use afferent_protocol::record::Record;

/// Decodes one batch after the other, into memory that it keeps for the next one.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    scratch: Vec<u8>,
}

impl Decoder {
    /// Opens a batch: reads its subjects, and decodes no record yet.
    pub fn open<'b>(&'b mut self, batch: &Batch<'b>) -> Records<'b> {
        let decoded_len = batch.header().decoded_len as usize;
        if self.scratch.len() < decoded_len {
            self.scratch.resize(decoded_len, 0);
        }
        Records { opened: codec::records(batch, &mut self.scratch), is_failed: false }
    }

    /// Bytes of memory that it keeps.
    pub fn capacity(&self) -> usize {
        self.scratch.capacity()
    }
}

/// The records of a batch, in order, up to the first one that cannot be decoded: that one is an error, and the last
/// item. A batch that cannot be opened yields only the error; one that retention has emptied yields nothing.
#[derive(Debug)]
pub struct Records<'b> {
    opened: Result<codec::Records<'b>, DecodeError>,
    is_failed: bool,
}

impl<'b> Records<'b> {
    /// The subjects that the records are about, each once; `None` when the batch cannot be opened.
    pub fn subjects(&self) -> Option<&[Subject<'b>]> {
        self.opened.as_ref().ok().map(codec::Records::subjects)
    }

    /// The readable records; the error at the end is left out.
    pub fn readable(&mut self) -> impl Iterator<Item = Record<'b>> + use<'_, 'b> {
        self.map_while(Result::ok)
    }

    /// The error of opening the batch, or the records up to the first that cannot be decoded, which is an error.
    #[inline]
    pub(super) fn opened(&mut self) -> Result<&mut codec::Records<'b>, DecodeError> {
        self.opened.as_mut().map_err(|error| *error)
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.opened {
            Ok(records) => records.next(),
            Err(_) if self.is_failed => None,
            Err(error) => {
                self.is_failed = true;
                Some(Err(*error))
            }
        }
    }
}
