//! The place of an event among all others, kept beyond the event.

use afferent_protocol::ids::{Epoch, Sequence, Stream, Timestamp};
use serde::{Deserialize, Serialize};

use super::Order;

/// An [`Order`] that is kept. It compares as one does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptOrder {
    time: Timestamp,
    source: Box<str>,
    stream: Stream,
    epoch: Epoch,
    sequence: Sequence,
}

impl KeptOrder {
    /// The corrected time.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// As models get it.
    pub fn order(&self) -> Order<'_> {
        let Self { time, source, stream, epoch, sequence } = self;
        Order { time: *time, source, stream: *stream, epoch: *epoch, sequence: *sequence }
    }

    /// Keeps another one. Allocates only when it is of another source.
    pub fn set(&mut self, order: Order<'_>) {
        (self.time, self.stream, self.epoch, self.sequence) = (order.time, order.stream, order.epoch, order.sequence);
        if *self.source != *order.source {
            self.source = order.source.into();
        }
    }
}

impl From<Order<'_>> for KeptOrder {
    fn from(order: Order<'_>) -> Self {
        let Order { time, source, stream, epoch, sequence } = order;
        Self { time, source: source.into(), stream, epoch, sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_ones_compare_as_those_that_are_not() {
        let mut all = Vec::new();
        for (time, source) in [(1, "b"), (2, "a"), (1, "a")] {
            for (stream, epoch, sequence) in
                [(Stream::Samples, 1, 7), (Stream::Critical, 2, 1), (Stream::Critical, 2, 0)]
            {
                let time = Timestamp::new(time).unwrap();
                all.push(Order { time, source, stream, epoch: Epoch::new(epoch), sequence: Sequence::new(sequence) });
            }
        }
        for (left, right) in all.iter().flat_map(|left| all.iter().map(move |right| (*left, *right))) {
            let mut kept = KeptOrder::from(left);
            assert_eq!((kept.order(), kept.cmp(&right.into())), (left, left.cmp(&right)));
            kept.set(right);
            assert_eq!(kept.order(), right);
        }
    }
}
