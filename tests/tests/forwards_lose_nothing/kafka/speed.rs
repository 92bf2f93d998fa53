//! How fast the sink is beside a bare producer that sends the same records in the same transactions.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use afferent_tests::process::{Folder, Isolation, Kafka, KafkaRecord, wait_for, write_log};
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::super::plant::{order, report, wait_delivered};
use super::{TOPIC, rig};

/// MiB of log that are delivered.
const LOG_MIB: u64 = 16;
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

#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn the_sink_beside_a_bare_producer() {
    let folder = Folder::new("kafka-speed");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    kafka.create(TOPIC, 4, &[("retention.ms", "-1")]);
    kafka.create("bare", 4, &[("retention.ms", "-1")]);
    let rig = rig("kafka-speed-rig", &kafka, "", "");
    let _collector = rig.start_collector();
    wait_for("it has begun", || report(&rig, "kafka").filter(|report| report["state"] == "running"));
    order(&rig, "kafka", "pause", None);
    {
        let _agent = rig.start_agent();
        write_log(&rig, LOG_MIB);
    }
    for round in 1..=3 {
        if round > 1 {
            order(&rig, "kafka", "pause", None);
            order(&rig, "kafka", "rewind", Some(serde_json::json!({ "to": "first" })));
        }
        let delivered = || report(&rig, "kafka").and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
        let before = delivered();
        order(&rig, "kafka", "resume", None);
        let (begun, started) = wait_for("it delivers", || {
            let now = delivered();
            (now > before).then(|| (now, Instant::now()))
        });
        wait_delivered(&rig, "kafka");
        let sink = (delivered() - begun) as f64 / started.elapsed().as_secs_f64();
        let mut records = kafka.read(TOPIC, Isolation::Committed);
        records.truncate((delivered() - before) as usize);
        let bare = bare(&kafka, &records);
        println!("round {round}: sink {sink:.0} events/s, bare producer {bare:.0}/s, ratio {:.2}", sink / bare);
    }
}
