//! A stranger with a login of its own, under the name that another agent had before.

use afferent_collector::limits::SESSIONS_UNPROVED_MAX;
use afferent_protocol::ids::SourceId;
use afferent_protocol::piece::PieceHead;
use afferent_protocol::session::Lane;
use afferent_tests::process::{Mqtt, Process, Proxy, Reason, Rig, Sealer, down, state, up, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::broker::changes;
use super::row_of;

const STRANGER: &str = "press-77";
const SAMPLES: u64 = 1500;

fn users(rig: &Rig, names: &[&str]) -> String {
    let user = |name: &&str| {
        let file = rig.folder.join(name);
        std::fs::write(&file, format!("secret of {name}")).expect("the folder can be written");
        format!("[[mqtt.user]]\nname = {name:?}\npassword = {{ file = {file:?} }}\n")
    };
    names.iter().map(user).collect()
}

/// What the agent of this name sends to log in.
fn login(rig: &Rig, name: &str) -> String {
    format!("username = {name:?}\npassword = {{ file = {:?} }}", rig.folder.join(name))
}

/// A rig whose agent was press-88 and is to be press-89. It holds a breakdown and samples under its former name, for which
/// the line to the collector needs some seconds; the collector is there.
fn renamed() -> (Rig, Proxy, Process) {
    let mut rig = Rig::new("former");
    let proxy = Proxy::slow(rig.endpoint, 2000);
    rig.mqtt = proxy.address;
    rig.collector_mqtt = users(&rig, &["press-88", "press-89", STRANGER]);
    rig.agent_ship = login(&rig, "press-88");
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    collector.terminate();
    rig.break_down("held");
    let mut producer = rig.producer();
    let line = |at| format!("{{\"subject\":\"88-C/force\",\"value\":{at}.25,\"unit\":\"N\"}}\n");
    producer.send((0..SAMPLES).map(line).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(SAMPLES).expect("the agent answers");
    agent.terminate();
    // The former name is nobody's login any more.
    rig.collector_mqtt = users(&rig, &["press-89", STRANGER]);
    (rig.agent_name, rig.agent_ship) = ("press-89".into(), login(&rig, "press-89"));
    let collector = rig.start_collector();
    (rig, proxy, collector)
}

/// One connection of the stranger, who says under both names of the other agent what it can make up.
struct Stranger {
    mqtt: Mqtt,
    forged: [Sealer; 2],
}

impl Stranger {
    fn log_in(rig: &Rig) -> Self {
        let mqtt = Mqtt::log_in(rig.endpoint, "any", STRANGER, &format!("secret of {STRANGER}"));
        let forged = ["press-88", "press-89"].map(|name| Sealer::new(name, 77));
        Self { mqtt: mqtt.expect("its login is right"), forged }
    }

    fn acts(&mut self) {
        for forged in &self.forged {
            let name = forged.lineage.source.as_str();
            let batch = forged.clone().seal("stolen");
            let lane = Lane { stream: forged.lineage.stream, epoch: forged.lineage.epoch };
            let head = PieceHead { crc: [batch[4], batch[5], batch[6], batch[7]], lane, len: batch.len(), at: 0 };
            let piece = [&head.encode()[..], &batch[..100]].concat();
            for message in [forged.hello(), batch, piece] {
                let answer = self.mqtt.publish(up(name), &message).expect("the connection stays");
                assert_eq!(answer, Reason::NOT_AUTHORIZED, "as {name}");
            }
            let answer = self.mqtt.publish(state(name), b"offline").expect("the connection stays");
            assert_eq!(answer, Reason::NOT_AUTHORIZED, "about the state of {name}");
            assert!(self.mqtt.subscribe(&down(name)).is_err(), "it hears what is said to {name}");
        }
    }
}

/// What `agents` says of this one, but for what passes with time.
fn said_of(rig: &Rig, name: &str) -> Value {
    let mut row = row_of(rig, name);
    row.as_object_mut().map(|members| members.remove("lag_s"));
    row
}

fn connections(rig: &Rig) -> usize {
    let log = std::fs::read_to_string(rig.folder.join("agent.log")).expect("the agent has a log");
    log.matches("INFO connected to").count()
}

fn arrived(rig: &Rig) -> u64 {
    rig.events().iter().filter(|event| event["subject"] == "88-C/force").count() as u64
}

#[test]
fn a_logged_in_stranger_gets_nothing_in_under_a_former_name_and_neither_ends_nor_delays_whose_name_it_was() {
    let (mut rig, _proxy, collector) = renamed();
    let before = said_of(&rig, "press-88");
    assert!(before["key"].is_string(), "{before}");
    // It is there first, over as many connections as it can have without proving anything.
    let mut strangers: Vec<Stranger> = (0..SESSIONS_UNPROVED_MAX).map(|_| Stranger::log_in(&rig)).collect();
    strangers.iter_mut().for_each(Stranger::acts);
    // Under its own name it says that it had theirs.
    let former = ["press-88", "press-89"].map(|name| SourceId::new(name).expect("it is a name")).to_vec();
    Sealer { former, ..Sealer::new(STRANGER, 77) }.prove(&mut strangers[0].mqtt);
    let refused = |least: usize| rig.refused(STRANGER, "other-key") >= least as u64;
    wait_for("it is counted with who does it", || refused(6 * SESSIONS_UNPROVED_MAX).then_some(()));
    assert_eq!(said_of(&rig, "press-88"), before, "what is said of the name is of who had it");
    assert_eq!(row_of(&rig, "press-89"), Value::Null, "nobody has been that yet");

    let connections_before = connections(&rig);
    let _agent = rig.start_agent();
    rig.wait_logged("held");
    // Who may come in changes meanwhile, which concerns none of them.
    rig.collector_mqtt = users(&rig, &["press-89", STRANGER, "press-90"]);
    rig.collector_command();
    collector.signal(Signal::HUP);
    let mut rounds = 0;
    wait_for("everything has arrived under the former name", || {
        strangers.iter_mut().for_each(Stranger::acts);
        rounds += 1;
        (arrived(&rig) >= SAMPLES).then_some(())
    });
    assert!(rounds > 1 && collector.printed().contains("reloaded users and certificates"));
    wait_for("nothing is held", || rig.agent_figure("afferent_agent_held_events").filter(|held| *held == 0));
    assert_eq!(connections(&rig), connections_before + 1, "its connection was ended");
    assert_eq!(rig.collector_figure("afferent_taken_over_total"), Some(0));
    let events = rig.events();
    assert!(events.iter().all(|event| event["data"]["code"] != "stolen"), "the stranger's event is in the log");
    assert_eq!((arrived(&rig), changes(&rig, "conflict")), (SAMPLES, 0));
    // The control: whose name it was did get in under it, with the same kind of login, and is known to have had it.
    assert!(rig.wait_logged("held")["source"].as_str().is_some_and(|source| source.ends_with("press-88")));
    let aliases: Vec<&Value> = events.iter().map(|event| &event["data"]).filter(|d| d["change"] == "alias").collect();
    assert_eq!(aliases.len(), 1, "{aliases:?}");
    assert_eq!((&aliases[0]["source"], &aliases[0]["former"]), (&json!("press-89"), &json!("press-88")));
    let after = row_of(&rig, "press-88");
    for member in ["key", "other_key", "refused_by_reason"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(after["missing_events"], 0);
}
