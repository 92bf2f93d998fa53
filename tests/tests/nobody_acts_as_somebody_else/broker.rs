//! A broker in between that lets everybody read and write everything.

use afferent_protocol::batch::split;
use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::{Down, Nonce, Up, UpContent};
use afferent_protocol::session::{Check, Control, Lane, Resume};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Mosquitto, Mqtt, Reason, Rig, down, get_text, state, up, wait_for};
use afferent_tests::said;

use super::press_88_goes_on;

/// Somebody at a broker that lets everybody read and write everything.
pub struct Eve {
    /// Hears what the agent says.
    pub ear: Mqtt,
    pub mouth: Mqtt,
    /// Hears what the collector says.
    pub ears: Mqtt,
    /// What the agent has said.
    heard: Vec<Vec<u8>>,
}

impl Eve {
    pub fn at(broker: &Mosquitto) -> Self {
        let client = |id| Mqtt::connect_as(broker.address, id).expect("the broker lets everybody in");
        let (mut ear, mouth, mut ears) = (client("eve-1"), client("eve-2"), client("eve-3"));
        ear.subscribe(&up("press-88")).expect("it lets everybody listen");
        ears.subscribe(&down("press-88")).expect("it lets everybody listen");
        Self { ear, mouth, ears, heard: Vec::new() }
    }

    pub fn says(&mut self, topic: String, message: &[u8]) {
        assert!(matches!(self.mouth.publish(topic, message).expect("the broker answers"), Reason(0 | 0x10)));
    }

    /// The next message of the agent that holds this text.
    pub fn hears(&mut self, code: &str) -> Vec<u8> {
        loop {
            let message = self.ear.next_message().expect("the agent publishes");
            self.heard.push(message.clone());
            if message.windows(code.len()).any(|window| window == code.as_bytes()) {
                return message;
            }
        }
    }

    /// Waits until the collector has judged everything that was said before.
    pub fn is_heard_out(&mut self, rig: &Rig) {
        // One that has just started hears nothing yet.
        wait_for("the collector listens", || rig.collector_health().filter(|(healthy, _)| *healthy));
        let malformed = || rig.refused("press-88", "malformed");
        let before = malformed();
        self.says(up("press-88"), b"no message");
        wait_for("the collector has judged what was said", || (malformed() > before).then_some(()));
    }
}

pub fn state_of_press_88(rig: &Rig) -> Option<String> {
    let text = get_text(rig.http, "/v1/agents").expect("the API answers");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let mut agents = report["agents"].as_array().expect("a list").iter();
    Some(agents.find(|agent| agent["name"] == "press-88")?["state"].as_str().expect("a word").to_owned())
}

pub fn changes(rig: &Rig, change: &str) -> usize {
    rig.events().iter().filter(|event| event["data"]["change"] == change).count()
}

/// A rig with a broker between agent and collector that has no access rules.
pub fn rig_with_broker(name: &str) -> (Rig, Mosquitto) {
    let mut rig = Rig::new(name);
    let mosquitto = Mosquitto::new(&rig.folder, "");
    rig.mqtt = mosquitto.address;
    rig.collector_extra = format!("broker = \"mqtt://{}\"\n", mosquitto.address);
    (rig, mosquitto)
}

