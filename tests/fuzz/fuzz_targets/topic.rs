//! A topic: what is parsed is made again as it was, and names follow their own rules.
#![no_main]

use afferent_protocol::ids::{SourceId, Subject};
use afferent_protocol::topic::{SHARDS, Topic, shard};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(topic) = Topic::parse(text) {
        assert_eq!(topic.text().as_str(), text);
        assert!(shard(&topic.agent) < SHARDS);
    }
    if let Ok(source) = SourceId::new(text) {
        assert_eq!(source.as_str(), text);
        assert!(!text.contains(['/', '+', '#', '\0']));
    }
    if let Ok(subject) = Subject::new(text) {
        assert!(!subject.as_str().split('/').any(str::is_empty));
    }
});
