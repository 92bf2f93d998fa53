//! What arrives, to the bit, and the configuration of the README.

use afferent_tests::process::{Folder, Isolation, Kafka, Rig, run_to_end};
use serde_json::Value;

use super::super::plant::{Promise, check, configuration, wait_delivered};
use super::{CREATE, TOPIC, arrived, rig};

const README: &str = include_str!("../../../../collector/src/forward/kafka/README.md");
const PARTITIONS: u32 = 4;

/// Lines of several machines with every kind of value.
const LINES: &str = concat!(
    "{\"subject\":\"88-C/temperature\",\"value\":81.4,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":-0.0,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/temperature\",\"value\":5e-324,\"unit\":\"Cel\"}\n",
    "{\"subject\":\"88-C/count\",\"value\":9223372036854775807,\"unit\":\"1\"}\n",
    "{\"subject\":\"77-A/door\",\"value\":true,\"unit\":\"1\"}\n",
    "{\"subject\":\"77-A/recipe\",\"value\":\"Ä \\\"x\\\"\\n\\u2028\",\"unit\":\"1\"}\n",
    "{\"subject\":\"Öl/1\",\"type\":\"breakdown\",\"code\":\"E42\",\"message\":\"Riß\"}\n",
);

fn send_lines(rig: &Rig) {
    let mut producer = rig.producer();
    producer.send(LINES.as_bytes()).expect("the agent reads");
    producer.wait_accepted(LINES.lines().count() as u64).expect("the agent answers");
}

/// The hash of Kafka's Java clients, by its definition (Austin Appleby's murmur2 with the seed 0x9747b28c).
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let chunks = bytes.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("four bytes")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        rest.iter().enumerate().for_each(|(at, byte)| hash ^= u32::from(*byte) << (8 * at));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[test]
fn records_are_the_events_of_the_log_to_the_bit_and_lie_where_javas_clients_look_for_them() {
    // From the tests of Kafka's own clients.
    assert_eq!(
        [&b"21"[..], b"foobar", b"a-little-bit-long-string"].map(|key| murmur2(key) as i32),
        [-973_932_308, -790_332_482, -985_981_536]
    );
    let folder = Folder::new("kafka-form");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    let mut rig = rig("kafka-form-rig", &kafka, "", CREATE);
    let second = super::configured(&kafka, "", &format!("{CREATE}mode = \"structured\""));
    rig.collector_extra += &second.replace("\"kafka\"", "\"json\"").replace("\"events\"", "\"json\"");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    send_lines(&rig);
    rig.wait_logged("E42");
    wait_delivered(&rig, "kafka");
    wait_delivered(&rig, "json");
    let logged = rig.events();
    check(&logged, &arrived(&kafka, Isolation::Committed), Promise::Once);

    let text = afferent_tests::process::get_text(rig.http, "/v1/events?from=0&limit=50000").expect("the API answers");
    let lines: Vec<&str> = text.lines().collect();
    for record in kafka.read("json", Isolation::Committed) {
        let value = record.value.as_deref().expect("an event");
        assert!(lines.contains(&value), "the same bytes as in the API: {value}");
        assert_eq!(record.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    }
    assert_eq!(kafka.read("json", Isolation::Committed).len(), logged.len());

    for record in kafka.read(TOPIC, Isolation::Committed) {
        let event = logged.iter().find(|event| event["offset"].as_str() == record.header("ce_offset"));
        let event = event.unwrap_or_else(|| panic!("it is in the log: {record:?}")).as_object().expect("an object");
        for (name, value) in event {
            match name.as_str() {
                "data" => {
                    let line = lines.iter().find(|line| line.contains(&format!("\"offset\":{}", event["offset"])));
                    let data = record.value.as_deref().expect("data");
                    assert!(line.expect("it is in the log").ends_with(&format!("\"data\":{data}}}")), "{data}");
                }
                "datacontenttype" => assert_eq!(record.header("content-type"), value.as_str()),
                _ => {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    assert_eq!(record.header(&format!("ce_{name}")), Some(&*text), "{name}");
                }
            }
        }
        assert_eq!(record.headers.len(), event.len() - 1, "and no other headers: {record:?}");
        let machine = event.get("subject").and_then(Value::as_str).unwrap_or_default().split('/').next();
        assert_eq!(Some(&*record.key), machine);
        let partition = (murmur2(record.key.as_bytes()) & 0x7fff_ffff) % PARTITIONS;
        assert_eq!(record.partition, i64::from(partition), "{}", record.key);
        let ingest: jiff::Timestamp = event["ingesttime"].as_str().expect("a time").parse().expect("a time");
        assert_eq!(record.timestamp_ms, ingest.as_millisecond());
    }
}

#[test]
fn the_readmes_configuration_works_as_it_is() {
    let folder = Folder::new("kafka-readme");
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    let mut rig = Rig::new("kafka-readme-rig");
    let address = format!("[\"{}\"]", kafka.address);
    rig.collector_extra = configuration(
        README,
        0,
        &[("[\"kafka-1.example:9092\", \"kafka-2.example:9092\"]", &address), ("replication = 3", "replication = 1")],
    );
    let run = rig.collector_command();
    let config: Vec<_> = run.get_args().skip(1).collect();
    let (status, said) =
        run_to_end(std::process::Command::new(run.get_program()).args(["check", "--connect", "--reload"]).args(config));
    assert!(status.success() && said.contains("answers; the topic is made at the start"), "{said}");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    send_lines(&rig);
    rig.wait_logged("E42");
    wait_delivered(&rig, "to-kafka");
    let records = kafka.read("afferent", Isolation::Committed);
    let logged = rig.events();
    assert_eq!(records.len(), logged.len());
}