#[test]
fn acks_that_a_third_client_of_a_broker_makes_up_let_go_of_nothing() {
    let (rig, mosquitto) = rig_with_broker("forged-acks");
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    let hello = eve.ear.next_message().expect("the agent says hello");
    let nonce = Up::read(&hello).expect("a hello comes first").claim().nonce;
    wait_for("everything is acknowledged", || (rig.agent_lag() == Some(0)).then_some(()));
    assert!(collector.terminate().success());

    let name = SourceId::new("press-88").expect("it is a name");
    let (stranger, codes) = (Identity::from_seed(&[66; 32]), (0..20).map(|number| format!("HELD-{number}")));
    let codes: Vec<String> = codes.collect();
    for code in &codes {
        rig.break_down(code);
    }
    let held = wait_for("it holds them", || rig.agent_lag().filter(|held| *held >= codes.len() as u64));
    let genuine = {
        let mut answers = Vec::new();
        let first = eve.ears.next_message().expect("the collector has answered");
        answers.push(first);
        while let Some(more) = eve.ears.waiting_message() {
            answers.push(more);
        }
        answers
    };
    let newest = genuine.last().and_then(|message| Down::read(message).ok());
    let place = newest.expect("it is a signed message").claim().place;
    let ignored = || rig.agent_figure("afferent_agent_ignored_total").unwrap_or(0);
    let before = ignored();
    let mut said = 0;
    let last = eve.hears(codes.last().expect("there are some"));
    let batch = split(&last).last().expect("a message has a batch").expect("it is whole");
    let lane = Lane { stream: batch.header().stream, epoch: batch.header().epoch };
    let end = batch.header().end();
    let right = Check::of(&batch.chain_hash());
    for check in [Some(right), Some(Check(right.0 ^ 1)), None] {
        let ack = Control::Ack([Resume { lane, end, check }].into_iter().collect());
        eve.says(down("press-88"), &ack.encode());
        eve.says(down("press-88"), &said::down(&name, &stranger, nonce, place, ack));
        said += 2;
    }
    let nack = Control::Nack { lane, from: end };
    eve.says(down("press-88"), &said::down(&name, &stranger, nonce, place, nack));
    said += 1;
    // What the collector itself has said, once more.
    for message in &genuine {
        eve.says(down("press-88"), message);
    }
    wait_for("the agent has counted them", || (ignored() >= before + said).then_some(()));
    assert_eq!(rig.agent_lag(), Some(held), "somebody else's ack let go of something");

    let _collector = rig.start_collector();
    codes.iter().for_each(|code| drop(rig.wait_logged(code)));
    let is_loss = |event: &serde_json::Value| event["type"].as_str().is_some_and(|kind| kind.contains("loss"));
    assert!(!rig.events().iter().any(is_loss), "something was declared lost");
    // The control: the collector's own ack does let go.
    wait_for("everything is acknowledged", || (rig.agent_lag() == Some(0)).then_some(()));
}

#[test]
fn a_retained_offline_and_recorded_messages_change_nothing_at_a_broker_without_access_rules() {
    let (rig, mosquitto) = rig_with_broker("replayed");
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    press_88_goes_on(&rig, "before");
    press_88_goes_on(&rig, "recorded");
    let hello = eve.ear.next_message().expect("the agent says hello");
    let nonce = Up::read(&hello).expect("a hello comes first").claim().nonce;
    let batch = eve.hears("recorded");
    let is_proof = |message: &Vec<u8>| Up::read(message).is_ok_and(|up| up.claim().answer != Nonce::NONE);
    let proof = eve.heard.iter().find(|message| is_proof(message)).expect("it has proved itself before").clone();
    let online = || state_of_press_88(&rig).as_deref() == Some("online");
    wait_for("the agent is online", || online().then_some(()));

    // Under the stranger's key, over the right nonce; and what the agent has said itself, once more.
    let name = SourceId::new("press-88").expect("it is a name");
    let offline =
        said::up_with(&name, &Identity::from_seed(&[66; 32]), nonce, Nonce::NONE, UpContent::State { online: false });
    let refused = || rig.refused("press-88", "other-key");
    let before = refused();
    eve.mouth.publish_retained(state("press-88"), &offline).expect("the broker takes it");
    wait_for("the collector has refused it", || (refused() > before).then_some(()));
    assert!(online(), "a stranger's word on the state was believed");
    for message in [&batch, &hello, &proof, &batch] {
        eve.says(up("press-88"), message);
    }
    rig.break_down("after");
    rig.wait_logged("after");
    assert!(online(), "the session went to who has recorded it");
    assert_eq!(changes(&rig, "conflict"), 0);
    // The control: the agent's own will, over its own nonce, is believed.
    agent.kill();
    wait_for("the agent is offline", || (!online()).then_some(()));
    // And what was recorded of a run that is gone does not bring it back.
    let garbage = || rig.refused("press-88", "malformed");
    let before = garbage();
    for message in [&hello, &proof, &batch, &b"no message".to_vec()] {
        eve.says(up("press-88"), message);
    }
    wait_for("the collector has judged them", || (garbage() > before).then_some(()));
    assert!(!online(), "a recorded hello brought the agent back");
    let _agent = rig.start_agent();
    press_88_goes_on(&rig, "again");
    assert_eq!(changes(&rig, "conflict"), 0);
}
