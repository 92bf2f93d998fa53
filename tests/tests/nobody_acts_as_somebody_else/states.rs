//! What comes on a state topic: nobody is online or offline because of it, but by the agent's own word over its own nonce.

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::{Nonce, Up, UpContent};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Mqtt, Reason, Rig, Sealer, get_text, state, wait_for};
use afferent_tests::said;

use super::broker::{Eve, rig_with_broker, state_of_press_88};

fn state_over(name: &str, seed: u8, nonce: Nonce, online: bool) -> Vec<u8> {
    let name = SourceId::new(name).expect("it is a name");
    said::up_with(&name, &Identity::from_seed(&[seed; 32]), nonce, Nonce::NONE, UpContent::State { online })
}

/// Everything that a state topic may bring that says nothing: no message, half a message, another one, a foreign one.
fn garbage(genuine: &[u8]) -> Vec<Vec<u8>> {
    let mut garbage = vec![vec![], vec![0], b"offline".to_vec(), b"{\"online\":false}".to_vec(), vec![0xff; 60_000]];
    garbage.extend([4, 72, 73, 90, genuine.len() - 1].map(|len| genuine[..len].to_vec()));
    garbage.extend([5, 20, 72, 80, 150, genuine.len() - 1].map(|at| {
        let mut altered = genuine.to_vec();
        altered[at] ^= 1;
        altered
    }));
    garbage.push([genuine, &[0][..]].concat());
    garbage.extend([true, false].map(|online| state_over("press-88", 66, Nonce([1; 16]), online)));
    // Signed well, and for somebody else.
    garbage.push(state_over("press-89", 66, Nonce([1; 16]), false));
    garbage
}

fn is_known(rig: &Rig, name: &str) -> bool {
    get_text(rig.http, "/v1/agents").expect("the API answers").contains(&format!("{name:?}"))
}

#[test]
fn the_endpoint_confirms_whatever_comes_on_a_state_topic_and_believes_none_of_it() {
    let rig = Rig::new("states");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let online = || state_of_press_88(&rig).as_deref() == Some("online");
    wait_for("the agent is online", || online().then_some(()));
    let genuine = state_over("press-90", 90, Nonce([1; 16]), true);
    for name in ["press-88", "press-90"] {
        for message in garbage(&genuine).iter().chain([&genuine]) {
            let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
            assert_eq!(mqtt.publish(state(name), message).expect("it is answered"), Reason::SUCCESS);
            let retained = mqtt.publish_retained(state(name), message).expect("it is answered");
            assert_eq!(retained, Reason::SUCCESS);
        }
    }
    rig.break_down("behind all of it");
    rig.wait_logged("behind all of it");
    assert!(online(), "somebody took it off the line");
    assert!(!is_known(&rig, "press-90"), "its own word alone, which anybody can repeat, made it known");
    // The control: who proves itself is there, as long as the connection is.
    let press = Sealer::new("press-90", 90);
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    press.prove(&mut mqtt);
    let says = |word: &str| get_text(rig.http, "/v1/agents").is_some_and(|text| state_of(&text, "press-90") == word);
    wait_for("it is online", || says("online").then_some(()));
    drop(mqtt);
    wait_for("it is offline", || says("offline").then_some(()));
    let mut mqtt = Mqtt::connect(rig.endpoint).expect("the endpoint takes connections");
    assert_eq!(mqtt.publish_retained(state("press-90"), &genuine).expect("it is answered"), Reason::SUCCESS);
    rig.break_down("behind that");
    rig.wait_logged("behind that");
    assert!(says("offline"), "its word of before brought it back");
}

fn state_of(report: &str, name: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(report).expect("it is JSON");
    let mut agents = report["agents"].as_array().expect("a list").iter();
    agents.find(|agent| agent["name"] == name).and_then(|agent| agent["state"].as_str()).unwrap_or("").to_owned()
}

#[test]
fn what_a_broker_has_retained_on_a_state_topic_is_counted_and_brings_nobody_online_or_offline() {
    let (rig, mosquitto) = rig_with_broker("retained-states");
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let mut states = Mqtt::connect_as(mosquitto.address, "eve-4").expect("the broker lets everybody in");
    states.subscribe(&state("press-88")).expect("it lets everybody listen");
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    let is_online = || state_of_press_88(&rig).as_deref() == Some("online");
    wait_for("the agent is online", || is_online().then_some(()));
    let genuine = states.next_message().expect("the agent says that it is there");
    let up = Up::read(&genuine).expect("it signs what it says");
    assert_eq!(up.claim().content, UpContent::State { online: true });

    let garbage = garbage(&genuine);
    let refused =
        || ["malformed", "other-key", "signature"].map(|why| rig.refused("press-88", why)).iter().sum::<u64>();
    let before = refused();
    // An empty one is what takes a retained message away: the broker passes it on as well.
    for message in &garbage {
        eve.mouth.publish_retained(state("press-88"), message).expect("the broker takes it");
    }
    let wanted = before + garbage.len() as u64;
    wait_for("each is counted", || (refused() >= wanted).then_some(()));
    assert_eq!(refused(), wanted);
    assert!(is_online(), "somebody took it off the line");
    rig.break_down("after");
    rig.wait_logged("after");

    // The agent is gone, and the broker keeps its own word that it is there; what it said to a collector of before.
    agent.kill();
    wait_for("the agent is offline", || (!is_online()).then_some(()));
    assert!(collector.terminate().success());
    eve.mouth.publish_retained(state("press-88"), &genuine).expect("the broker takes it");
    let _collector = rig.start_collector();
    eve.is_heard_out(&rig);
    assert!(!is_online(), "a retained message brought it back");
    // The control: itself.
    let _agent = rig.start_agent();
    wait_for("the agent is online", || is_online().then_some(()));
}
