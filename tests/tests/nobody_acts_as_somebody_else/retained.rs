//! Messages that a broker kept from before: of a stranger, and of agent and collector themselves, from a history that is
//! not theirs any more.

use afferent_protocol::ids::{Sequence, SourceId};
use afferent_protocol::session::signed::{Down, Nonce, Place, Up, UpContent, is_signed};
use afferent_protocol::session::{Control, Lane, Resume};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Mqtt, Rig, Sealer, copy_files, down, state, up, wait_for};
use afferent_tests::said;

use super::broker::{Eve, changes, rig_with_broker};

/// Everything held arrives, once, and is acknowledged; nothing was declared lost.
fn all_arrives(rig: &Rig, codes: &[String], what: &str) {
    codes.iter().for_each(|code| drop(rig.wait_logged(code)));
    wait_for(&format!("{what}: everything is acknowledged"), || (rig.agent_lag() == Some(0)).then_some(()));
    let events = rig.events();
    let lost: Vec<_> = events.iter().filter(|event| event["type"] == "afferent.loss.v1").collect();
    assert!(lost.is_empty(), "{what}: {lost:?}");
    assert_eq!(changes(rig, "conflict"), 0, "{what}");
}

/// An agent that holds these breakdowns, and is not running.
fn held(rig: &Rig) -> Vec<String> {
    let codes: Vec<String> = (0..5).map(|number| format!("HELD-{number}")).collect();
    let agent = rig.start_agent();
    codes.iter().for_each(|code| rig.break_down(code));
    agent.kill();
    codes
}

#[test]
fn what_a_stranger_had_retained_before_anybody_was_there_is_believed_by_nobody() {
    let (rig, mosquitto) = rig_with_broker("retained-stranger");
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let codes = held(&rig);
    let (name, stranger) = (SourceId::new("press-88").expect("it is a name"), Identity::from_seed(&[66; 32]));
    let nonce = Nonce([1; 16]);
    let forged = Sealer { identity: stranger.clone(), ..Sealer::new("press-88", 66) };
    let offline = said::up_with(&name, &stranger, nonce, Nonce::NONE, UpContent::State { online: false });
    let ack = said::down(&name, &stranger, nonce, Place::default(), ack_of(&forged));
    for (topic, message) in [(state("press-88"), offline), (up("press-88"), forged.hello()), (down("press-88"), ack)] {
        eve.mouth.publish_retained(topic, &message).expect("the broker takes it");
    }
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    all_arrives(&rig, &codes, "a stranger's messages");
    let pinned = rig.wait_event("whose key it is", |event| event["data"]["change"] == "key_pinned");
    assert_ne!(pinned["data"]["key"], stranger.public_key().to_string(), "a claim is no proof: {pinned}");
    assert!(rig.agent_figure("afferent_agent_ignored_total") > Some(0), "the agent has counted the ack");
}

/// What would let go of everything that a lane of this epoch holds.
fn ack_of(sealer: &Sealer) -> Control {
    let lane = Lane { stream: sealer.lineage.stream, epoch: sealer.lineage.epoch };
    Control::Ack(std::iter::once(Resume { lane, end: Sequence::new(5), check: None }).collect())
}

