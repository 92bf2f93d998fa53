//! Kafka: once, in order, whoever is killed. kcat is the independent reader.

mod faults;
mod form;
mod kills;
mod secured;

use afferent_tests::process::{Isolation, Kafka, KafkaRecord, Rig};
use serde_json::Value;

use super::plant::Arrived;

const TOPIC: &str = "events";
const CHECKPOINTS: &str = "afferent-checkpoints";
const CREATE: &str = "create = { partitions = 4, replication = 1 }\n";

/// A forward to Kafka; `of_forward` are lines of the forward, `of_kafka` lines of its destination.
fn configured(kafka: &Kafka, of_forward: &str, of_kafka: &str) -> String {
    let address = kafka.address;
    format!(
        "[[forward]]\nname = \"kafka\"\n{of_forward}\n[forward.kafka]\nbrokers = [\"{address}\"]\ntopic = \"{TOPIC}\"\n\
         {of_kafka}\n"
    )
}

fn rig(name: &str, kafka: &Kafka, of_forward: &str, of_kafka: &str) -> Rig {
    let mut rig = Rig::new(name);
    rig.collector_extra = configured(kafka, of_forward, of_kafka);
    rig
}

/// What a reader finds in the topic, by partition and offset.
fn arrived(kafka: &Kafka, isolation: Isolation) -> Vec<Arrived> {
    kafka.read(TOPIC, isolation).iter().map(of_record).collect()
}

fn of_record(record: &KafkaRecord) -> Arrived {
    let header = |name: &str| record.header(name).unwrap_or_default().to_owned();
    Arrived { source: header("ce_source"), id: header("ce_id"), subject: header("ce_subject") }
}

/// The codes of all breakdowns in the topic.
fn codes(kafka: &Kafka) -> Vec<String> {
    let records = kafka.read(TOPIC, Isolation::Committed);
    let values = records.iter().filter_map(|record| serde_json::from_str::<Value>(record.value.as_deref()?).ok());
    values.filter_map(|value| value["code"].as_str().map(str::to_owned)).collect()
}
