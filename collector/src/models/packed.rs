//! A sorted list whose entries are packed as differences to their predecessors.
//!
//! Appending at the end is cheap; a late entry costs unpacking and packing one chunk of [`MODEL_CHUNK_ENTRIES`].

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits::MODEL_CHUNK_ENTRIES;

/// An entry that can be packed.
pub trait Pack: Copy + Default + std::fmt::Debug + PartialEq {
    /// The state that the next entry is packed against.
    type Before: Clone + Default + std::fmt::Debug + PartialEq;

    /// Appends the entry, as a difference to its predecessors.
    fn put(&self, before: &mut Self::Before, to: &mut Vec<u8>);

    /// Reads the bytes of [`Pack::put`].
    fn get(before: &mut Self::Before, from: &mut &[u8]) -> Option<Self>;
}

/// A sorted list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "T: Serialize, T::Before: Serialize",
    deserialize = "T: Deserialize<'de>, T::Before: Deserialize<'de>"
))]
pub struct Packed<T: Pack> {
    chunks: VecDeque<Chunk<T>>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "T: Serialize, T::Before: Serialize",
    deserialize = "T: Deserialize<'de>, T::Before: Deserialize<'de>"
))]
struct Chunk<T: Pack> {
    bytes: Vec<u8>,
    count: u32,
    before: T::Before,
    last: T,
}

impl<T: Pack> Default for Packed<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Pack> Chunk<T> {
    const HEAD_BYTES: usize = size_of::<Self>();

    fn of(entries: &[T]) -> Self {
        let mut chunk = Self { bytes: Vec::new(), count: 0, before: T::Before::default(), last: T::default() };
        entries.iter().for_each(|entry| chunk.push(*entry));
        chunk
    }

    fn push(&mut self, entry: T) {
        entry.put(&mut self.before, &mut self.bytes);
        self.count += 1;
        self.last = entry;
    }

    fn size(&self) -> usize {
        Self::HEAD_BYTES + self.bytes.len()
    }

    fn iter(&self) -> impl Iterator<Item = T> {
        let (mut from, mut before) = (self.bytes.as_slice(), T::Before::default());
        std::iter::from_fn(move || T::get(&mut before, &mut from))
    }
}

impl<T: Pack> Packed<T> {
    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.chunks.iter().flat_map(Chunk::iter)
    }

    /// The last entry.
    pub fn last(&self) -> Option<&T> {
        self.chunks.back().map(|chunk| &chunk.last)
    }

    /// The last of the entries that [`Packed::take_front`] removes.
    pub fn front(&self) -> Option<&T> {
        self.chunks.front().map(|chunk| &chunk.last)
    }

    /// Inserts an entry in order. `merged` merges it with an equal one; returns whether the entry was added.
    pub fn insert(&mut self, entry: T, cmp: impl Fn(&T, &T) -> Ordering, merged: impl Fn(T, T) -> T) -> bool {
        if self.last().is_none_or(|last| cmp(last, &entry) == Ordering::Less) {
            self.push(entry);
            return true;
        }
        let at = self.chunks.partition_point(|chunk| cmp(&chunk.last, &entry) == Ordering::Less);
        let mut entries: Vec<T> = self.chunks[at].iter().collect();
        let place = entries.partition_point(|known| cmp(known, &entry) == Ordering::Less);
        let is_known = cmp(&entries[place], &entry) == Ordering::Equal;
        if is_known {
            entries[place] = merged(entries[place], entry);
        } else {
            entries.insert(place, entry);
        }
        self.replace(at, &entries);
        !is_known
    }

    fn push(&mut self, entry: T) {
        let is_full = self.chunks.back().is_none_or(|chunk| chunk.count as usize >= MODEL_CHUNK_ENTRIES);
        if is_full {
            if let Some(full) = self.chunks.back_mut() {
                full.bytes.shrink_to_fit();
            }
            self.chunks.push_back(Chunk::of(&[]));
            self.bytes += Chunk::<T>::HEAD_BYTES;
        }
        let chunk = self.chunks.back_mut().expect("there is one now");
        let before = chunk.bytes.len();
        chunk.push(entry);
        self.bytes += chunk.bytes.len() - before;
    }

    /// Replaces a chunk by these entries: none, or one or two chunks of them.
    fn replace(&mut self, at: usize, entries: &[T]) {
        self.bytes -= self.chunks[at].size();
        if entries.is_empty() {
            self.chunks.remove(at);
            return;
        }
        let (first, rest) = match entries.len() {
            count if count > MODEL_CHUNK_ENTRIES => entries.split_at(count / 2),
            _ => (entries, &[][..]),
        };
        self.chunks[at] = Chunk::of(first);
        self.bytes += self.chunks[at].size();
        if !rest.is_empty() {
            let rest = Chunk::of(rest);
            self.bytes += rest.size();
            self.chunks.insert(at + 1, rest);
        }
    }

    /// Removes and returns the oldest entries: the first chunk, or the older half of the only one.
    pub fn take_front(&mut self) -> Vec<T> {
        let Some(front) = self.chunks.front() else { return Vec::new() };
        let mut entries: Vec<T> = front.iter().collect();
        let rest = if self.chunks.len() > 1 { Vec::new() } else { entries.split_off(entries.len().div_ceil(2)) };
        self.replace(0, &rest);
        entries
    }

    /// Removes and returns the oldest entries as long as this holds.
    pub fn take_while(&mut self, holds: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        while let Some(front) = self.chunks.front() {
            let mut entries: Vec<T> = front.iter().collect();
            let rest = entries.split_off(entries.partition_point(&holds));
            let is_whole = rest.is_empty();
            if !entries.is_empty() {
                self.replace(0, &rest);
                taken.append(&mut entries);
            }
            if !is_whole {
                break;
            }
        }
        taken
    }
}

