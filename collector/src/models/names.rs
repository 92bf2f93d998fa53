//! Machines and subjects as numbers, so that a model finds their state without hashing a text for every event.

use std::collections::HashMap;

use afferent_protocol::ids::Subject;

use super::machine_of;
use crate::limits::MODEL_NAMES_MAX;

/// A name, and a number that is most likely its own: a hint for [`super::ClaimTable`], which checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The hint.
    pub id: u32,
    /// The name.
    pub text: &'a str,
}

/// Gives numbers to names.
#[derive(Debug, Default)]
pub struct NameNumbers {
    ids: HashMap<Box<str>, u32>,
    /// For the current batch: the address of a subject's text, and its numbers. Sorted by address.
    batch: Vec<(usize, u32, u32)>,
}

impl NameNumbers {
    /// The number of a name. When there are too many, all get new numbers, which costs their tables a search.
    pub fn id(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        if self.ids.len() == MODEL_NAMES_MAX {
            self.ids.clear();
        }
        let id = self.ids.len() as u32;
        self.ids.insert(text.into(), id);
        id
    }

    /// Looks up all subjects of a batch, so that its events need only the address of their subject.
    pub(super) fn begin_batch(&mut self, subjects: &[Subject<'_>]) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        for subject in subjects {
            let text = subject.as_str();
            batch.push((text.as_ptr().addr(), self.id(text), self.id(machine_of(text))));
        }
        batch.sort_unstable();
        self.batch = batch;
    }

    /// Machine and subject of an event of the current batch.
    pub(super) fn of<'a>(&mut self, subject: Subject<'a>) -> (Name<'a>, Name<'a>) {
        let text = subject.as_str();
        let place = text.as_ptr().addr();
        let (subject_id, machine_id) = match self.batch.binary_search_by_key(&place, |(place, ..)| *place) {
            Ok(at) => (self.batch[at].1, self.batch[at].2),
            // A subject that is not in the batch's dictionary.
            Err(_) => (self.id(text), self.id(machine_of(text))),
        };
        (Name { id: machine_id, text: machine_of(text) }, Name { id: subject_id, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_subject_has_its_machines() {
        let mut names = NameNumbers::default();
        let subject = Subject::new("88-C/spindle").unwrap();
        names.begin_batch(&[subject]);
        let (machine, whole) = names.of(subject);
        assert_eq!((machine.text, whole.text), ("88-C", "88-C/spindle"));
        let elsewhere = String::from("88-C/spindle");
        assert_eq!(names.of(Subject::new(&elsewhere).unwrap()), (machine, whole));
        assert_eq!(names.id("88-C"), machine.id);
    }

    #[test]
    fn however_many_names_come_memory_is_bounded() {
        let mut names = NameNumbers::default();
        for number in 0..=MODEL_NAMES_MAX {
            names.id(&number.to_string());
        }
        assert!(names.ids.len() <= MODEL_NAMES_MAX);
    }
}
