//! What a model keeps of each machine, subject or source: a bounded table by name, in which every source has a share.
//!
//! A source *claims* the names that it reports about, and a name is kept as long as anybody claims it. Claims are what
//! is bounded: those of one source, and those of all. When all are full, the sources that have most give way first, so
//! that every source has as much as it wants or as much as any other (`ranks`). Of the claims of one source those
//! stay that weigh most: by the most serious [`Kind`] of event that it ever reported about the name, then by when it
//! did so last, in steps of an hour, then by lot.
//!
//! So which claims are kept is a function of the set of events, whatever order they came in:
//!
//! - The weight of a claim is the greatest of the weights of its events: it only grows.
//! - A source keeps those of its claims that weigh most, as many as its share has. What was let go of weighed less than
//!   all of these; it comes back with an event that weighs more, or never.
//! - Shares only become smaller: their size is the greatest for which all claims have room, and claims that have found
//!   no room are those of sources whose share was full, and stays full.
//!
//! What is kept of a name begins with the event that brought it in. Where something had found no room before that, it
//! may not be all: [`Kept::begun`] says from which offset on it is.

mod ranks;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use afferent_protocol::event::{AlarmTransition, Body};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::sign::sha256;
use serde::{Deserialize, Serialize};

use self::ranks::{Ranks, Weight};
use super::not_shown::{NotShown, Shortage};
use super::{Name, Seen};
use crate::limits::{MODEL_IDLE_STEP_US, MODEL_MACHINES_MAX, MODEL_MACHINES_OF_ONE_MAX, MODEL_SOURCES_MAX};

/// No place is known for a hint.
const UNKNOWN: u32 = u32::MAX;

/// How serious an event is: what is less gives way first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It was made from other events.
    #[default]
    Derived,
    /// It was measured.
    Measured,
    /// It says how something is.
    Stated,
    /// A breakdown, or an alarm that was raised.
    Serious,
}

impl Kind {
    /// That of an event.
    pub fn of(body: &Body<'_>) -> Self {
        match body {
            Body::Derived(_) => Self::Derived,
            Body::Sample(_) => Self::Measured,
            Body::Breakdown(_) => Self::Serious,
            Body::Alarm(alarm) if alarm.transition == AlarmTransition::Raised => Self::Serious,
            Body::Alarm(_) | Body::Recovery(_) | Body::State(_) => Self::Stated,
            Body::Loss(_) | Body::ClockStep(_) | Body::LifeCycle(_) | Body::Progress(_) | Body::Followed(_) => {
                Self::Stated
            }
        }
    }
}

/// How many claims there may be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Of all sources.
    pub count_max: usize,
    /// Of one of them.
    pub of_one_max: usize,
}

/// How many machines a model keeps.
pub(in crate::models) const MACHINES: Size =
    Size { count_max: MODEL_MACHINES_MAX, of_one_max: MODEL_MACHINES_OF_ONE_MAX };

/// How many sources a model keeps; each one claims itself.
pub(in crate::models) const SOURCES: Size = Size { count_max: MODEL_SOURCES_MAX, of_one_max: 1 };

/// Why a claim is kept: by the kind of event, and by when it was, in steps of [`MODEL_IDLE_STEP_US`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Rank {
    kind: Kind,
    step: u32,
}

impl Rank {
    fn new(kind: Kind, time: Timestamp) -> Self {
        let step = time.micros().max(0) / MODEL_IDLE_STEP_US;
        Self { kind, step: u32::try_from(step).unwrap_or(u32::MAX) }
    }
}

/// That a source reports about a name, and what is kept of its reports alone.
#[derive(Clone, Debug)]
struct Claim<D> {
    source: u32,
    rank: Rank,
    of_source: D,
}

/// What is kept of a name.
#[derive(Clone, Debug)]
pub struct Kept<T, D = ()> {
    name: Box<str>,
    /// Of all reports about it.
    pub value: T,
    /// Where it begins, if that may not be the first event about it.
    pub begun: Option<Offset>,
    lot: u64,
    first: Claim<D>,
    /// In the order of their sources.
    more: Vec<Claim<D>>,
}

/// A bounded table by name: of each name a `T`, and a `D` of each source that reports about it.
#[derive(Clone, Debug)]
pub struct Shares<T, D = ()> {
    slots: Vec<Option<Kept<T, D>>>,
    free: Vec<u32>,
    places: HashMap<Box<str>, u32>,
    /// The place that a name's hint led to last. Checked before it is believed: hints may be of another run.
    hinted: Vec<u32>,
    ranks: Ranks,
    not_shown: NotShown,
}

