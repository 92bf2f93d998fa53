//! More names than there is room for.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::session::signed::Down;
use afferent_protocol::sign::PublicKey;

use super::*;
use crate::core::MessageConnection;
use crate::limits::{NAMES_FILL_TIME, NAMES_NEW_MAX, NAMES_REFUSED_MAX, SOURCE_LANES_NEW_MAX, SOURCES_MAX};

/// A connection of this agent from an address.
fn over(agent: &Agent, number: u64, last: u8) -> MessageConnection {
    let peer = Some(([10, 0, 0, last], 4711).into());
    MessageConnection { number, peer, name: Some(agent.name), is_vouched: false }
}

/// The agents say hello and prove their keys; returns the refusal of each.
fn come(
    core: &mut TestCore,
    agents: &[Agent],
    connection: impl Fn(&Agent) -> Option<MessageConnection>,
    now: u64,
) -> Vec<Option<Reason>> {
    let mut outcomes: Vec<_> = agents
        .iter()
        .map(|agent| refused(&core.receive(agent.name, &agent.hello(0), connection(agent), &clock(now))))
        .collect();
    let answers = core.commit(&clock(now)).unwrap();
    let welcomes = answers.iter().filter(|answer| matches!(answer.control, Control::Welcome(_)));
    let welcomes: BTreeMap<SourceId, &Answer> = welcomes.map(|answer| (answer.agent, answer)).collect();
    for (agent, outcome) in agents.iter().zip(&mut outcomes).filter(|(_, outcome)| outcome.is_none()) {
        let challenge = Down::read(&welcomes[&agent.name].message).unwrap().claim().answer;
        let proof = agent.hello_over(0, challenge);
        *outcome = refused(&core.receive(agent.name, &proof, connection(agent), &clock(now)));
    }
    core.commit(&clock(now)).unwrap();
    outcomes
}

fn strangers(numbers: std::ops::Range<usize>) -> Vec<Agent> {
    numbers.map(|number| Agent::new(&format!("stranger-{number}"), Stream::Samples, 1)).collect()
}

fn through_a_broker(_: &Agent) -> Option<MessageConnection> {
    None
}

fn pinned(core: &TestCore) -> BTreeMap<SourceId, PublicKey> {
    core.sources().views().into_iter().filter_map(|view| Some((view.source, view.key?))).collect()
}

#[test]
fn names_of_which_only_refusals_are_known_are_bounded_and_leave_room_for_who_proves_itself() {
    let disk = SimDisk::of_seed(1);
    let mut core = start(&disk);
    let mut press = Agent::new("press", Stream::Samples, 1);
    greet(&mut core, &press, 0, &clock(1)).expect("there is room");
    for number in 0..3 * NAMES_REFUSED_MAX {
        let stranger = source(&format!("stranger-{number}"));
        let received = core.receive(stranger, b"no message", None, &clock(1));
        assert_eq!(refused(&received), Some(Reason::Malformed));
    }
    assert_eq!(core.sources().len(), NAMES_REFUSED_MAX + 2, "all of them would be three times as many");
    // They do not push out a name with a proved key, even though it has delivered nothing.
    let batch = press.samples(5);
    assert_eq!(give(&mut core, &press, &batch).accepted, 1);
    assert_eq!(acked_end(&core.commit(&clock(2)).unwrap()), Some(5));
    let late = Agent::new("late", Stream::Samples, 2);
    greet(&mut core, &late, 0, &clock(2)).expect("there is room");
    // Refusals of a name in the table are counted there.
    let malformed = |core: &TestCore, name| view(core, name).refused.into_iter().find(|(why, _)| *why == "malformed");
    assert_eq!(refused(&give(&mut core, &press, b"no message")), Some(Reason::Malformed));
    assert_eq!(malformed(&core, "press"), Some(("malformed", 1)));
    let newest = format!("stranger-{}", 3 * NAMES_REFUSED_MAX - 1);
    assert_eq!(malformed(&core, &newest), Some(("malformed", 1)));
    assert!(core.sources().view(&source("stranger-0")).is_none());
    assert!(!own_events(&core).iter().any(|event| event.contains("Forgotten")), "the log never had them");
}

