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

    fn checksum(&self) -> u32 {
        let crc = crc32c(&self.turn.to_le_bytes());
        let crc = crc32c_append(crc, &self.head.to_le_bytes());
        // Zeros must not be valid.
        !crc32c_append(crc, &self.used.to_le_bytes())
    }
}

/// A queue of `N` bytes. All its fields are numbers, any bytes are a valid value of it: it may lie in memory that nobody
/// initialised, as long as [`RamQueue::recover`] is called before anything else.
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
    /// An empty one.
    pub const fn new() -> Self {
        const { assert!(N > 256 && N < 1 << 30) };
        Self { control: [Control::empty(); 2], bytes: [0; N] }
    }

    /// Finds again what outlived a reset. Whatever the memory holds, the queue is in order afterwards.
    pub fn recover(&mut self) -> Recovered {
        let Some(found) = self.valid() else {
            self.put(0, 0);
            return Recovered::Empty;
        };
        let mut whole = 0;
        while let Some(len) = self.item_len(found.head as usize + whole, found.used as usize - whole) {
            whole += len;
        }
        self.put(found.head as usize, whole);
        match whole {
            _ if whole < found.used as usize => Recovered::Damaged,
            0 => Recovered::Empty,
            _ => Recovered::Whole,
        }
    }

    fn valid(&self) -> Option<Control> {
        let valid = self.control.iter().filter(|control| {
            control.crc == control.checksum() && (control.head as usize) < N && control.used as usize <= N
        });
        // Turns differ by one: the later one is ahead by less than half of the number space.
        valid.copied().reduce(|a, b| if b.turn.wrapping_sub(a.turn) < 1 << 31 { b } else { a })
    }

    fn control(&self) -> Control {
        self.valid().unwrap_or(Control::empty())
    }

    fn put(&mut self, head: usize, used: usize) {
        let turn = self.control().turn.wrapping_add(1);
        let mut control = Control { turn, head: (head % N) as u32, used: used as u32, crc: 0 };
        control.crc = control.checksum();
        let [even, odd] = &mut self.control;
        *(if turn.is_multiple_of(2) { even } else { odd }) = control;
    }

    /// Bytes of the item at `at`, head included, if it is whole within `used` bytes.
    fn item_len(&self, at: usize, used: usize) -> Option<usize> {
        let (len, crc) = self.item_head(at);
        let whole = ITEM_HEAD_LEN + len;
        if used < whole {
            return None;
        }
        let (first, second) = self.places(at + ITEM_HEAD_LEN, len);
        (crc32c_append(crc32c(first), second) == crc).then_some(whole)
    }

    fn item_head(&self, at: usize) -> (usize, u32) {
        let mut head = [0; ITEM_HEAD_LEN];
        self.read(at, &mut head);
        let [a, b, crc @ ..] = head;
        (usize::from(u16::from_le_bytes([a, b])), u32::from_le_bytes(crc))
    }

    /// The two stretches of `len` bytes from `at` on.
    fn places(&self, at: usize, len: usize) -> (&[u8], &[u8]) {
        let (before, after) = self.bytes.split_at_checked(at % N).unwrap_or((&self.bytes, &[]));
        match after.get(..len) {
            Some(first) => (first, &[]),
            None => (after, before.get(..len - after.len()).unwrap_or(&[])),
        }
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        let (first, second) = self.places(at, out.len());
        let bytes = first.iter().chain(second);
        out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let at = at % N;
        let (before, after) = self.bytes.split_at_mut_checked(at).unwrap_or((&mut [], &mut []));
        after.iter_mut().chain(before).zip(bytes).for_each(|(place, byte)| *place = *byte);
    }
}

impl<const N: usize> Queue for RamQueue<N> {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        let whole = ITEM_HEAD_LEN + item.len();
        if whole > N || item.len() > usize::from(u16::MAX) {
            return Err(PushError::TooLong);
        }
        let Control { head, used, .. } = self.control();
        let (head, used) = (head as usize, used as usize);
        if N - used < whole {
            return Err(PushError::Full);
        }
        self.write(head + used, &(item.len() as u16).to_le_bytes());
        self.write(head + used + 2, &crc32c(item).to_le_bytes());
        self.write(head + used + ITEM_HEAD_LEN, item);
        self.put(head, used + whole);
        Ok(())
    }

    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        let Control { head, used, .. } = self.control();
        let (mut at, end) = (head as usize, head as usize + used as usize);
        while at < end {
            let (len, _) = self.item_head(at);
            if let Some(item) = buffer.get_mut(..len) {
                self.read(at + ITEM_HEAD_LEN, item);
                if wanted(item) {
                    return Ok(Some(len));
                }
            }
            at += ITEM_HEAD_LEN + len;
        }
        Ok(None)
    }

    fn pop(&mut self) -> Result<bool, Broken> {
        let Control { head, used, .. } = self.control();
        if used == 0 {
            return Ok(false);
        }
        let (len, _) = self.item_head(head as usize);
        let whole = ITEM_HEAD_LEN + len;
        self.put(head as usize + whole, (used as usize).saturating_sub(whole));
        Ok(true)
    }

    fn is_roomy(&mut self, len: usize) -> bool {
        N - self.control().used as usize >= N / 4 + ITEM_HEAD_LEN + len
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
