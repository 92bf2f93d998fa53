//! All tables are full, and a stranger reports about more machines than there is room for: the reports of the other
//! sources are shown as if the stranger did not exist, and the set of its events determines which of its machines are
//! kept.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::sign::sha256;

use super::super::AnyModel;
use super::super::breakdowns::Breakdowns;
use super::super::kpi::Kpi;
use super::super::last::{Last, LastSettings};
use super::super::permuted::{EventHead, Numbers, heads, pass, second};
use super::super::shares::ClaimLimits;
use super::super::states::States;
use super::*;

const FULL_CASES: u32 = 300;
const SIZE: ClaimLimits = ClaimLimits { count_max: 8, of_one_max: 5 };
const STRANGER: &str = "stranger";
const NAMES: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];
const HOUR_S: i64 = 3600;
/// The sources in the test of last values.
const ALL: [&str; 3] = ["press-88", "gateway", STRANGER];

/// An event of the stranger: its name, time, and severity (0 to 2).
#[derive(Clone, Copy, Debug)]
struct Noise {
    name: usize,
    hour: i64,
    kind: u64,
}

fn any_noise() -> impl Strategy<Value = Noise> {
    (0..NAMES.len(), 0_i64..4, 0_u64..3).prop_map(|(name, hour, kind)| Noise { name, hour, kind })
}

impl Noise {
    fn time(&self) -> i64 {
        BEGIN - HOUR_S * self.hour
    }

    fn event(&self) -> Event<'static> {
        let (second, name) = (self.time(), NAMES[self.name]);
        match self.kind {
            0 => sample(second, name, 1.0),
            1 => state(second, name, MachineState::NotExecuting),
            _ => breakdown(second, name, "E1", ""),
        }
    }

    /// The weight: the heaviest compares as greatest.
    fn weight(&self) -> (u64, i64, u64) {
        (self.kind, self.time() / HOUR_S, lot(NAMES[self.name]))
    }
}

fn lot(name: &str) -> u64 {
    u64::from_le_bytes(sha256(name.as_bytes())[..8].try_into().unwrap())
}

/// Whether `breakdowns`, which follows no samples, counts an event of ours.
fn is_followed(model: &str, event: &Plain) -> bool {
    event.is_word() && (model != "breakdowns" || !event.is_sample())
}

/// The machines of the stranger that are kept.
fn kept(model: &str, ours: &[Plain], noise: &[Noise]) -> BTreeSet<&'static str> {
    let followed = ours.iter().filter(|event| is_followed(model, event));
    let claims: BTreeSet<_> = followed.map(|event| (event.source, event.machine())).collect();
    let mut weights: BTreeMap<usize, (u64, i64, u64)> = BTreeMap::new();
    for event in noise.iter().filter(|event| model != "breakdowns" || event.kind > 0) {
        let known = weights.entry(event.name).or_insert(event.weight());
        *known = event.weight().max(*known);
    }
    let mut sorted: Vec<_> = weights.into_iter().map(|(name, weight)| (weight, NAMES[name])).collect();
    sorted.sort_unstable();
    let share = SIZE.of_one_max.min(SIZE.count_max - claims.len());
    sorted.into_iter().rev().take(share).map(|(_, name)| name).collect()
}

fn sized(name: &str, settings: &str) -> Box<dyn AnyModel> {
    let settings: toml::Table = settings.parse().unwrap();
    match name {
        "states" => Box::new(States::new(settings.try_into().unwrap()).sized(SIZE)),
        "kpi" => Box::new(Kpi::new(settings.try_into().unwrap()).sized(SIZE)),
        _ => Box::new(Breakdowns::new(settings.try_into().unwrap()).sized(SIZE)),
    }
}

/// Only the members of these machines.
fn of_machines(told: Value, machines: &BTreeSet<&str>) -> Value {
    match told {
        Value::Array(episodes) => {
            let is_of = |episode: &Value| machines.contains(episode["machine"].as_str().unwrap());
            episodes.into_iter().filter(is_of).collect()
        }
        other => other,
    }
}

fn check(ours: &[Plain], noise: &[Noise], order: &[usize]) -> Result<u32, TestCaseError> {
    let case = Case::new(ours.to_vec());
    let amendments: Vec<String> = ours.iter().map(Plain::amendment).collect();
    let reported = ours.iter().zip(&amendments).map(|(event, amendment)| TestEvent {
        source: SOURCES[event.source],
        epoch: event.epoch,
        event: event.event(amendment),
        ingest: at(0),
    });
    let made_up =
        noise.iter().map(|event| TestEvent { source: STRANGER, epoch: 1, event: event.event(), ingest: at(0) });
    let all = reported.chain(made_up).zip(0..).map(|(told, offset)| TestEvent { ingest: at(ingest(offset)), ..told });
    let log = Log::from(all).permuted(order);
    let mut crowded_out = 0;
    for (name, settings, oracle) in models() {
        let view = log.fold_any(sized(name, &settings)).view(at(NOW));
        let followed = ours.iter().filter(|event| is_followed(name, event));
        let machines: BTreeSet<&str> = followed.map(Plain::machine).collect();
        assert_within(&oracle(&case), &of_machines(told(name, &view), &machines), name)?;
        let names: BTreeSet<&str> = view["machines"].as_object().unwrap().keys().map(String::as_str).collect();
        let strangers: BTreeSet<&str> = names.difference(&machines).copied().collect();
        prop_assert_eq!(&strangers, &kept(name, ours, noise), "{}", name);
        // The control: with room for the first machines, one of ours would be dropped.
        let mut first: Vec<&str> = Vec::new();
        for place in order {
            let name = ours.get(*place).map_or_else(|| NAMES[noise[*place - ours.len()].name], Plain::machine);
            if !first.contains(&name) && first.len() < SIZE.count_max {
                first.push(name);
            }
        }
        crowded_out += u32::from(machines.iter().any(|machine| !first.contains(machine)));
    }
    Ok(crowded_out)
}