#[test]
fn sources_are_bounded_and_those_that_have_delivered_go_on() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &press);
    let key = press.identity.public_key();
    while core.sources().len() < SOURCES_MAX {
        let name = source(&format!("machine-{}", core.sources().len()));
        core.sources.pin(name, key).expect("there is room");
        core.sources.get_or_add(name).unwrap().is_former = true;
        core.sources.heard_of(name);
    }
    let batch = press.samples(5);
    assert_eq!(give(&mut core, &press, &batch).accepted, 1);
    let late = greet(&mut core, &Agent::new("late", Stream::Samples, 2), 0, &clock(2)).unwrap_err();
    assert_eq!(late.reason, Reason::TooMany);
    assert_eq!(core.sources().len(), SOURCES_MAX);
    let batch = press.samples(5);
    assert_eq!(give(&mut core, &press, &batch).accepted, 1);
}

#[test]
fn a_name_that_delivered_nothing_gives_way_to_newer_ones_and_a_start_finds_the_same_names() {
    let disk = SimDisk::of_seed(1);
    let mut core = start(&disk).with_new_names(65_536);
    let mut agents = ["press", "retired", "replaced", "named"].map(|name| Agent::new(name, Stream::Samples, 1));
    let vouched = |agent: &Agent| Some(MessageConnection { is_vouched: true, ..over(agent, 1, 1) });
    come(&mut core, &agents[..3], through_a_broker, 1);
    come(&mut core, &agents[3..], vouched, 1);
    let batch = agents[0].samples(3);
    give(&mut core, &agents[0], &batch);
    core.retire(source("retired"), "Ada", "sold", &clock(1)).unwrap();
    let key = identity(77).public_key();
    core.replace_key(source("replaced"), key, "Ada", &clock(1)).unwrap();
    assert!(agents.iter().all(|agent| !view(&core, agent.name.as_str()).is_new));
    assert_eq!(come(&mut core, &strangers(0..NAMES_NEW_MAX), through_a_broker, 2), vec![None; NAMES_NEW_MAX]);
    assert_eq!((core.sources().new_names(), core.take_dropped_names()), (NAMES_NEW_MAX, BTreeSet::new()));
    let (before, shown) = (pinned(&core), SourceViews::default());
    assert!(shows_all(&shown, &mut core));
    come(&mut core, &strangers(NAMES_NEW_MAX..NAMES_NEW_MAX + 10), through_a_broker, 3);
    let gone: BTreeSet<SourceId> = strangers(0..10).iter().map(|agent| agent.name).collect();
    assert_eq!((core.sources().new_names(), core.take_dropped_names()), (NAMES_NEW_MAX, gone.clone()));
    assert!(before.len() == pinned(&core).len() && pinned(&core).keys().all(|name| !gone.contains(name)));
    assert!(agents.iter().all(|agent| pinned(&core).contains_key(&agent.name)), "they were there first, and stay");
    assert!(shows_all(&shown, &mut core), "names that are gone are not shown any more");
    assert_eq!(core.take_changed(), [], "nothing has changed since");
    let batch = agents[0].samples(3);
    give(&mut core, &agents[0], &batch);
    assert_eq!(core.take_changed().iter().map(|(name, _)| *name).collect::<Vec<_>>(), [agents[0].name]);
    assert_eq!(own_events(&core).iter().filter(|event| event.contains("Forgotten")).count(), 10);
    assert!(core.sessions.of(&source("stranger-0")).next().is_none(), "nothing is kept of it");
    // The log has no event about names that it does not know.
    let mut again = start(&disk.after_power_cut());
    assert_eq!(pinned(&again), pinned(&core));
    assert!(!["press", "retired", "replaced"].iter().any(|name| view(&again, name).is_new));
    // An agent that comes again under a forgotten name is pinned to the key that it brings; a different key is refused.
    let mut heir = strangers(0..1).remove(0);
    heir.identity = identity(200);
    assert_eq!(come(&mut again, std::slice::from_ref(&heir), through_a_broker, 4), [None]);
    assert_eq!(again.sources().key(&heir.name), Some(heir.identity.public_key()));
    let mut thief = strangers(NAMES_NEW_MAX..NAMES_NEW_MAX + 1).remove(0);
    thief.identity = identity(200);
    assert_eq!(come(&mut again, &[thief], through_a_broker, 4), [Some(Reason::OtherKey)]);
}

