//! The rules that the collector's README gives for a broker in between, on a real Mosquitto.

use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::session::signed::{Down, Nonce, Place, UpContent};
use afferent_protocol::session::{Control, Lane, Resume};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Mosquitto, Mqtt, Reason, Rig, Sealer, down, state, up, wait_for};
use afferent_tests::said;

use super::broker::{rig_with_broker, state_of_press_88};
use super::press_88_goes_on;

const LOGINS: [(&str, &str); 3] =
    [("press-88", "of 88"), ("press-89", "of 89"), ("afferent-collector", "of the collector")];

/// The block of the collector's README that is Mosquitto's ACL file.
fn rules() -> String {
    let readme = include_str!("../../../collector/README.md");
    let mut blocks = readme.split("\n```").skip(1).step_by(2);
    let block = blocks.find(|block| block.contains("pattern write afferent")).expect("README gives the rules");
    block.split_once('\n').expect("a block has lines").1.to_owned()
}

fn rig_under_rules(name: &str) -> (Rig, Mosquitto) {
    let mut rig = Rig::new(name);
    let mosquitto = Mosquitto::guarded(&rig.folder, &rules(), &LOGINS);
    let secret = |user: &str, password: &str| {
        let file = rig.folder.join(user);
        std::fs::write(&file, password).expect("the folder can be written");
        format!("password = {{ file = {file:?} }}\n")
    };
    let [(agent, of_agent), _, (collector, of_collector)] = LOGINS;
    rig.agent_ship = format!("username = {agent:?}\n{}", secret(agent, of_agent));
    rig.collector_extra = format!(
        "broker = \"mqtt://{}\"\n[broker_client]\nuser = {collector:?}\n{}",
        mosquitto.address,
        secret(collector, of_collector)
    );
    rig.mqtt = mosquitto.address;
    (rig, mosquitto)
}

/// What a stranger says in the name of press-88, and of the collector to press-88.
fn forgeries() -> [(String, Vec<u8>); 3] {
    let (name, stranger) = (SourceId::new("press-88").expect("it is a name"), Identity::from_seed(&[66; 32]));
    let nonce = Nonce([1; 16]);
    let forged = Sealer { identity: stranger.clone(), ..Sealer::new("press-88", 66) };
    let lane = Lane { stream: Stream::Critical, epoch: Epoch::new(88) };
    let ack = Control::Ack(std::iter::once(Resume { lane, end: Sequence::new(1), check: None }).collect());
    let offline = UpContent::State { online: false };
    [
        (up("press-88"), forged.hello()),
        (state("press-88"), said::up_with(&name, &stranger, nonce, Nonce::NONE, offline)),
        (down("press-88"), said::down(&name, &stranger, nonce, Place::default(), ack)),
    ]
}

/// What agent and collector have counted as somebody else's.
fn counted(rig: &Rig) -> (u64, u64) {
    (rig.agent_figure("afferent_agent_ignored_total").unwrap_or(0), rig.refused("press-88", "other-key"))
}

fn works(rig: &Rig) {
    press_88_goes_on(rig, "before");
    wait_for("everything is acknowledged", || (rig.agent_lag() == Some(0)).then_some(()));
    wait_for("the agent is online", || (state_of_press_88(rig)? == "online").then_some(()));
    rig.wait_healthy();
}

#[test]
fn under_the_rules_of_the_readme_agent_and_collector_work_and_nobody_publishes_as_another() {
    let (rig, mosquitto) = rig_under_rules("rules");
    let _broker = mosquitto.start();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    works(&rig);
    assert!(Mqtt::connect(mosquitto.address).is_err(), "nobody is let in without a login");

    let log_in = |(user, password): (&str, &str)| {
        Mqtt::log_in(mosquitto.address, &format!("another {user}"), user, password).expect("the login is right")
    };
    let [_, press_89, collector] = LOGINS;
    let before = counted(&rig);
    let mut stranger = log_in(press_89);
    for (topic, message) in forgeries() {
        let answer = stranger.publish(&topic, &message).expect("the broker answers");
        assert_eq!(answer, Reason::NOT_AUTHORIZED, "press-89 on {topic}");
    }
    let own_down = down("press-89");
    let mut as_collector = log_in(collector);
    assert_eq!(stranger.publish(&own_down, b"x").expect("the broker answers"), Reason::NOT_AUTHORIZED);
    for topic in [up("press-88"), state("press-88")] {
        let answer = as_collector.publish(&topic, b"x").expect("the broker answers");
        assert_eq!(answer, Reason::NOT_AUTHORIZED, "the collector on {topic}");
    }
    // What is said to press-88 only press-88 hears; what is said to itself, press-89 does.
    let mut ear = log_in(press_89);
    let _ = ear.subscribe(&down("press-88"));
    ear.subscribe(&own_down).expect("its own topic");
    press_88_goes_on(&rig, "overheard");
    wait_for("everything is acknowledged", || (rig.agent_lag() == Some(0)).then_some(()));
    let own = Sealer::new("press-89", 89);
    assert_eq!(ear.publish(up("press-89"), &own.hello()).expect("the broker answers"), Reason::SUCCESS);
    let first = Down::read(&ear.next_message().expect("it is welcomed")).expect("it is a signed message");
    assert_eq!(first.claim().nonce, Nonce([1; 16]), "it has heard what was said to another one");
    assert_eq!(counted(&rig), before, "something got through");
    press_88_goes_on(&rig, "after");
}

#[test]
fn without_rules_the_same_gets_through_and_is_ignored_by_its_signature() {
    let (rig, mosquitto) = rig_with_broker("no-rules");
    let _broker = mosquitto.start();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    works(&rig);
    let (ignored, refused) = counted(&rig);
    let mut stranger = Mqtt::connect_as(mosquitto.address, "another press-89").expect("it lets everybody in");
    stranger.subscribe(&down("press-88")).expect("it lets everybody listen");
    for (topic, message) in forgeries() {
        assert_eq!(stranger.publish(&topic, &message).expect("the broker answers"), Reason::SUCCESS, "{topic}");
    }
    assert_eq!(stranger.next_message().expect("its own ack"), forgeries()[2].1);
    wait_for("both have counted it", || (counted(&rig) == (ignored + 1, refused + 2)).then_some(()));
    press_88_goes_on(&rig, "overheard");
    let heard = Down::read(&stranger.next_message().expect("an ack")).expect("it is a signed message");
    assert_ne!(heard.claim().nonce, Nonce([1; 16]), "it hears what is said to press-88");
    assert_eq!(state_of_press_88(&rig).as_deref(), Some("online"));
}
