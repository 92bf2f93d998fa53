//! A model's bounded table of machines, subjects or sources by name, in which every source has a share.
//!
//! A source *claims* the names that it reports about, and a name is kept as long as a source claims it. Claims are
//! bounded: those of one source, and those of all. When all are full, the sources with most claims give way first, so
//! that every source has as many as it wants or as many as every other (`ranks`). Of the claims of one source those
//! with the greatest weight stay: by the highest [`Seriousness`] of the events that it ever reported about the name, then
//! by the time of the last such event, in steps of an hour, then by lot.
//!
//! So which claims are kept is a function of the set of events, whatever order they came in:
//!
//! - The weight of a claim is the greatest of the weights of its events: it only grows.
//! - A source keeps its claims of the greatest weight, as many as its share has. A dropped claim weighed less than all
//!   of these; it comes back with an event that weighs more, or never.
//! - Shares only become smaller: their size is the greatest for which all claims have room, and refused claims are
//!   those of sources whose share was full, and stays full.
//!
//! The value of a name begins with the event that claimed it. If earlier events had no room, it is incomplete:
//! [`NameEntry::begun`] is the offset from which on it is complete.

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
use super::{LoggedEvent, Name};
use crate::limits::{MODEL_IDLE_STEP_US, MODEL_MACHINES_MAX, MODEL_MACHINES_OF_ONE_MAX, MODEL_SOURCES_MAX};

/// The slot of a hint is unknown.
const UNKNOWN: u32 = u32::MAX;

/// How serious an event is: the least serious gives way first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Seriousness {
    /// A derived event.
    #[default]
    Derived,
    /// A measured value.
    Measured,
    /// A reported condition.
    Stated,
    /// A breakdown, or an alarm that was raised.
    Serious,
}

impl Seriousness {
    /// The kind of an event.
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

/// The largest number of claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// Of all sources.
    pub count_max: usize,
    /// Of one source.
    pub of_one_max: usize,
}

/// Number of machines that a model keeps.
pub(in crate::models) const MACHINES: ClaimLimits =
    ClaimLimits { count_max: MODEL_MACHINES_MAX, of_one_max: MODEL_MACHINES_OF_ONE_MAX };

/// Number of sources that a model keeps; each one claims itself.
pub(in crate::models) const SOURCES: ClaimLimits = ClaimLimits { count_max: MODEL_SOURCES_MAX, of_one_max: 1 };

/// The rank of a claim: the kind of its event, and its time, in steps of [`MODEL_IDLE_STEP_US`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Rank {
    kind: Seriousness,
    step: u32,
}

impl Rank {
    fn new(kind: Seriousness, time: Timestamp) -> Self {
        let step = time.micros().max(0) / MODEL_IDLE_STEP_US;
        Self { kind, step: u32::try_from(step).unwrap_or(u32::MAX) }
    }
}

/// A source's claim of a name, and the value of its reports alone.
#[derive(Clone, Debug)]
struct Claim<D> {
    source: u32,
    rank: Rank,
    of_source: D,
}

/// The entry of a name.
#[derive(Clone, Debug)]
pub struct NameEntry<T, D = ()> {
    name: Box<str>,
    /// The value of all reports about it.
    pub value: T,
    /// The offset from which on the value is complete, if not from the first event about the name.
    pub begun: Option<Offset>,
    lot: u64,
    first: Claim<D>,
    /// Sorted by source.
    more: Vec<Claim<D>>,
}

/// A bounded table by name: a `T` for each name, and a `D` for each source that reports about it.
#[derive(Clone, Debug)]
pub struct ClaimTable<T, D = ()> {
    slots: Vec<Option<NameEntry<T, D>>>,
    free: Vec<u32>,
    places: HashMap<Box<str>, u32>,
    /// The slot that a name's hint led to last. It is checked before use: hints may be of an earlier run.
    hinted: Vec<u32>,
    ranks: Ranks,
    not_shown: NotShown,
}

/// The parts of a table that an event of a source about a name changes.
#[derive(Debug)]
pub struct Slot<'t, T, D = ()> {
    /// The value of the name.
    pub value: &'t mut T,
    /// The value of this source's reports about it; `None` if they have no room and other sources have claimed the
    /// name.
    pub of_source: Option<&'t mut D>,
    /// Whether the claim is new.
    pub is_new_claim: bool,
}