#[test]
fn a_name_dropped_in_a_failed_commit_is_dropped_once_and_the_newcomer_is_admitted_again() {
    let disk = SimDisk::of_seed(1);
    let mut core = start(&disk).with_new_names(1);
    let key = identity(5).public_key();
    for number in 0..NAMES_NEW_MAX {
        core.sources.pin(source(&format!("stranger-{number}")), key).expect("there is room");
    }
    core.commit(&clock(1)).unwrap();
    let late = Agent::new("late", Stream::Samples, 1);
    core.receive(late.name, &late.hello(0), None, &clock(1));
    let answers = core.commit(&clock(1)).unwrap();
    let challenge = Down::read(&answers[0].message).unwrap().claim().answer;
    let proof = late.hello_over(0, challenge);
    disk.fails_in(Some(0));
    assert!(core.receive(late.name, &proof, None, &clock(1)).proved.is_some());
    assert!(core.commit(&clock(1)).is_err());
    assert_eq!(core.sources().key(&late.name), None);
    disk.fails_in(None);
    greet(&mut core, &late, 0, &clock(1)).expect("its only token was given back");
    let told: Vec<String> = own_events(&core).into_iter().filter(|event| event != "disk").collect();
    assert_eq!(told[1..], ["Forgotten { source: \"stranger-0\" }".to_owned(), "pinned late".to_owned()]);
    let again = start(&disk.after_power_cut());
    assert_eq!(again.sources().key(&late.name), Some(late.identity.public_key()));
}

#[test]
fn one_address_brings_so_many_new_names_and_takes_nothing_from_others() {
    let mut core = start(&SimDisk::of_seed(1)).with_new_names(3);
    let agents = strangers(0..5);
    let from = |last: u8| move |agent: &Agent| Some(over(agent, 1, last));
    let too_many = Some(Reason::FirstContacts);
    assert_eq!(come(&mut core, &agents, from(1), 1), [None, None, None, too_many, too_many]);
    let refusal = core.receive(agents[4].name, &agents[4].hello(0), from(1)(&agents[4]), &clock(1)).refusal.unwrap();
    for words in ["stranger-4 is a new name", "10.0.0.1 has used 3 new names", "`names.new_max`"] {
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
    assert!(core.sources().view(&agents[4].name).is_none(), "what is refused for that takes no place");
    // Known names come as often as they like, so do names with a login, and other addresses have tokens of their own.
    assert_eq!(come(&mut core, &agents[..3], from(1), 1), [None; 3]);
    let vouched = |agent: &Agent| Some(MessageConnection { is_vouched: true, ..over(agent, 1, 1) });
    assert_eq!(come(&mut core, &agents[3..4], vouched, 1), [None]);
    assert_eq!(come(&mut core, &agents[4..], from(2), 1), [None]);
    // All that come through a broker share the tokens of one address.
    assert_eq!(come(&mut core, &strangers(10..14), through_a_broker, 1), [None, None, None, too_many]);
    // A token becomes free later.
    let late = strangers(20..21);
    assert_eq!(come(&mut core, &late, from(1), 1), [too_many]);
    let token = NAMES_FILL_TIME.as_secs() / 3;
    assert_eq!(come(&mut core, &late, from(1), 2 + token), [None]);
}

#[test]
fn epochs_of_which_nothing_comes_are_bounded_and_those_that_have_begun_stay() {
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&SimDisk::of_seed(1), &press);
    let batch = press.samples(5);
    give(&mut core, &press, &batch);
    let begun = press.lane;
    for epoch in 2..500 {
        (press.lane.epoch, press.next, press.session) = (Epoch::new(epoch), 0, press.session + 1);
        greet(&mut core, &press, 7, &clock(1)).unwrap();
    }
    let lanes = &core.sources.get(&press.name).unwrap().lanes;
    assert!(lanes.len() <= SOURCE_LANES_NEW_MAX + 1, "{}; each hello would add one", lanes.len());
    assert!(lanes.contains_key(&begun) && lanes.contains_key(&press.lane), "the oldest of the empty ones went");
}
