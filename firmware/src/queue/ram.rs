//! A queue in RAM: plain, or in memory that outlives a reset.
//!
//! ```text
//! bytes     a ring of items: ( len, 2 bytes ‖ crc32c of the item ‖ item )*, oldest at `head`
//! control   two copies of (turn, head, used, crc32c of these); the valid one with the later turn counts
//! ```
//!
//! An append writes the item's bytes first and then the older copy of the control, so that a reset at any moment leaves
//! the queue as it was before or as it is after.

use afferent_protocol::checksum::{crc32c, crc32c_append};

use super::{Broken, PushError, Queue};

const ITEM_HEAD_LEN: usize = 6;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Control {
    turn: u32,
    head: u32,
    used: u32,
    crc: u32,
}

impl Control {
    const fn empty() -> Self {
        Self { turn: 0, head: 0, used: 0, crc: 0 }
    }

    #[inline(never)]
    fn checksum(&self) -> u32 {
        let mut bytes = [0; 12];
        let words = [self.turn, self.head, self.used];
        bytes.as_chunks_mut().0.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
        // Zeros must not be valid.
        !crc32c(&bytes)
    }
}

/// A queue of `N` bytes. All its fields are numbers, any bytes are a valid value of it: it may lie in memory that
/// is not initialised, as long as [`RamQueue::recover`] is called before anything else.
#[derive(Debug)]
#[repr(C)]
pub struct RamQueue<const N: usize> {
    control: [Control; 2],
    bytes: [u8; N],
}

/// What a queue held when it was found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was there, or nothing that can be read: a power cut, or the first boot.
    Empty,
    /// Every item.
    Whole,
    /// The first items; what came after them was damaged, and is gone.
    Damaged,
}

impl<const N: usize> Default for RamQueue<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> RamQueue<N> {
    /// An empty queue.
    pub const fn new() -> Self {
        const { assert!(N > 256 && N < 1 << 30) };
        Self { control: [Control::empty(); 2], bytes: [0; N] }
    }

    /// Finds again what outlived a reset. Whatever the memory holds, the queue is in order afterwards.
    pub fn recover(&mut self) -> Recovered {
        self.ring().recover()
    }

    const fn ring(&mut self) -> Ring<'_> {
        Ring { control: &mut self.control, bytes: &mut self.bytes }
    }
}

impl<const N: usize> Queue for RamQueue<N> {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        self.ring().push(item)
    }

    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        Ok(self.ring().find(buffer, wanted))
    }

    fn pop(&mut self) -> Result<bool, Broken> {
        Ok(self.ring().pop())
    }

    fn is_roomy(&mut self, len: usize) -> bool {
        self.ring().is_roomy(len)
    }
}

/// A queue of whatever size: queues of different sizes share its code.
struct Ring<'q> {
    control: &'q mut [Control; 2],
    bytes: &'q mut [u8],
}

