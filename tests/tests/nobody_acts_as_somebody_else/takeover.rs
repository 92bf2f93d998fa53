//! A connection that hangs without being closed, and the one that takes its place under the same run of the agent.

use afferent_protocol::session::signed::{Up, UpContent};
use afferent_tests::process::{Mqtt, Proxy, Rig, state, wait_for};

use super::broker::{Eve, changes, rig_with_broker, state_of_press_88};
use super::row_of;

/// An agent behind a line that can hang, which soon notices that nobody answers.
fn behind(proxy: &Proxy, rig: &mut Rig) {
    rig.mqtt = proxy.address;
    rig.agent_ship = "timeout_ms = 300".into();
}

fn arrives(rig: &Rig, code: &str) {
    rig.break_down(code);
    rig.wait_logged(code);
}

#[test]
fn an_agent_whose_connection_hangs_is_served_over_the_next_and_never_offline() {
    let mut rig = Rig::new("half-open");
    let proxy = Proxy::start(rig.endpoint);
    behind(&proxy, &mut rig);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    arrives(&rig, "before");
    wait_for("the agent is online", || (state_of_press_88(&rig)? == "online").then_some(()));
    let since = |rig: &Rig| row_of(rig, "press-88")["state_since"].clone();
    let online_since = since(&rig);
    assert!(online_since.is_string(), "{}", row_of(&rig, "press-88"));

    proxy.hang();
    arrives(&rig, "hanging");
    wait_for("the connection that hung is ended", || {
        (rig.collector_figure("afferent_taken_over_total")? > 0).then_some(())
    });
    wait_for("one is left", || (rig.collector_figure("afferent_connections")? == 1).then_some(()));
    // What it had under way comes now, and the end of the agent's side.
    proxy.go_on();
    arrives(&rig, "after");
    let events = rig.events().iter().filter(|event| is_of_press_88(event)).count() as u64;
    wait_for("what is shown is of after that", || {
        (row_of(&rig, "press-88")["events"].as_u64()? >= events).then_some(())
    });
    assert_eq!(state_of_press_88(&rig).as_deref(), Some("online"));
    assert_eq!(since(&rig), online_since, "it was offline in between");
    assert_eq!(changes(&rig, "conflict"), 0, "it was taken for another machine");
}

fn is_of_press_88(event: &serde_json::Value) -> bool {
    event["source"].as_str().is_some_and(|source| source.ends_with("press-88"))
}

#[test]
fn the_last_will_of_a_connection_that_hung_takes_nobody_off_the_line_whoever_says_it_again() {
    let (mut rig, mosquitto) = rig_with_broker("half-open-broker");
    let proxy = Proxy::start(mosquitto.address);
    behind(&proxy, &mut rig);
    let _broker = mosquitto.start();
    let mut eve = Eve::at(&mosquitto);
    let mut states = Mqtt::connect_as(mosquitto.address, "eve-4").expect("the broker lets everybody in");
    states.subscribe(&state("press-88")).expect("it lets everybody listen");
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    arrives(&rig, "before");
    let is_online = || state_of_press_88(&rig).as_deref() == Some("online");
    wait_for("the agent is online", || is_online().then_some(()));

    proxy.hang();
    arrives(&rig, "hanging");
    // The broker ends the older session of a client id, and says its will.
    let will = loop {
        let message = states.next_message().expect("the broker says it");
        let up = Up::read(&message).expect("agents sign what they say of themselves");
        if up.claim().content == (UpContent::State { online: false }) {
            break message;
        }
    };
    wait_for("the agent is online", || is_online().then_some(()));
    proxy.go_on();
    eve.mouth.publish_retained(state("press-88"), &will).expect("the broker takes it");
    eve.is_heard_out(&rig);
    assert!(is_online(), "the will of a connection that is gone was taken for that of the one that stands");
    arrives(&rig, "after");
    // The control: the will of the connection that stands is believed.
    agent.kill();
    wait_for("the agent is offline", || (!is_online()).then_some(()));
    assert_eq!(changes(&rig, "conflict"), 0, "it was taken for another machine");
}
