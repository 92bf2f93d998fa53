//! What can be wrong at Kafka: each is an error with its place and remedy, and costs no event.

use std::time::Duration;

use afferent_tests::process::{Folder, Isolation, Kafka, Proxy, Rig, free_address, wait_for};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use super::super::plant::{Promise, check, order, report, wait_delivered, wait_error};
use super::{CHECKPOINTS, CREATE, TOPIC, arrived, codes, configured, rig};

const BREAKDOWNS: &str = "filter = { type = \"breakdown\" }";

#[test]
fn a_broker_that_is_down_and_a_topic_that_is_missing_or_short_of_replicas_are_told_apart() {
    let folder = Folder::new("kafka-faults");
    let kafka = Kafka::new(&folder);
    let rig = rig("kafka-faults-rig", &kafka, BREAKDOWNS, "timeout_s = 5");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let place = format!("kafka://{}/{TOPIC}: ", kafka.address);
    let down = wait_error(&rig, "kafka", "check that the brokers run");
    let text = down["last_error"].as_str().expect("a text");
    assert!(text.starts_with(&place) && text.contains("Connection refused"), "{text}");

    let _broker = kafka.start();
    let retry = || order(&rig, "kafka", "resume", None);
    retry();
    let missing = wait_error(&rig, "kafka", "the topic events does not exist");
    assert!(missing["last_error"].as_str().expect("a text").contains("create = {"), "{missing}");
    assert!(kafka.read(CHECKPOINTS, Isolation::Committed).is_empty());

    kafka.create(TOPIC, 4, &[("min.insync.replicas", "2")]);
    retry();
    wait_error(&rig, "kafka", "too few replicas are in sync: partition 0 of the topic events has 1");
    kafka.alter(TOPIC, "min.insync.replicas", "1");
    retry();
    wait_delivered(&rig, "kafka");
    assert_eq!(codes(&kafka), ["E1"]);

    // The topic goes away while it runs, and comes back: what comes from then on is there.
    kafka.delete(TOPIC);
    rig.break_down("E2");
    wait_error(&rig, "kafka", "does not exist");
    kafka.create(TOPIC, 1, &[]);
    retry();
    wait_delivered(&rig, "kafka");
    assert_eq!(codes(&kafka), ["E2"]);

    // Without its checkpoints the operator is asked.
    kafka.delete(CHECKPOINTS);
    collector.kill();
    let _collector = rig.start_collector();
    let stuck = wait_error(&rig, "kafka", "has no checkpoint of the forward kafka");
    assert_eq!(stuck["state"], "stuck", "{stuck}");
    order(&rig, "kafka", "rewind", Some(json!({ "to": "first" })));
    wait_delivered(&rig, "kafka");
    assert_eq!(codes(&kafka), ["E2", "E1", "E2"], "from the first event on, as ordered");
}

#[test]
fn a_topic_of_checkpoints_that_forgets_is_refused() {
    let folder = Folder::new("kafka-forgets");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    kafka.create(CHECKPOINTS, 1, &[]);
    let rig = rig("kafka-forgets-rig", &kafka, BREAKDOWNS, CREATE);
    let _collector = rig.start_collector();
    wait_error(&rig, "kafka", "the topic afferent-checkpoints has cleanup.policy=delete");
    kafka.alter(CHECKPOINTS, "cleanup.policy", "compact");
    order(&rig, "kafka", "resume", None);
    wait_delivered(&rig, "kafka");
}

#[test]
fn a_wrong_password_and_a_missing_right_are_told_with_what_to_do_and_the_password_never() {
    let folder = Folder::new("kafka-login");
    let kafka = Kafka::guarded(&folder, &[("afferent", "right-password")]);
    let _broker = kafka.start();
    let password = folder.join("password");
    std::fs::write(&password, "wrong-password\n").expect("the folder can be written");
    let login = |user: &str| {
        format!(
            "timeout_s = 5\n{CREATE}sasl = {{ mechanism = \"PLAIN\", user = \"{user}\", password = {{ file = {password:?} }} }}"
        )
    };
    let mut rig = rig("kafka-login-rig", &kafka, BREAKDOWNS, &login("afferent"));
    let collector = rig.start_collector();
    wait_error(&rig, "kafka", "check `sasl`: mechanism, user and password");
    collector.kill();

    std::fs::write(&password, "right-password\n").expect("the folder can be written");
    let collector = rig.start_collector();
    wait_error(&rig, "kafka", "allow this user");
    collector.kill();

    std::fs::write(&password, "admin").expect("the folder can be written");
    rig.collector_extra = configured(&kafka, BREAKDOWNS, &login("admin"));
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_delivered(&rig, "kafka");
    assert_eq!(codes(&kafka), ["E1"]);
    let printed = collector.printed();
    assert!(!printed.contains("wrong-password") && !printed.contains("right-password"), "{printed}");
}