/// What an agent and a collector have said to each other, by kind.
#[derive(Default)]
struct Recorded {
    up: Vec<(&'static str, Vec<u8>)>,
    down: Vec<(&'static str, Vec<u8>)>,
    states: Vec<(&'static str, Vec<u8>)>,
    /// Everything that the collector has said, in order.
    all_down: Vec<Vec<u8>>,
}

impl Recorded {
    /// The last message of each kind.
    fn of(eve: &mut Eve, states: &mut Mqtt) -> Self {
        let mut recorded = Self::default();
        while let Some(message) = eve.ear.waiting_message() {
            let kind = match Up::read(&message) {
                _ if !is_signed(&message) => "batch",
                Ok(up) if up.claim().answer == Nonce::NONE => "claim",
                Ok(_) => "proof",
                Err(_) => "receipt",
            };
            keep(&mut recorded.up, kind, message);
        }
        while let Some(message) = eve.ears.waiting_message() {
            let down = Down::read(&message).expect("a collector signs what it says");
            let kind = match down.claim().content {
                Control::Welcome(_) => "welcome",
                Control::Ack(_) => "ack",
                _ => "other",
            };
            recorded.all_down.push(message.clone());
            keep(&mut recorded.down, kind, message);
        }
        while let Some(message) = states.waiting_message() {
            let up = Up::read(&message).expect("an agent signs what it says");
            let online = up.claim().content == (UpContent::State { online: true });
            keep(&mut recorded.states, if online { "online" } else { "offline" }, message);
        }
        recorded
    }
}

fn keep(messages: &mut Vec<(&'static str, Vec<u8>)>, kind: &'static str, message: Vec<u8>) {
    messages.retain(|(known, _)| *known != kind);
    messages.push((kind, message));
}

#[test]
fn what_agent_and_collector_said_in_a_history_that_was_put_back_lets_go_of_nothing() {
    let (rig, mosquitto) = rig_with_broker("retained-past");
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let mut states = Mqtt::connect_as(mosquitto.address, "eve-4").expect("the broker lets everybody in");
    states.subscribe(&state("press-88")).expect("it lets everybody listen");
    // They know each other, and then the agent holds something that the log does not have.
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    agent.terminate();
    collector.terminate();
    let codes = held(&rig);
    let copy = rig.folder.join("copy");
    copy_files(&rig.collector_data(), &copy.join("collector"));
    copy_files(&rig.agent_data(), &copy.join("agent"));

    let collector = rig.start_collector();
    let agent = rig.start_agent();
    all_arrives(&rig, &codes, "the first time");
    agent.kill();
    // The welcome of its next run says that the log has all of it.
    let agent = rig.start_agent();
    rig.wait_healthy();
    agent.kill();
    collector.terminate();
    let recorded = Recorded::of(&mut eve, &mut states);
    let kinds = |messages: &[(&'static str, Vec<u8>)]| messages.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    let (ups, downs) = (kinds(&recorded.up), kinds(&recorded.down));
    assert!(["claim", "proof", "batch"].iter().all(|kind| ups.contains(kind)), "{ups:?}");
    assert!(["welcome", "ack"].iter().all(|kind| downs.contains(kind)), "{downs:?}");
    let put_back = || {
        for (data, name) in [(rig.collector_data(), "collector"), (rig.agent_data(), "agent")] {
            std::fs::remove_dir_all(&data).expect("it can be removed");
            copy_files(&copy.join(name), &data);
        }
    };

    // Both are put back. What was said then is true, signed, and about what the agent now holds and the log has not.
    put_back();
    let agent = rig.start_agent();
    let held = rig.agent_lag().expect("it tells what it holds");
    eve.ear.next_message().expect("the agent says hello");
    recorded.all_down.iter().for_each(|message| eve.says(down("press-88"), message));
    let said = recorded.all_down.len() as u64;
    wait_for("the agent has judged all of it", || {
        (rig.agent_figure("afferent_agent_ignored_total")? >= said).then_some(())
    });
    assert!(held >= 5 && rig.agent_lag() >= Some(held), "it has let go of what the log does not have");
    let collector = rig.start_collector();
    all_arrives(&rig, &codes, "what was said once more");
    agent.kill();
    collector.terminate();

    let rounds = recorded.up.len().max(recorded.down.len());
    for round in 0..rounds {
        let nth = |messages: &[(&'static str, Vec<u8>)]| messages[round % messages.len()].clone();
        let ((up_kind, said_up), (down_kind, said_down)) = (nth(&recorded.up), nth(&recorded.down));
        let (state_kind, said_state) = nth(&recorded.states);
        put_back();
        for (topic, message) in
            [(up("press-88"), said_up), (down("press-88"), said_down), (state("press-88"), said_state)]
        {
            eve.mouth.publish_retained(topic, &message).expect("the broker takes it");
        }
        let collector = rig.start_collector();
        let agent = rig.start_agent();
        all_arrives(&rig, &codes, &format!("{up_kind}, {down_kind} and {state_kind} retained"));
        agent.kill();
        collector.terminate();
    }
}