#[test]
fn events_that_a_stranger_makes_up_change_nothing_about_others() {
    let events = proptest::collection::vec(any_plain(), EVENTS);
    let noise = proptest::collection::vec(any_noise(), 30..60);
    let both = (events, noise).prop_perturb(|(events, noise), mut rng| {
        let mut order: Vec<usize> = (0..events.len() + noise.len()).collect();
        (1..order.len()).rev().for_each(|at| order.swap(at, rng.random_range(0..=at)));
        if rng.random_range(0..2) == 0 {
            // The stranger sends before all others.
            order.sort_by_key(|at| *at < events.len());
        }
        (events, noise, order)
    });
    let crowded_out = Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { cases: FULL_CASES, ..Config::default() });
    let outcome = runner.run(&both, |(events, noise, order)| {
        crowded_out.set(crowded_out.get() + check(&events, &noise, &order)?);
        Ok(())
    });
    outcome.unwrap();
    assert!(crowded_out.get() > FULL_CASES / 4, "first come would do as well: {}", crowded_out.get());
}

#[test]
fn last_values_are_a_function_of_the_set_of_samples_also_when_all_is_full() {
    const ROOM: ClaimLimits = ClaimLimits { count_max: 6, of_one_max: 4 };
    use afferent_protocol::event::{Body, Quality, Sample, Value as Measured};
    let heads = heads(&ALL);
    let body = |number: usize| {
        Body::Sample(Sample { value: Measured::Integer(number as i64), unit: "", quality: Quality::Good })
    };
    let (mut full, mut by_arrival) = (0, 0);
    for seed in 0..1000 {
        let mut numbers = Numbers(seed);
        let mut made = |number: usize| {
            let source = numbers.below(3);
            // Each of them reports about some names, and the stranger about all.
            let names = if source == 2 { NAMES.len() } else { 2 };
            let time = second(3600 * numbers.below(4) + numbers.below(9));
            let subject = NAMES[numbers.below(names)];
            EventHead { number, source, sequence: number as u64, time, ingest: time, subject, of: None }
        };
        let mut arrival: Vec<EventHead> = (0..60).map(&mut made).collect();
        let right = naive_last(&arrival, ROOM);
        for _ in 0..3 {
            numbers.shuffle(&mut arrival);
            let mut model: Box<dyn AnyModel> = Box::new(Last::new(LastSettings::default()).sized(ROOM));
            for (offset, entry) in (0..).zip(&arrival) {
                pass(&mut model, entry, &heads, offset, body(entry.number));
            }
            let view = model.view(at(0));
            let subjects = view["subjects"].as_object().unwrap();
            let told: BTreeMap<&str, u64> =
                subjects.iter().map(|(name, told)| (&**name, told["value"].as_u64().unwrap())).collect();
            assert_eq!(told, right, "seed {seed}: {arrival:#?}");
            full += u32::from(view["not_shown"]["last"].is_string());
            let first: BTreeSet<&str> = arrival.iter().take(ROOM.count_max).map(|entry| entry.subject).collect();
            by_arrival += u32::from(first != right.keys().copied().collect());
        }
    }
    assert!(full > 2500 && by_arrival > 1000, "{full} were full, and in {by_arrival} the first ones are others");
}

/// Of each source the last reported names, by hour and then by lot; of each name the last value of those.
fn naive_last(all: &[EventHead], room: ClaimLimits) -> BTreeMap<&'static str, u64> {
    let mut by_source: BTreeMap<usize, BTreeMap<&str, (i64, u64)>> = BTreeMap::new();
    for entry in all {
        let weight = (entry.time.micros() / 3_600_000_000, lot(entry.subject));
        let known = by_source.entry(entry.source).or_default().entry(entry.subject).or_insert(weight);
        *known = weight.max(*known);
    }
    let taken = |share: usize| by_source.values().map(|names| names.len().min(share)).sum::<usize>();
    let share = (1..=room.of_one_max).rev().find(|share| taken(*share) <= room.count_max).unwrap();
    let mut claimed = BTreeSet::new();
    for (source, names) in &by_source {
        let mut sorted: Vec<_> = names.iter().map(|(name, weight)| (*weight, *name)).collect();
        sorted.sort_unstable();
        claimed.extend(sorted.into_iter().rev().take(share).map(|(_, name)| (*source, name)));
    }
    let mut sorted: Vec<&EventHead> = all.iter().filter(|one| claimed.contains(&(one.source, one.subject))).collect();
    sorted.sort_by_key(|entry| (entry.time, ALL[entry.source], entry.sequence));
    sorted.into_iter().map(|entry| (entry.subject, entry.number as u64)).collect()
}
