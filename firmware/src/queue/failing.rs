//! For tests: a queue whose memory loses items, or does not answer.

use super::{Broken, PushError, Queue, RamQueue};
use crate::stored::Head;

pub(crate) struct Failing {
    queue: RamQueue<2048>,
    /// The first sequences of the items that cannot be found.
    pub damaged: &'static [u32],
    pub is_broken: bool,
}

impl Failing {
    pub fn new() -> Self {
        Self { queue: RamQueue::new(), damaged: &[], is_broken: false }
    }
}

impl Queue for Failing {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        self.queue.push(item)
    }

    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        if self.is_broken {
            return Err(Broken);
        }
        let damaged = self.damaged;
        let is_damaged = |item: &[u8]| Head::decode(item).is_some_and(|head| damaged.contains(&head.first));
        self.queue.find(buffer, &mut |item| !is_damaged(item) && wanted(item))
    }

    fn pop(&mut self) -> Result<bool, Broken> {
        self.queue.pop()
    }

    fn is_roomy(&mut self, len: usize) -> bool {
        self.queue.is_roomy(len)
    }
}