/// Appends a number, in as few bytes as it needs.
pub fn put_number(number: u64, to: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

/// Reads the bytes of [`put_number`].
pub fn get_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Appends a number of either sign; small ones take few bytes.
pub fn put_signed(number: i64, to: &mut Vec<u8>) {
    put_number(((number << 1) ^ (number >> 63)).cast_unsigned(), to);
}

/// Reads the bytes of [`put_signed`].
pub fn get_signed(from: &mut &[u8]) -> Option<i64> {
    let number = get_number(from)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Number(i64);

    impl Pack for Number {
        type Before = i64;

        fn put(&self, before: &mut i64, to: &mut Vec<u8>) {
            put_signed(self.0.wrapping_sub(*before), to);
            *before = self.0;
        }

        fn get(before: &mut i64, from: &mut &[u8]) -> Option<Self> {
            *before = before.wrapping_add(get_signed(from)?);
            Some(Self(*before))
        }
    }

    fn packed(numbers: &[i64]) -> Packed<Number> {
        let mut packed = Packed::default();
        for number in numbers {
            packed.insert(Number(*number), |left, right| left.0.cmp(&right.0), |known, _| known);
        }
        packed
    }

    fn counted(packed: &Packed<Number>) -> usize {
        packed.chunks.iter().map(Chunk::size).sum()
    }

    #[test]
    fn numbers_come_back_whatever_they_are() {
        for number in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_signed(number, &mut bytes);
            assert_eq!(get_signed(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(get_number(&mut [0x80; 11].as_slice()), None, "a number ends");
    }

    proptest! {
        #[test]
        fn it_is_the_sorted_set_of_what_was_put_in(
            numbers in proptest::collection::vec(-500_i64..500, 0..900), limit in -500_i64..500,
        ) {
            let mut packed = packed(&numbers);
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let kept: Vec<i64> = packed.iter().map(|number| number.0).collect();
            prop_assert_eq!(&kept, &sorted);
            prop_assert_eq!(packed.bytes(), counted(&packed));
            let taken: Vec<i64> = packed.take_while(|number| number.0 < limit).iter().map(|number| number.0).collect();
            let kept: Vec<i64> = packed.iter().map(|number| number.0).collect();
            prop_assert_eq!((taken, kept), sorted.into_iter().partition::<Vec<i64>, _>(|number| *number < limit));
            prop_assert_eq!(packed.bytes(), counted(&packed));
        }

        #[test]
        fn the_front_is_taken_until_nothing_is_left(numbers in proptest::collection::vec(-500_i64..500, 1..900)) {
            let mut packed = packed(&numbers);
            let all: Vec<i64> = packed.iter().map(|number| number.0).collect();
            let mut taken = Vec::new();
            while packed.last().is_some() {
                let part = packed.take_front();
                prop_assert!(!part.is_empty());
                taken.extend(part.iter().map(|number| number.0));
            }
            prop_assert_eq!((taken, packed.bytes()), (all, 0));
        }
    }
}
