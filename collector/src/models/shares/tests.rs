//! Compares the table with a naive one, which sees all events at once, and with one in which the first names stay.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::batch::Header;
use afferent_protocol::event::{Body, Quality, Sample, Value};

use super::super::permuted::{EventHead, Numbers, heads, seen};
use super::*;

const CASES: u64 = 1500;
const SOURCES: [&str; 6] = ["press-88", "gateway", "stranger", "press-8", "other", "more"];
const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
const KINDS: [Seriousness; 4] =
    [Seriousness::Derived, Seriousness::Measured, Seriousness::Stated, Seriousness::Serious];
/// A table where one source may have half, and a table with more sources than room.
const SIZES: [ClaimLimits; 2] =
    [ClaimLimits { count_max: 12, of_one_max: 6 }, ClaimLimits { count_max: 4, of_one_max: 3 }];

/// The claims, with the numbers of the events that are kept with them.
type Claims = BTreeMap<(&'static str, &'static str), u64>;

fn entry(numbers: &mut Numbers, number: usize) -> (EventHead, Seriousness) {
    // The stranger reports about many names.
    let source = [0, 1, 2, 2, 2, 3, 4, 5][numbers.below(8)];
    let names = if source == 2 { NAMES.len() } else { 4 };
    let time = super::super::permuted::second(3600 * numbers.below(5) + numbers.below(100));
    let subject = NAMES[numbers.below(names)];
    let entry = EventHead { number, source, sequence: number as u64, time, ingest: time, subject, of: None };
    (entry, KINDS[numbers.below(4)])
}

fn body() -> Body<'static> {
    Body::Sample(Sample { value: Value::Bool(true), unit: "", quality: Quality::Good })
}

/// Folds the events as they arrive; each claim keeps the number of its last event in order.
fn folded(arrival: &[(EventHead, Seriousness)], heads: &[Header], size: ClaimLimits) -> ClaimTable<u64, u64> {
    let mut shares = ClaimTable::<u64, u64>::default();
    for ((entry, kind), offset) in arrival.iter().zip(0..) {
        let seen = seen(entry, heads, offset, body());
        if let Some(taken) = shares.take(&seen, seen.subject, *kind, size, drop) {
            *taken.value += 1;
            taken.of_source.into_iter().for_each(|last| *last = (*last).max(entry.number as u64 + 1));
        }
        if offset % 16 == 7 {
            shares = postcard::from_bytes(&postcard::to_stdvec(&shares).unwrap()).unwrap();
        }
        shares.check(size);
    }
    shares
}

impl<T, D> ClaimTable<T, D> {
    /// The invariants of the table.
    fn check(&self, size: ClaimLimits) {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        self.iter().flat_map(NameEntry::claims).for_each(|claim| *counts.entry(claim.source).or_default() += 1);
        assert!(
            counts.values().sum::<usize>() <= size.count_max && counts.values().all(|count| *count <= size.of_one_max)
        );
        assert_eq!(self.places.len(), self.iter().count());
    }
}

fn claims(shares: &ClaimTable<u64, u64>) -> Claims {
    let (_, sources) = shares.ranks.saved();
    let sources: BTreeMap<u32, SourceId> = sources.collect();
    let name = |text: &str| *NAMES.iter().find(|known| **known == text).unwrap();
    let source = |claim: &Claim<u64>| *SOURCES.iter().find(|known| **known == sources[&claim.source].as_str()).unwrap();
    let of_name = |kept: &NameEntry<u64, u64>| -> Vec<_> {
        kept.claims().map(|claim| ((source(claim), name(&kept.name)), claim.of_source)).collect()
    };
    shares.iter().flat_map(of_name).collect()
}

/// The claims of each source by a look at all events: the heaviest ones, as many as all can have.
fn by_looking(all: &[(EventHead, Seriousness)], size: ClaimLimits) -> BTreeSet<(&'static str, &'static str)> {
    let mut weights: BTreeMap<&str, BTreeMap<&str, Weight>> = BTreeMap::new();
    for (entry, kind) in all {
        let weight = Weight { rank: Rank::new(*kind, entry.time), lot: lot(entry.subject) };
        let known = weights.entry(SOURCES[entry.source]).or_default().entry(entry.subject).or_insert(weight);
        *known = weight.max(*known);
    }
    let taken = |share: usize| weights.values().map(|names| names.len().min(share)).sum::<usize>();
    let share = (1..=size.of_one_max).rev().find(|share| taken(*share) <= size.count_max).unwrap_or(1);
    let mut kept: Vec<(Weight, SourceId, &str, &str)> = Vec::new();
    for (source, names) in &weights {
        let mut sorted: Vec<_> = names.iter().map(|(name, weight)| (*weight, *name)).collect();
        sorted.sort_unstable();
        let most = sorted.into_iter().rev().take(share);
        kept.extend(most.map(|(weight, name)| (weight, SourceId::new(source).unwrap(), *source, name)));
    }
    kept.sort_unstable();
    let known = |source: &str, name: &str| {
        let source = *SOURCES.iter().find(|known| **known == source).unwrap();
        (source, *NAMES.iter().find(|known| **known == name).unwrap())
    };
    kept.into_iter().rev().take(size.count_max).map(|(.., source, name)| known(source, name)).collect()
}

/// The former rule: the first names stay.
fn first_come(arrival: &[(EventHead, Seriousness)], size: ClaimLimits) -> BTreeSet<&'static str> {
    let mut kept = BTreeSet::new();
    for (entry, _) in arrival {
        if kept.len() < size.count_max {
            kept.insert(entry.subject);
        }
    }
    kept
}