/// What an event of a source about a name changes.
#[derive(Debug)]
pub struct Taken<'t, T, D = ()> {
    /// What is kept of the name.
    pub value: &'t mut T,
    /// What is kept of this source's reports about it; `None` where they have no room of their own, and others have
    /// claimed the name.
    pub of_source: Option<&'t mut D>,
    /// Whether the source did not claim it before.
    pub is_new_claim: bool,
}

impl<T, D> Default for Shares<T, D> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            hinted: Vec::new(),
            ranks: Ranks::default(),
            not_shown: NotShown::default(),
        }
    }
}

impl<T, D> Kept<T, D> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept of each source's reports.
    pub fn of_sources(&self) -> impl Iterator<Item = &D> {
        std::iter::once(&self.first).chain(&self.more).map(|claim| &claim.of_source)
    }

    fn claims(&self) -> impl Iterator<Item = &Claim<D>> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn claim_of(&mut self, source: u32) -> Option<&mut Claim<D>> {
        if self.first.source == source {
            return Some(&mut self.first);
        }
        let at = self.more.binary_search_by_key(&source, |claim| claim.source).ok()?;
        Some(&mut self.more[at])
    }

    fn add(&mut self, claim: Claim<D>) {
        let at = self.more.partition_point(|known| known.source < claim.source);
        self.more.insert(at, claim);
    }

    /// Ends a claim; whether another one is left.
    fn release(&mut self, source: u32) -> bool {
        if self.first.source != source {
            self.more.retain(|claim| claim.source != source);
            return true;
        }
        let Some(other) = self.more.pop() else { return false };
        self.first = other;
        true
    }
}

impl<T: Default, D: Default> Shares<T, D> {
    /// Takes an event about a name; `None` when it has no room, which is counted. What has to give way is passed to
    /// `gone`.
    pub fn take(
        &mut self,
        seen: &Seen<'_>,
        name: Name<'_>,
        kind: Kind,
        size: Size,
        mut gone: impl FnMut(T),
    ) -> Option<Taken<'_, T, D>> {
        let rank = Rank::new(kind, seen.time);
        let source = self.ranks.number(seen.batch.source);
        let found = self.find(name);
        let is_known = found.zip(source).is_some_and(|(place, source)| self.rise(place, source, rank));
        let (place, source) = match found {
            Some(place) if is_known => (place, source),
            _ => {
                let lot = found.map_or_else(|| lot(name.text), |place| self.kept(place).lot);
                let weight = Weight { rank, lot };
                let mut dropped = Vec::new();
                let number = self.ranks.admit(seen.batch.source, weight, size, &mut dropped);
                let place = number.map(|number| {
                    let place = self.claim(seen, name, found, number, weight);
                    self.ranks.put(number, weight, place);
                    place
                });
                self.drop_all(&dropped, seen.ingest, &mut gone);
                if number.is_none() {
                    return self.refuse(seen, name);
                }
                (place?, number)
            }
        };
        let kept = self.slots[place as usize].as_mut().expect("what was found or claimed is there");
        let (is_first, is_new_claim) = (Some(kept.first.source) == source, !is_known && source.is_some());
        let of_source = match source {
            Some(_) if is_first => Some(&mut kept.first.of_source),
            Some(source) => {
                let at = kept.more.binary_search_by_key(&source, |claim| claim.source).ok();
                at.map(|at| &mut kept.more[at].of_source)
            }
            None => None,
        };
        Some(Taken { value: &mut kept.value, of_source, is_new_claim })
    }

    /// An event of a source that has no room for the name. What is kept of it takes the event all the same, unless that
    /// is of each source alone.
    fn refuse(&mut self, seen: &Seen<'_>, name: Name<'_>) -> Option<Taken<'_, T, D>> {
        let found = self.find(name);
        if found.is_none() || size_of::<D>() > 0 {
            self.not_shown.refuse(seen.batch.source, seen.ingest);
        }
        let kept = self.slots[found? as usize].as_mut().expect("it was found");
        Some(Taken { value: &mut kept.value, of_source: None, is_new_claim: false })
    }

    /// Makes a claim, and what is kept of the name where it is new. Gives the place.
    fn claim(&mut self, seen: &Seen<'_>, name: Name<'_>, found: Option<u32>, source: u32, weight: Weight) -> u32 {
        let claim = Claim { source, rank: weight.rank, of_source: D::default() };
        if let Some(place) = found {
            self.slots[place as usize].as_mut().expect("it was found").add(claim);
            return place;
        }
        let begun = self.not_shown.is_any().then_some(seen.offset);
        let (text, lot): (Box<str>, u64) = (name.text.into(), weight.lot);
        self.add(Kept { name: text, value: T::default(), begun, lot, first: claim, more: Vec::new() }, name.id)
    }
}

