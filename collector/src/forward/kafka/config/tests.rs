use super::*;

fn read(text: &str) -> Result<String, String> {
    let config: KafkaConfig = toml::from_str(text).map_err(|error| error.to_string())?;
    config.destination().map(|destination| destination.target)
}

fn with(more: &str) -> Result<String, String> {
    read(&format!("brokers = [\"a:9092\", \"b:9093\"]\ntopic = \"events\"\n{more}"))
}

#[test]
fn the_destination_is_named_by_brokers_and_topic() {
    assert_eq!(with("").unwrap(), "kafka://a:9092,b:9093/events");
    let all = "mode = \"structured\"\ncompression = \"gzip\"\ncreate = { partitions = 12, replication = 3 }\n\
               checkpoint_topic = \"cp\"\ntimeout_s = 10\n[properties]\n\"linger.ms\" = 20\n\"client.id\" = \"plant-7\"\n\
               \"socket.nagle.disable\" = true";
    assert_eq!(with(all).unwrap(), "kafka://a:9092,b:9093/events");
}

#[test]
fn what_cannot_work_is_refused_by_its_key_with_what_to_do() {
    for (more, words) in [
        ("timeout_s = 0.5", ["timeout_s is 0.5", "from 1 to 300"]),
        ("checkpoint_topic = \"events\"", ["topic and checkpoint_topic are the same", "choose another"]),
        ("create = { partitions = 0, replication = 1 }", ["create:", "at least 1"]),
        ("compression = \"zstd\"", ["built without the feature `kafka-zstd`", "use \"lz4\""]),
        ("[properties]\n\"acks\" = 1", ["properties: \"acks\" cannot be set", "exactly-once"]),
        ("[properties]\n\"transactional.id\" = \"x\"", ["\"transactional.id\" cannot be set", "remove it"]),
        ("[properties]\n\"topic.partitioner\" = \"random\"", ["\"topic.partitioner\" cannot be set", "one partition"]),
        ("[properties]\n\"linger.sm\" = 5", ["properties: \"linger.sm\"", "No such configuration property"]),
        ("[properties]\n\"linger.ms\" = \"soon\"", ["properties: \"linger.ms\"", "Invalid value"]),
    ] {
        if cfg!(feature = "kafka-zstd") && more.contains("zstd") {
            continue;
        }
        let error = with(more).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{more}: {error}");
    }
    for brokers in ["", "a", "a:0", "a:x", ":9092", "http://a:9092", "a:9092 b:9092"] {
        let error = read(&format!("brokers = [{brokers:?}]\ntopic = \"t\"")).unwrap_err();
        assert!(error.contains("brokers") && error.contains("host:9092"), "{error}");
    }
    for topic in ["", ".", "a/b", "ä", &"x".repeat(250)] {
        let error = read(&format!("brokers = [\"a:1\"]\ntopic = {topic:?}")).unwrap_err();
        assert!(error.contains("is not a topic's name"), "{error}");
    }
}

#[test]
fn a_secret_is_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2").unwrap();
    let sasl =
        format!("sasl = {{ mechanism = \"SCRAM-SHA-512\", user = \"afferent\", password = {{ file = {path:?} }} }}");
    match with(&sasl) {
        Ok(target) => assert!(cfg!(feature = "kafka-tls") && !target.contains("hunter2")),
        Err(error) => {
            assert!(!cfg!(feature = "kafka-tls"), "{error}");
            assert!(error.contains("sasl: ") && error.contains("--features kafka-tls"), "{error}");
        }
    }
    let error = with("sasl = { mechanism = \"PLAIN\", user = \"a\", password = \"hunter2\" }").unwrap_err();
    assert!(error.contains("a secret does not stand in the configuration"), "{error}");
    let error = with("[properties]\n\"sasl.password\" = \"hunter2\"").unwrap_err();
    assert!(error.contains("set `sasl`") && !error.contains("hunter2"), "{error}");
}