#[test]
fn the_kept_claims_are_a_function_of_the_set_of_events_even_when_the_table_is_full() {
    let heads = heads(&SOURCES);
    let (mut full, mut differs_by_arrival) = (0, 0);
    for seed in 0..CASES {
        let mut numbers = Numbers(seed);
        let count = 20 + numbers.below(80);
        let mut arrival: Vec<_> = (0..count).map(|number| entry(&mut numbers, number)).collect();
        let size = SIZES[numbers.below(2)];
        let right = by_looking(&arrival, size);
        let first = first_come(&arrival, size);
        for _ in 0..3 {
            numbers.shuffle(&mut arrival);
            let shares = folded(&arrival, &heads, size);
            let kept = claims(&shares);
            assert_eq!(kept.keys().copied().collect::<BTreeSet<_>>(), right, "seed {seed}: {arrival:#?}");
            // The heaviest claim is there, so the event kept with it is the last of that weight, or a later one.
            for ((source, name), last) in kept {
                let own = |one: &&(EventHead, Seriousness)| SOURCES[one.0.source] == source && one.0.subject == name;
                let best = arrival.iter().filter(own).map(|one| Rank::new(one.1, one.0.time)).max().unwrap();
                let of_best = arrival.iter().filter(own).filter(|one| Rank::new(one.1, one.0.time) == best);
                let newest = of_best.map(|one| one.0.number as u64 + 1).max().unwrap();
                assert!(last >= newest, "seed {seed}");
            }
            full += u64::from(shares.not_shown().is_any());
            differs_by_arrival += u64::from(first_come(&arrival, size) != first);
        }
    }
    assert!(full > CASES * 2, "the room was full {full} times");
    // The control: a table that keeps the first names keeps different ones.
    assert!(differs_by_arrival > CASES, "the order of arrival hardly mattered: {differs_by_arrival}");
}

/// A source with these names, one after the other, and its numbers.
fn flood(names: &[&'static str], source: usize, hour: usize) -> Vec<(EventHead, Seriousness)> {
    let time = super::super::permuted::second(3600 * hour);
    let entry = |(number, subject): (usize, &&'static str)| {
        let entry = EventHead { number, source, sequence: number as u64, time, ingest: time, subject, of: None };
        (entry, Seriousness::Measured)
    };
    names.iter().enumerate().map(entry).collect()
}

#[test]
fn a_client_that_makes_names_up_has_its_share_and_later_clients_have_theirs() {
    let heads = heads(&SOURCES);
    let size = SIZES[0];
    let mut arrival = flood(&NAMES, 2, 9);
    arrival.extend(flood(&NAMES[..2], 0, 1));
    let shares = folded(&arrival, &heads, size);
    let of = |source: &str| claims(&shares).keys().filter(|(of, _)| *of == source).count();
    assert_eq!(
        (of("stranger"), of("press-88")),
        (6, 2),
        "its names are older, and nobody makes way for them but its own"
    );
    assert!(!first_come(&arrival[..12], size).is_empty());
    let view = shares.not_shown_view(arrival[0].0.time);
    let stranger = &view["sources"][0];
    assert_eq!((&stranger["source"], &stranger["kept"]), (&"stranger".into(), &6.into()));
    assert_eq!(stranger["events"].as_u64().unwrap() + stranger["gave_way"].as_u64().unwrap(), 6);
}

#[test]
fn what_one_source_has_room_for_takes_what_others_report_about_it() {
    let heads = heads(&SOURCES);
    let size = ClaimLimits { count_max: 3, of_one_max: 2 };
    // The stranger's share is full with newer names when it reports about a name of a different source.
    let mut arrival = flood(&["a", "b"], 2, 9);
    arrival.extend(flood(&["c"], 0, 1));
    arrival.extend(flood(&["c"], 2, 1));
    let shares = folded(&arrival, &heads, size);
    assert_eq!((shares.get("c").unwrap().value, shares.not_shown().events()), (2, 1));
    let begun: Vec<_> = ["a", "c"].iter().map(|name| shares.get(name).unwrap().begun).collect();
    assert_eq!(begun, [None, None], "nothing had been turned away when they came in");
    // The name goes with the last of its claims only.
    arrival.extend(flood(&["c"], 2, 10));
    arrival.extend(flood(&["d", "e", "f", "g"], 0, 11));
    let shares = folded(&arrival, &heads, size);
    assert!(shares.get("c").is_some() && claims(&shares).contains_key(&("stranger", "c")));
    assert!(shares.iter().filter(|kept| kept.begun.is_some()).count() > 0);
}

#[test]
fn saved_bytes_that_contradict_themselves_are_refused() {
    let heads = heads(&SOURCES);
    let shares = folded(&flood(&NAMES, 2, 9), &heads, SIZES[0]);
    let bytes = postcard::to_stdvec(&shares).unwrap();
    assert!(postcard::from_bytes::<ClaimTable<u64, u64>>(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(postcard::from_bytes::<ClaimTable<u64, u64>>(&bytes[..len]).is_err(), "{len} bytes");
    }
    let again: ClaimTable<u64, u64> = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(postcard::to_stdvec(&again).unwrap(), bytes);
    // Any flipped bit is refused or gives a different table, and no flip panics.
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let read = postcard::from_bytes::<ClaimTable<u64, u64>>(&flipped);
        read.into_iter().for_each(|shares| _ = claims_count(&shares));
    }
}

fn claims_count(shares: &ClaimTable<u64, u64>) -> usize {
    shares.iter().map(|kept| kept.claims().count()).sum()
}