impl<T, D> Shares<T, D> {
    /// Puts what is kept of a name into a slot of its own.
    fn add(&mut self, kept: Kept<T, D>, hint: u32) -> u32 {
        let name = kept.name.clone();
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = Some(kept);
                place
            }
            None => {
                self.slots.push(Some(kept));
                (self.slots.len() - 1) as u32
            }
        };
        let before = self.places.insert(name, place);
        assert!(before.is_none(), "a name has one place");
        self.hint(hint, place);
        place
    }

    fn hint(&mut self, hint: u32, place: u32) {
        let hint = hint as usize;
        if self.hinted.len() <= hint {
            self.hinted.resize(hint + 1, UNKNOWN);
        }
        self.hinted[hint] = place;
    }

    fn find(&mut self, name: Name<'_>) -> Option<u32> {
        let hinted = self.hinted.get(name.id as usize).copied().unwrap_or(UNKNOWN);
        match self.slots.get(hinted as usize) {
            Some(Some(known)) if *known.name == *name.text => Some(hinted),
            _ => {
                let place = *self.places.get(name.text)?;
                self.hint(name.id, place);
                Some(place)
            }
        }
    }

    fn kept(&self, place: u32) -> &Kept<T, D> {
        self.slots[place as usize].as_ref().expect("it was found")
    }

    /// Whether the source claims this name; the claim ranks as high as this event then.
    fn rise(&mut self, place: u32, source: u32, rank: Rank) -> bool {
        let kept = self.slots[place as usize].as_mut().expect("it was found");
        let lot = kept.lot;
        let Some(claim) = kept.claim_of(source) else { return false };
        if claim.rank < rank {
            let before = std::mem::replace(&mut claim.rank, rank);
            self.ranks.reweigh(source, Weight { rank: before, lot }, Weight { rank, lot }, place);
        }
        true
    }

    fn drop_all(&mut self, dropped: &[ranks::Dropped], ingest: Timestamp, gone: &mut impl FnMut(T)) {
        for dropped in dropped {
            self.not_shown.give_way(dropped.source, ingest);
            let slot = &mut self.slots[dropped.place as usize];
            let is_kept = slot.as_mut().expect("a claim has a place").release(dropped.number);
            self.ranks.forget_idle(dropped.number);
            if is_kept {
                continue;
            }
            let kept = slot.take().expect("it was there");
            self.places.remove(&kept.name);
            self.free.push(dropped.place);
            gone(kept.value);
        }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All that is kept.
    pub fn iter(&self) -> impl Iterator<Item = &Kept<T, D>> {
        self.slots.iter().flatten()
    }

    /// The values of all names, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|kept| &mut kept.value)
    }

    /// Passes all names on that a source claims, with what is kept of them.
    pub fn each_of(&mut self, source: SourceId, mut each: impl FnMut(&str, &mut T)) {
        let Some(number) = self.ranks.number(source) else { return };
        let slots = &mut self.slots;
        self.ranks.places_of(number).for_each(|place| {
            let kept = slots[place as usize].as_mut().expect("a claim has a place");
            each(&kept.name, &mut kept.value);
        });
    }

    /// What is kept of a name.
    pub fn get(&self, name: &str) -> Option<&Kept<T, D>> {
        self.places.get(name).map(|place| self.kept(*place))
    }

    /// What found no room.
    pub fn not_shown(&self) -> &NotShown {
        &self.not_shown
    }

    /// What readers see of what found no room.
    pub fn not_shown_view(&self, at: Timestamp) -> serde_json::Value {
        self.not_shown.view(at, |source| self.ranks.count_of(source))
    }

    /// The same for health and metrics.
    pub fn shortage(&self, what: &'static str) -> Option<Shortage> {
        self.not_shown.shortage(what, |source| self.ranks.count_of(source))
    }
}

/// What decides between names that weigh the same: nobody chooses a name by it.
fn lot(name: &str) -> u64 {
    u64::from_le_bytes(*sha256(name.as_bytes()).first_chunk().expect("a hash has 32 bytes"))
}
