//! Which claims of each source are kept: those of the greatest weight, as many as its share has.
//!
//! The share is the same for all: the greatest one for which the claims of all sources have room. It is lowered on
//! demand: when all is full and a source whose share is not full claims more, the share shrinks so that the sources
//! with most claims drop one each. With a share of one claim and more sources than there is room for, the sources with
//! the heaviest claims stay.

use std::collections::{BTreeSet, HashMap};

use afferent_protocol::ids::SourceId;

use super::{ClaimLimits, Rank};

/// The weight of a claim among those of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    pub rank: Rank,
    /// Decides between claims of one rank.
    pub lot: u64,
}

/// A claim that gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub source: SourceId,
    pub number: u32,
    pub place: u32,
}

/// The claims of a source by weight, with their slots.
#[derive(Clone, Debug)]
struct Ranked {
    source: SourceId,
    claims: BTreeSet<(Weight, u32)>,
}

/// The claims of all sources. Each source has a number while it has a claim.
#[derive(Clone, Debug)]
pub(super) struct Ranks {
    sources: Vec<Option<Ranked>>,
    free: Vec<u32>,
    numbers: HashMap<SourceId, u32>,
    /// The source that was looked up last: a batch is of one source.
    at: Option<(SourceId, u32)>,
    count: usize,
    share: usize,
    /// With a share of one claim: all claims by weight and source, built on demand.
    singles: Option<BTreeSet<(Weight, SourceId)>>,
}

impl Default for Ranks {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            at: None,
            count: 0,
            share: usize::MAX,
            singles: None,
        }
    }
}

impl Ranks {
    /// The number of a source that has a claim.
    pub fn number(&mut self, source: SourceId) -> Option<u32> {
        match self.at {
            Some((known, number)) if known == source => Some(number),
            _ => {
                let number = *self.numbers.get(&source)?;
                self.at = Some((source, number));
                Some(number)
            }
        }
    }

    /// Searches room for one more claim of a source; returns the number of the source if there is room. Claims that
    /// give way are appended to `dropped`.
    pub fn admit(
        &mut self,
        source: SourceId,
        weight: Weight,
        size: ClaimLimits,
        dropped: &mut Vec<Dropped>,
    ) -> Option<u32> {
        loop {
            let number = self.number(source);
            let count = number.map_or(0, |number| self.of(number).claims.len());
            if count >= self.share.min(size.of_one_max) {
                let number = number.expect("a share is more than nothing");
                if self.least(number) > weight {
                    return None;
                }
                dropped.push(self.drop_least(number));
                return Some(number);
            }
            if self.count < size.count_max {
                return Some(number.unwrap_or_else(|| self.add(source)));
            }
            let most = self.sources.iter().flatten().map(|ranked| ranked.claims.len()).max().unwrap_or(0);
            // The source with most claims may be the one that wants more: then no source gives way to it.
            let wanted = most.max(count + 1);
            if wanted > 1 {
                self.lower(wanted - 1, dropped);
                continue;
            }
            // Every source has one claim, and this one has none.
            self.share = 1;
            let least = *self.singles().first()?;
            if least > (weight, source) {
                return None;
            }
            let of = self.number(least.1).expect("who has a claim has a number");
            dropped.push(self.drop_least(of));
        }
    }

    /// Lowers the share; sources with more claims drop their lightest ones.
    fn lower(&mut self, share: usize, dropped: &mut Vec<Dropped>) {
        assert!(share > 0 && share < self.share, "shares only become smaller");
        self.share = share;
        for number in 0..self.sources.len() as u32 {
            while self.sources[number as usize].as_ref().is_some_and(|ranked| ranked.claims.len() > share) {
                dropped.push(self.drop_least(number));
            }
        }
    }

    fn least(&self, number: u32) -> Weight {
        self.of(number).claims.first().expect("a source has a claim").0
    }

    fn drop_least(&mut self, number: u32) -> Dropped {
        let (source, (weight, place)) =
            (self.of(number).source, *self.of(number).claims.first().expect("a source has a claim"));
        self.of_mut(number).claims.pop_first();
        self.count -= 1;
        self.singles.iter_mut().for_each(|singles| _ = singles.remove(&(weight, source)));
        Dropped { source, number, place }
    }

    /// Removes a source without claims. The entries that it claimed must not hold its number any more.
    pub fn forget_idle(&mut self, number: u32) {
        if let Some(ranked) = self.sources[number as usize].take_if(|ranked| ranked.claims.is_empty()) {
            self.numbers.remove(&ranked.source);
            self.free.push(number);
            self.at = None;
        }
    }

    /// Number of claims of a source.
    pub fn count_of(&self, source: SourceId) -> usize {
        self.numbers.get(&source).map_or(0, |number| self.of(*number).claims.len())
    }

    /// The slots of the names that a source claims.
    pub fn places_of(&self, number: u32) -> impl Iterator<Item = u32> {
        self.of(number).claims.iter().map(|(_, place)| *place)
    }

    /// The size of a share, and all sources by number.
    pub fn saved(&self) -> (usize, impl Iterator<Item = (u32, SourceId)>) {
        let numbered = (0..).zip(&self.sources);
        (self.share, numbered.filter_map(|(number, ranked)| Some((number, ranked.as_ref()?.source))))
    }

    /// Restores the state of [`Ranks::saved`]; the sources are numbered in their order.
    pub fn restored(share: usize, sources: &[SourceId]) -> Self {
        let mut ranks = Self { share: share.max(1), ..Self::default() };
        sources.iter().for_each(|source| _ = ranks.add(*source));
        ranks
    }

    fn add(&mut self, source: SourceId) -> u32 {
        let ranked = Some(Ranked { source, claims: BTreeSet::new() });
        let number = match self.free.pop() {
            Some(number) => {
                self.sources[number as usize] = ranked;
                number
            }
            None => {
                self.sources.push(ranked);
                (self.sources.len() - 1) as u32
            }
        };
        self.numbers.insert(source, number);
        number
    }

    /// Records the name at this slot for the admitted claim.
    pub fn put(&mut self, number: u32, weight: Weight, place: u32) {
        let ranked = self.of_mut(number);
        let (source, is_new) = (ranked.source, ranked.claims.insert((weight, place)));
        assert!(is_new, "a source claims a name once");
        self.count += 1;
        self.singles.iter_mut().for_each(|singles| _ = singles.insert((weight, source)));
    }

    /// A claim weighs more than before.
    pub fn reweigh(&mut self, number: u32, before: Weight, weight: Weight, place: u32) {
        let ranked = self.of_mut(number);
        let (source, was_there) = (ranked.source, ranked.claims.remove(&(before, place)));
        assert!(was_there, "a claim is where its weight is");
        ranked.claims.insert((weight, place));
        if let Some(singles) = &mut self.singles {
            singles.remove(&(before, source));
            singles.insert((weight, source));
        }
    }

    fn singles(&mut self) -> &BTreeSet<(Weight, SourceId)> {
        let sources = self.sources.iter().flatten();
        self.singles.get_or_insert_with(|| {
            sources.filter_map(|ranked| Some((ranked.claims.first()?.0, ranked.source))).collect()
        })
    }

    fn of(&self, number: u32) -> &Ranked {
        self.sources[number as usize].as_ref().expect("a source with a number is there")
    }

    fn of_mut(&mut self, number: u32) -> &mut Ranked {
        self.sources[number as usize].as_mut().expect("a source with a number is there")
    }
}
