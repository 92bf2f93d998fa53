//! Values that many entries share, each kept once for as long as one of them needs it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values by number.
#[derive(Clone, Debug)]
pub struct Pool<T> {
    slots: Vec<Option<(T, u32)>>,
    free: Vec<u32>,
    /// Finds a value. Of two with the same hash it finds one; the other is never found.
    by_hash: HashMap<u64, u32>,
    latest: u32,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_hash: HashMap::new(), latest: 0 }
    }
}

impl<T: PartialEq> PartialEq for Pool<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slots == other.slots
    }
}

impl<T: Hash + Eq> Pool<T> {
    /// Returns the number of a value for one more entry, and whether it is new.
    pub fn hold(&mut self, thing: T) -> (u32, bool) {
        let known = match self.slots.get(self.latest as usize) {
            Some(Some((latest, _))) if *latest == thing => Some(self.latest),
            _ => self.by_hash.get(&hash(&thing)).copied(),
        };
        if let Some(number) = known
            && let Some(Some((held, count))) = self.slots.get_mut(number as usize)
            && *held == thing
        {
            *count += 1;
            self.latest = number;
            return (number, false);
        }
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.by_hash.insert(hash(&thing), number);
        let slot = Some((thing, 1));
        match self.slots.get_mut(number as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.latest = number;
        (number, true)
    }

    /// Releases a value for one entry; returns it when no entry needs it any more.
    pub fn release(&mut self, number: u32) -> Option<T> {
        let slot = self.slots.get_mut(number as usize)?;
        let (_, count) = slot.as_mut()?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        let (thing, _) = slot.take()?;
        self.free.push(number);
        let hash = hash(&thing);
        if self.by_hash.get(&hash) == Some(&number) {
            self.by_hash.remove(&hash);
        }
        Some(thing)
    }
}

impl<T> Pool<T> {
    /// The value of this number.
    ///
    /// # Panics
    /// When no entry holds it.
    pub fn get(&self, number: u32) -> &T {
        let slot = self.slots.get(number as usize).and_then(Option::as_ref);
        &slot.expect("an entry holds what it names").0
    }
}

fn hash(thing: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

impl<T: Serialize> Serialize for Pool<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.slots.serialize(to)
    }
}

impl<'de, T: Deserialize<'de> + Hash> Deserialize<'de> for Pool<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let slots: Vec<Option<(T, u32)>> = Deserialize::deserialize(from)?;
        let mut pool = Self { slots, ..Self::default() };
        for (slot, number) in pool.slots.iter().zip(0..) {
            match slot {
                Some((thing, _)) => _ = pool.by_hash.insert(hash(thing), number),
                None => pool.free.push(number),
            }
        }
        Ok(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_kept_once_and_as_long_as_it_is_needed() {
        let mut pool = Pool::default();
        let (belt, _) = pool.hold("belt".to_owned());
        assert_eq!(pool.hold("oil".to_owned()), (belt + 1, true));
        assert_eq!(pool.hold("belt".to_owned()), (belt, false));
        assert_eq!(pool.release(belt), None);
        assert_eq!(pool.release(belt).as_deref(), Some("belt"));
        assert_eq!(pool.hold("pump".to_owned()), (belt, true), "its number is free again");
        assert_eq!(pool.get(belt + 1), "oil");
    }

    #[test]
    fn what_was_saved_is_what_is_read() {
        let mut pool = Pool::default();
        ["a", "b", "c"].iter().for_each(|name| _ = pool.hold((*name).to_owned()));
        pool.release(1);
        let bytes = postcard::to_stdvec(&pool).unwrap();
        let mut read: Pool<String> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read, pool);
        assert_eq!((read.hold("c".into()), read.hold("d".into())), ((2, false), (1, true)));
    }
}