fn letters(rig: &Rig) -> Vec<Value> {
    rig.events().into_iter().filter(|event| event["type"] == "afferent.deadletter.v1").collect()
}

#[test]
fn an_event_that_is_too_large_is_a_dead_letter_and_can_be_sent_again() {
    let folder = Folder::new("kafka-large");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    kafka.create(TOPIC, 2, &[("max.message.bytes", "4000")]);
    let rig = rig("kafka-large-rig", &kafka, BREAKDOWNS, "compression = \"none\"");
    let _agent = rig.start_agent();
    for code in ["E1", "LARGE", "E2", "E3"] {
        let message = if code == "LARGE" { "x".repeat(1000) } else { String::new() };
        let line =
            format!("{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"{code}\",\"message\":\"{message}\"}}\n");
        let mut producer = rig.producer();
        producer.send(line.as_bytes()).expect("the agent reads");
        producer.wait_accepted(1).expect("the agent answers");
    }
    kafka.alter(TOPIC, "max.message.bytes", "1400");
    let _collector = rig.start_collector();
    wait_for("the others arrive", || (codes(&kafka) == ["E1", "E2", "E3"]).then_some(()));
    let large = rig.wait_logged("LARGE");
    let letter = wait_for("a dead letter is in the log", || letters(&rig).pop());
    assert_eq!(letter["data"]["offset"], large["offset"], "{letter}");
    let reason = letter["data"]["reason"].as_str().expect("a text");
    assert!(
        reason.contains("the topic events refuses a record") && reason.contains("max.message.bytes is 1400"),
        "{reason}"
    );
    wait_delivered(&rig, "kafka");
    kafka.alter(TOPIC, "max.message.bytes", "100000");
    order(&rig, "kafka", "replay-dead", None);
    wait_for("it arrives", || (codes(&kafka).contains(&"LARGE".to_owned())).then_some(()));
    wait_delivered(&rig, "kafka");
    assert_eq!((letters(&rig).len(), codes(&kafka).len()), (1, 4));
}

/// A producer under the transactional id of the forward.
fn impostor(kafka: &Kafka, rig: &Rig) -> BaseProducer {
    let report = report(rig, "kafka").expect("the API answers");
    let place = report["place"].as_str().expect("it has begun");
    let log = place.split_once('.').expect("a place names its log").1;
    let mut config: ClientConfig = kafka.client_settings();
    config.set("transactional.id", format!("afferent-kafka-{log}-0"));
    let producer: BaseProducer = config.create().expect("the client can be set up");
    producer.init_transactions(Duration::from_secs(60)).expect("Kafka answers");
    producer
}

#[test]
fn another_collector_with_this_forward_fences_it_and_what_it_leaves_open_is_never_seen() {
    let folder = Folder::new("kafka-fenced");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    let rig = rig("kafka-fenced-rig", &kafka, BREAKDOWNS, CREATE);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_delivered(&rig, "kafka");
    let other = impostor(&kafka, &rig);
    other.begin_transaction().expect("it is ready");
    other
        .send(BaseRecord::to(TOPIC).key("88-C").payload("{\"code\":\"ZOMBIE\"}"))
        .map_err(|(error, _)| error)
        .expect("it takes it");
    other.flush(Duration::from_secs(60)).expect("Kafka takes it");
    rig.break_down("E2");
    wait_error(&rig, "kafka", "another collector delivers this forward");
    order(&rig, "kafka", "resume", None);
    wait_delivered(&rig, "kafka");
    assert!(other.commit_transaction(Duration::from_secs(60)).is_err(), "it is fenced in its turn");
    assert_eq!(codes(&kafka), ["E1", "E2"]);
    let all = kafka.read(TOPIC, Isolation::Uncommitted);
    assert!(all.len() > 2, "the control: a reader that does not ask for committed records sees it: {all:?}");
}

#[test]
fn answers_that_get_lost_double_nothing() {
    let folder = Folder::new("kafka-answers");
    let address = free_address();
    let proxy = Proxy::start(address);
    let kafka = Kafka::behind(&folder, address, proxy.address);
    let _broker = kafka.start();
    let mut rig = Rig::new("kafka-answers-rig");
    rig.collector_extra = configured(&kafka, "", &format!("{CREATE}timeout_s = 5"))
        .replace(&kafka.address.to_string(), &proxy.address.to_string());
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = afferent_tests::process::Load::start(&rig);
    for _ in 0..30 {
        let before = load.accepted();
        wait_for("more lines are accepted", || (load.accepted() > before).then_some(()));
        proxy.cut();
        order(&rig, "kafka", "resume", None);
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, "kafka");
    check(&rig.events(), &arrived(&kafka, Isolation::Committed), Promise::Once);
}
