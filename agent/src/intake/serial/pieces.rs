//! Batches that come in pieces, because the line is too noisy for whole ones.

use std::borrow::Cow;
use std::collections::VecDeque;

use afferent_protocol::fragment::{self, Assembler};

use crate::limits::{PIECED_BATCHES_MAX, PIECED_BYTES_MAX};

/// Puts batches together. It takes no memory before the first piece comes.
#[derive(Debug, Default)]
pub struct Pieces(VecDeque<Assembler<PIECED_BYTES_MAX>>);

impl Pieces {
    /// The payload itself, or the batch that it completes as a piece; `None` while pieces are missing.
    pub fn whole<'a>(&mut self, payload: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if !payload.starts_with(&fragment::MAGIC) {
            return Some(Cow::Borrowed(payload));
        }
        self.0.resize_with(PIECED_BATCHES_MAX, Assembler::new);
        // One that was used longest ago stands first, and gives way.
        let known = self.0.iter().position(|assembler| assembler.is_of(payload)).unwrap_or(0);
        let mut assembler = self.0.remove(known)?;
        let batch = assembler.take(payload).map(|batch| Cow::Owned(batch.bytes().to_vec()));
        self.0.push_back(assembler);
        batch
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ClockReading, Lineage};
    use afferent_protocol::event::{Body, Event, Recovery};
    use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject, Timestamp};
    use afferent_protocol::sign::Identity;

    use super::*;

    fn batch(epoch: u64) -> Vec<u8> {
        let (stream, epoch) = (Stream::Critical, Epoch::new(epoch));
        let source = SourceId::new("spindle-1").unwrap();
        let lineage = Lineage { source, stream, epoch, first: Sequence::ZERO, previous: CHAIN_START };
        let body = Body::Recovery(Recovery { code: "E42", message: "" });
        let mut builder = BatchBuilder::new();
        builder.push(&Event { time: Timestamp::clamped(1), subject: Subject::new("88-C").unwrap(), body }).unwrap();
        let mut bytes = Vec::new();
        builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
        bytes
    }

    #[test]
    fn pieces_of_several_batches_in_any_order_and_twice_become_the_batches() {
        let batches = [batch(1), batch(2)];
        let mut pieces = Pieces::default();
        let mut whole = Vec::new();
        for at in (0..batches[0].len()).step_by(fragment::PIECE_LEN).rev() {
            for batch in &batches {
                let piece = fragment::fragment(batch, at).unwrap();
                whole.extend(pieces.whole(&piece).map(Cow::into_owned));
            }
        }
        assert_eq!(whole, batches);
        assert_eq!(pieces.whole(&batches[0]).as_deref(), Some(&batches[0][..]), "what is whole passes");
        assert_eq!(pieces.whole(b"AFF1 and no piece"), None);
        assert_eq!(pieces.0.len(), PIECED_BATCHES_MAX, "memory is bounded");
    }
}
