//! Kafka: events a second of the sink, and of a bare producer with the same records in the same transactions.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use afferent_tests::process::{
    Folder, Isolation, Kafka, KafkaRecord, Rig, order_forward, report_forward, wait_delivered, wait_for,
};
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use serde_json::json;

use super::append;
use crate::table::{Must, Table};

const NAME: &str = "kafka";
const TOPIC: &str = "events";
/// Events that are delivered.
const EVENTS: u64 = 300_000;
/// Rounds, of which the last one counts: Java compiles in the first.
const ROUNDS: u64 = 3;
/// The limits of a transaction, as the sink has them.
const EVENTS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 << 20;

/// Counts the records without an outcome.
#[derive(Clone, Default)]
struct Left(Arc<(Mutex<usize>, Condvar)>);

impl ClientContext for Left {}

impl ProducerContext for Left {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().map_err(|(error, _)| error.clone()).expect("the record is taken");
        let mut left = self.0.0.lock().expect("nobody panicked with it");
        *left -= 1;
        if *left == 0 {
            self.0.1.notify_all();
        }
    }
}

fn bytes_of(record: &KafkaRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    headers + record.key.len() + record.value.as_deref().unwrap_or_default().len()
}

/// Sends all records in transactions of the sink's size; returns the records of a second.
fn bare(kafka: &Kafka, records: &[KafkaRecord]) -> f64 {
    let left = Left::default();
    let mut config = kafka.client_settings();
    config.set("transactional.id", "bare").set("acks", "all").set("linger.ms", "2").set("compression.codec", "lz4");
    config.set("partitioner", "murmur2_random");
    let producer: ThreadedProducer<Left> = config.create_with_context(left.clone()).expect("it can be set up");
    producer.init_transactions(Duration::from_secs(60)).expect("Kafka answers");
    let started = Instant::now();
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |record: &&KafkaRecord| {
            bytes += bytes_of(record);
            bytes < BYTES_MAX
        };
        let count = rest.iter().take(EVENTS_MAX).take_while(fits).count().max(1);
        let (part, behind) = rest.split_at(count);
        *left.0.0.lock().expect("nobody panicked with it") = part.len();
        producer.begin_transaction().expect("it is ready");
        for record in part {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let headers = record
                .headers
                .iter()
                .fold(headers, |headers, (name, value)| headers.insert(Header { key: name, value: Some(value) }));
            let sent = BaseRecord::to("bare").key(&record.key).headers(headers).timestamp(record.timestamp_ms);
            let sent = sent.payload(record.value.as_deref().unwrap_or_default());
            producer.send(sent).map_err(|(error, _)| error).expect("it takes it");
        }
        let guard = left.0.0.lock().expect("nobody panicked with it");
        drop(left.0.1.wait_while(guard, |left| *left > 0).expect("nobody panicked with it"));
        producer.commit_transaction(Duration::from_secs(60)).expect("Kafka answers");
        rest = behind;
    }
    records.len() as f64 / started.elapsed().as_secs_f64()
}

pub fn measure(table: &mut Table) {
    let folder = Folder::new("bench-kafka");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    kafka.create(TOPIC, 4, &[("retention.ms", "-1")]);
    kafka.create("bare", 4, &[("retention.ms", "-1")]);
    let mut rig = Rig::new("bench-kafka-rig");
    rig.collector_extra = format!(
        "[[forward]]\nname = \"{NAME}\"\n[forward.kafka]\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\n",
        kafka.address
    );
    let (_collector, agent) = (rig.start_collector(), rig.start_agent());
    rig.wait_healthy();
    order_forward(&rig, NAME, "pause", None);
    append(&rig, EVENTS);
    assert!(agent.terminate().success(), "it stops");
    let mut rates = (0.0, 0.0);
    for round in 1..=ROUNDS {
        let sink = delivered_a_second(&rig, if round == 1 { "resume" } else { "rewind" });
        let mut records = kafka.read(TOPIC, Isolation::Committed);
        records.truncate(EVENTS as usize);
        rates = (sink, bare(&kafka, &records));
    }
    let (sink, bare) = rates;
    table.add("Kafka: events of the sink", sink, "events/s", Must::Shown);
    table.add("… of a bare librdkafka producer, the same records and transactions", bare, "events/s", Must::Shown);
    table.add("… the sink, of the bare producer", 100.0 * sink / bare, "%", Must::Least(50.0));
}

/// Gives the order that has everything delivered; the rate at which it is, from the first part on: the session with the
/// broker is begun once.
fn delivered_a_second(rig: &Rig, order: &str) -> f64 {
    let delivered = || report_forward(rig, NAME).and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
    let before = delivered();
    order_forward(rig, NAME, order, (order == "rewind").then(|| json!({ "to": "first" })));
    let (first, begun) = wait_for("it delivers", || {
        let now = delivered();
        (now > before).then(|| (now, Instant::now()))
    });
    wait_for("the events are there", || (delivered() >= before + EVENTS).then_some(()));
    let rate = (delivered() - first) as f64 / begun.elapsed().as_secs_f64();
    wait_delivered(rig, NAME);
    rate
}
