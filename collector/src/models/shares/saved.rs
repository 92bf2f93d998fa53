//! The saved form of a table: its names with their claims. The order of claims is rebuilt.

use std::collections::HashSet;

use afferent_protocol::ids::{Offset, SourceId};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::not_shown::NotShown;
use super::ranks::{Ranks, Weight};
use super::{Claim, ClaimTable, NameEntry, Rank, lot};

#[derive(Serialize)]
struct Saved<'s, T, D> {
    share: u64,
    sources: Vec<SourceId>,
    names: Vec<SavedName<'s, T, D>>,
    not_shown: &'s NotShown,
}

#[derive(Serialize)]
struct SavedName<'s, T, D> {
    name: &'s str,
    begun: Option<Offset>,
    claims: Vec<(u32, Rank, &'s D)>,
    value: &'s T,
}

#[derive(Deserialize)]
struct SavedRead<T, D> {
    share: u64,
    sources: Vec<SourceId>,
    names: Vec<ReadName<T, D>>,
    not_shown: NotShown,
}

#[derive(Deserialize)]
struct ReadName<T, D> {
    name: Box<str>,
    begun: Option<Offset>,
    claims: Vec<(u32, Rank, D)>,
    value: T,
}

impl<T: Serialize, D: Serialize> Serialize for ClaimTable<T, D> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (share, sources) = self.ranks.saved();
        // Sources are numbered without holes.
        let (numbers, sources): (Vec<u32>, Vec<SourceId>) = sources.unzip();
        let number = |claim: &Claim<D>| numbers.binary_search(&claim.source).expect("a claim is of a source") as u32;
        let names = self.iter().map(|kept| SavedName {
            name: &kept.name,
            begun: kept.begun,
            claims: kept.claims().map(|claim| (number(claim), claim.rank, &claim.of_source)).collect(),
            value: &kept.value,
        });
        let (share, names) = (share as u64, names.collect());
        Saved { share, sources, names, not_shown: &self.not_shown }.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>, D: Deserialize<'de>> Deserialize<'de> for ClaimTable<T, D> {
    fn deserialize<De: Deserializer<'de>>(from: De) -> Result<Self, De::Error> {
        let SavedRead::<T, D> { share, sources, names, not_shown } = Deserialize::deserialize(from)?;
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let mut shares = Self { ranks: Ranks::restored(share, &sources), not_shown, ..Self::default() };
        if sources.iter().collect::<HashSet<_>>().len() != sources.len() {
            return Err(De::Error::custom("a source is listed twice"));
        }
        for ReadName { name, begun, claims, value } in names {
            if shares.get(&name).is_some() {
                return Err(De::Error::custom("a name is listed twice"));
            }
            let (lot, place) = (lot(&name), shares.slots.len() as u32);
            let mut all = Vec::with_capacity(claims.len());
            for (source, rank, of_source) in claims {
                let is_second = all.iter().any(|claim: &Claim<D>| claim.source == source);
                if source as usize >= sources.len() || is_second {
                    return Err(De::Error::custom("a claim has no source, or is listed twice"));
                }
                shares.ranks.put(source, Weight { rank, lot }, place);
                all.push(Claim { source, rank, of_source });
            }
            all.sort_by_key(|claim| std::cmp::Reverse(claim.source));
            let first = all.pop().ok_or_else(|| De::Error::custom("a name is claimed by nobody"))?;
            all.reverse();
            shares.places.insert(name.clone(), place);
            shares.slots.push(Some(NameEntry { name, value, begun, lot, first, more: all }));
        }
        Ok(shares)
    }
}
