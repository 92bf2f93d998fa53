//! What a model keeps of each machine, subject or source.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Name;

/// No place is known for a hint.
const UNKNOWN: u32 = u32::MAX;

/// A bounded table by name, in the order in which the names came.
#[derive(Clone, Debug)]
pub struct Table<T> {
    entries: Vec<(Box<str>, T)>,
    places: HashMap<Box<str>, u32>,
    /// The place of the entry that a name's hint led to last. Checked before it is believed: hints may be of another run.
    hinted: Vec<u32>,
    refused: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), hinted: Vec::new(), refused: 0 }
    }
}

impl<T: PartialEq> PartialEq for Table<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries && self.refused == other.refused
    }
}

impl<T: Default> Table<T> {
    /// The entry of this name, made when there are fewer than `count_max`; else the refusal is counted.
    pub fn get_or_add(&mut self, name: Name<'_>, count_max: usize) -> Option<&mut T> {
        let hint = name.id as usize;
        let hinted = self.hinted.get(hint).copied().unwrap_or(UNKNOWN) as usize;
        let place = match self.entries.get(hinted) {
            Some((known, _)) if **known == *name.text => hinted,
            _ => self.place_of(name, count_max)?,
        };
        Some(&mut self.entries[place].1)
    }

    fn place_of(&mut self, name: Name<'_>, count_max: usize) -> Option<usize> {
        let place = match self.places.get(name.text) {
            Some(place) => *place,
            None if self.entries.len() >= count_max => {
                self.refused += 1;
                return None;
            }
            None => {
                let place = self.entries.len() as u32;
                self.entries.push((name.text.into(), T::default()));
                self.places.insert(name.text.into(), place);
                place
            }
        };
        let hint = name.id as usize;
        if self.hinted.len() <= hint {
            self.hinted.resize(hint + 1, UNKNOWN);
        }
        self.hinted[hint] = place;
        Some(place as usize)
    }
}

impl<T> Table<T> {
    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.places.get(name).map(|place| &self.entries[*place as usize].1)
    }

    /// The entry of this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.places.get(name).map(|place| &mut self.entries[*place as usize].1)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, entry)| (&**name, entry))
    }

    /// All entries, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }

    /// Events that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.entries, self.refused).serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        type Entries<T> = Vec<(Box<str>, T)>;
        let (entries, refused): (Entries<T>, u64) = Deserialize::deserialize(from)?;
        let places = entries.iter().zip(0..).map(|((name, _), place)| (name.clone(), place)).collect();
        Ok(Self { entries, places, hinted: Vec::new(), refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: u32, text: &str) -> Name<'_> {
        Name { id, text }
    }

    #[test]
    fn a_wrong_hint_leads_to_the_right_entry() {
        let mut table = Table::<u32>::default();
        *table.get_or_add(name(0, "a"), 9).unwrap() = 1;
        *table.get_or_add(name(1, "b"), 9).unwrap() = 2;
        assert_eq!(table.get_or_add(name(0, "b"), 9), Some(&mut 2));
        assert_eq!(table.get_or_add(name(0, "a"), 9), Some(&mut 1));
    }

    #[test]
    fn a_full_table_refuses_new_names_and_counts_them() {
        let mut table = Table::<u32>::default();
        table.get_or_add(name(0, "a"), 1).unwrap();
        assert!(table.get_or_add(name(1, "b"), 1).is_none() && table.get_or_add(name(1, "b"), 1).is_none());
        assert!(table.get_or_add(name(0, "a"), 1).is_some());
        assert_eq!(table.refused(), 2);
    }

    #[test]
    fn what_was_saved_is_what_is_read() {
        let mut table = Table::<u32>::default();
        *table.get_or_add(name(7, "b"), 9).unwrap() = 2;
        *table.get_or_add(name(3, "a"), 9).unwrap() = 1;
        let bytes = postcard::to_stdvec(&table).unwrap();
        let mut read: Table<u32> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read, table);
        assert_eq!(read.get_or_add(name(7, "a"), 9), Some(&mut 1));
    }
}