impl Ring<'_> {
    #[inline(never)]
    fn recover(&mut self) -> Recovered {
        let Some(found) = self.valid() else {
            self.put(0, 0);
            return Recovered::Empty;
        };
        let (head, used) = (found.head as usize, found.used as usize);
        let mut whole = 0;
        while let Some(len) = self.item_len(head + whole, used - whole) {
            whole += len;
        }
        self.put(head, whole);
        match whole {
            _ if whole < used => Recovered::Damaged,
            0 => Recovered::Empty,
            _ => Recovered::Whole,
        }
    }

    #[inline(never)]
    fn valid(&self) -> Option<Control> {
        let room = self.bytes.len();
        let valid = |control: &Control| {
            control.crc == control.checksum() && (control.head as usize) < room && control.used as usize <= room
        };
        // Turns differ by one: the later one is ahead by less than half of the number space.
        let [even, odd] = &*self.control;
        match [even, odd].map(valid) {
            [true, true] => Some(if odd.turn.wrapping_sub(even.turn) < 1 << 31 { *odd } else { *even }),
            [true, false] => Some(*even),
            [false, true] => Some(*odd),
            [false, false] => None,
        }
    }

    /// Head, and how much is used.
    #[inline(never)]
    fn control(&self) -> (usize, usize) {
        self.valid().map_or((0, 0), |control| (control.head as usize, control.used as usize))
    }

    #[inline(never)]
    fn put(&mut self, head: usize, used: usize) {
        debug_assert!(used <= self.bytes.len(), "a queue holds no more than it has room for");
        let turn = self.valid().map_or(1, |control| control.turn.wrapping_add(1));
        let mut control = Control { turn, head: self.wrapped(head) as u32, used: used as u32, crc: 0 };
        control.crc = control.checksum();
        let [even, odd] = &mut *self.control;
        *(if turn.is_multiple_of(2) { even } else { odd }) = control;
    }

    /// A place in the ring; `at` is less than twice its size.
    const fn wrapped(&self, at: usize) -> usize {
        if at < self.bytes.len() { at } else { at - self.bytes.len() }
    }

    /// Bytes of the item at `at`, head included, if it is whole within `used` bytes.
    fn item_len(&self, at: usize, used: usize) -> Option<usize> {
        let (len, crc) = self.item_head(at);
        let whole = ITEM_HEAD_LEN + len;
        if used < whole {
            return None;
        }
        let mut found = crc32c(&[]);
        for at in at + ITEM_HEAD_LEN..at + whole {
            let mut byte = [0];
            self.read(at, &mut byte);
            found = crc32c_append(found, &byte);
        }
        (found == crc).then_some(whole)
    }

    #[inline(never)]
    fn item_head(&self, at: usize) -> (usize, u32) {
        let mut head = [0; ITEM_HEAD_LEN];
        self.read(at, &mut head);
        let [a, b, crc @ ..] = head;
        (usize::from(u16::from_le_bytes([a, b])), u32::from_le_bytes(crc))
    }

    #[inline(never)]
    fn read(&self, at: usize, out: &mut [u8]) {
        let mut at = self.wrapped(at);
        for place in out {
            *place = self.bytes.get(at).copied().unwrap_or(0);
            at = self.wrapped(at + 1);
        }
    }

    #[inline(never)]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut at = self.wrapped(at);
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(at) {
                *place = *byte;
            }
            at = self.wrapped(at + 1);
        }
    }

    #[inline(never)]
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        let whole = ITEM_HEAD_LEN + item.len();
        if whole > self.bytes.len() || item.len() > usize::from(u16::MAX) {
            return Err(PushError::TooLong);
        }
        let (head, used) = self.control();
        if self.bytes.len() - used < whole {
            return Err(PushError::Full);
        }
        let mut item_head = [0; ITEM_HEAD_LEN];
        let [a, b, crc @ ..] = &mut item_head;
        [*a, *b] = (item.len() as u16).to_le_bytes();
        *crc = crc32c(item).to_le_bytes();
        self.write(head + used, &item_head);
        self.write(self.wrapped(head + used) + ITEM_HEAD_LEN, item);
        self.put(head, used + whole);
        Ok(())
    }

    #[inline(never)]
    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Option<usize> {
        let (mut at, mut left) = self.control();
        while left > 0 {
            let (len, _) = self.item_head(at);
            if let Some(item) = buffer.get_mut(..len) {
                self.read(self.wrapped(at) + ITEM_HEAD_LEN, item);
                if wanted(item) {
                    return Some(len);
                }
            }
            at = self.wrapped(at) + ITEM_HEAD_LEN + len;
            left = left.saturating_sub(ITEM_HEAD_LEN + len);
        }
        None
    }

    #[inline(never)]
    fn pop(&mut self) -> bool {
        let (head, used) = self.control();
        let (len, _) = self.item_head(head);
        if used > 0 {
            self.put(head + ITEM_HEAD_LEN + len, used.saturating_sub(ITEM_HEAD_LEN + len));
        }
        used > 0
    }

    fn is_roomy(&self, len: usize) -> bool {
        let (_, used) = self.control();
        self.bytes.len() - used >= self.bytes.len() / 4 + ITEM_HEAD_LEN + len
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Pop,
        Reset,
    }

    fn items<const N: usize>(queue: &mut RamQueue<N>) -> VecDeque<Vec<u8>> {
        let mut items = VecDeque::new();
        let nothing = queue.find(&mut [0; N], &mut |item| {
            items.push_back(item.to_vec());
            false
        });
        assert_eq!(nothing, Ok(None));
        items
    }

    fn copied<const N: usize>(queue: &RamQueue<N>) -> RamQueue<N> {
        RamQueue { control: queue.control, bytes: queue.bytes }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_would_hold_whatever_is_done(steps in prop::collection::vec(prop_oneof![
            3 => prop::collection::vec(any::<u8>(), 0..120).prop_map(Step::Push),
            2 => Just(Step::Pop),
            1 => Just(Step::Reset),
        ], 0..200)) {
            let (mut queue, mut model) = (RamQueue::<300>::new(), VecDeque::new());
            queue.recover();
            for step in steps {
                match step {
                    Step::Push(item) => {
                        let used: usize = model.iter().map(|item: &Vec<u8>| item.len() + ITEM_HEAD_LEN).sum();
                        let fits = used + item.len() + ITEM_HEAD_LEN <= 300;
                        prop_assert_eq!(queue.push(&item), if fits { Ok(()) } else { Err(PushError::Full) });
                        if fits { model.push_back(item); }
                    }
                    Step::Pop => prop_assert_eq!(queue.pop(), Ok(model.pop_front().is_some())),
                    Step::Reset => prop_assert!(queue.recover() != Recovered::Damaged),
                }
                prop_assert_eq!(&items(&mut queue), &model);
            }
        }

        #[test]
        fn any_memory_is_in_order_after_recovery(
            bytes in prop::collection::vec(any::<u8>(), 300), words in any::<[u32; 8]>()
        ) {
            let control = |words: &[u32]| Control { turn: words[0], head: words[1], used: words[2], crc: words[3] };
            let bytes = bytes.try_into().unwrap();
            let mut queue = RamQueue::<300> { control: [control(&words[..4]), control(&words[4..])], bytes };
            prop_assert_eq!(queue.recover(), Recovered::Empty);
            prop_assert_eq!(queue.push(b"first"), Ok(()));
            prop_assert_eq!(items(&mut queue), [b"first".to_vec()]);
        }
    }

    #[test]
    fn a_reset_between_the_bytes_of_an_item_and_its_control_leaves_the_queue_as_it_was() {
        let mut queue = RamQueue::<300>::new();
        queue.recover();
        queue.push(b"kept").unwrap();
        let before = copied(&queue);
        queue.push(b"torn").unwrap();
        let mut torn = RamQueue { control: before.control, bytes: queue.bytes };
        assert_eq!(torn.recover(), Recovered::Whole);
        assert_eq!(items(&mut torn), [b"kept".to_vec()]);
        // A control that was written by half: the other copy counts.
        let mut torn = copied(&queue);
        let newer = usize::from(queue.control[1].turn > queue.control[0].turn);
        torn.control[newer].used ^= 1;
        assert_eq!(torn.recover(), Recovered::Whole);
        assert_eq!(items(&mut torn), [b"kept".to_vec()]);
    }

    #[test]
    fn what_is_damaged_ends_the_queue_and_is_told() {
        let mut queue = RamQueue::<300>::new();
        queue.recover();
        ["one", "two", "six"].iter().for_each(|item| queue.push(item.as_bytes()).unwrap());
        queue.bytes[3 + 2 * ITEM_HEAD_LEN] ^= 0x10;
        assert_eq!(queue.recover(), Recovered::Damaged);
        assert_eq!(items(&mut queue), [b"one".to_vec()]);
    }
}