impl<T, D> Default for ClaimTable<T, D> {
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

impl<T, D> NameEntry<T, D> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of each source's reports.
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

    /// Ends a claim; returns whether a claim is left.
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

impl<T: Default, D: Default> ClaimTable<T, D> {
    /// Adds an event about a name; `None` when it has no room, which is counted. Dropped entries are passed to `gone`.
    pub fn take(
        &mut self,
        seen: &LoggedEvent<'_>,
        name: Name<'_>,
        kind: Seriousness,
        size: ClaimLimits,
        mut gone: impl FnMut(T),
    ) -> Option<Slot<'_, T, D>> {
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
        Some(Slot { value: &mut kept.value, of_source, is_new_claim })
    }

    /// Refuses an event of a source that has no room for the name. The name's value still gets the event, unless values
    /// are of each source alone.
    fn refuse(&mut self, seen: &LoggedEvent<'_>, name: Name<'_>) -> Option<Slot<'_, T, D>> {
        let found = self.find(name);
        if found.is_none() || size_of::<D>() > 0 {
            self.not_shown.refuse(seen.batch.source, seen.ingest);
        }
        let kept = self.slots[found? as usize].as_mut().expect("it was found");
        Some(Slot { value: &mut kept.value, of_source: None, is_new_claim: false })
    }

    /// Makes a claim, and the entry of the name if it is new. Returns the slot.
    fn claim(
        &mut self,
        seen: &LoggedEvent<'_>,
        name: Name<'_>,
        found: Option<u32>,
        source: u32,
        weight: Weight,
    ) -> u32 {
        let claim = Claim { source, rank: weight.rank, of_source: D::default() };
        if let Some(place) = found {
            self.slots[place as usize].as_mut().expect("it was found").add(claim);
            return place;
        }
        let begun = self.not_shown.is_any().then_some(seen.offset);
        let (text, lot): (Box<str>, u64) = (name.text.into(), weight.lot);
        self.add(NameEntry { name: text, value: T::default(), begun, lot, first: claim, more: Vec::new() }, name.id)
    }
}

impl<T, D> ClaimTable<T, D> {
    /// Puts an entry into a free slot.
    fn add(&mut self, kept: NameEntry<T, D>, hint: u32) -> u32 {
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

    fn kept(&self, place: u32) -> &NameEntry<T, D> {
        self.slots[place as usize].as_ref().expect("it was found")
    }

    /// Whether the source claims this name; if so, its claim ranks at least as high as this event.
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
            self.not_shown.count_dropped(dropped.source, ingest);
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

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &NameEntry<T, D>> {
        self.slots.iter().flatten()
    }

    /// The values of all names, mutable.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|kept| &mut kept.value)
    }

    /// Passes all names that a source claims, with their values.
    pub fn each_of(&mut self, source: SourceId, mut each: impl FnMut(&str, &mut T)) {
        let Some(number) = self.ranks.number(source) else { return };
        let slots = &mut self.slots;
        self.ranks.places_of(number).for_each(|place| {
            let kept = slots[place as usize].as_mut().expect("a claim has a place");
            each(&kept.name, &mut kept.value);
        });
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&NameEntry<T, D>> {
        self.places.get(name).map(|place| self.kept(*place))
    }

    /// The events without room.
    pub fn not_shown(&self) -> &NotShown {
        &self.not_shown
    }

    /// The events without room, for readers.
    pub fn not_shown_view(&self, at: Timestamp) -> serde_json::Value {
        self.not_shown.view(at, |source| self.ranks.count_of(source))
    }

    /// The same for health and metrics.
    pub fn shortage(&self, what: &'static str) -> Option<Shortage> {
        self.not_shown.shortage(what, |source| self.ranks.count_of(source))
    }
}

/// Decides between names of equal weight: a source cannot choose a name by it.
fn lot(name: &str) -> u64 {
    u64::from_le_bytes(*sha256(name.as_bytes()).first_chunk().expect("a hash has 32 bytes"))
}
