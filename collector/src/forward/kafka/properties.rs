//! Settings of librdkafka that pass through, except those that this sink decides.

use serde::Deserialize;

/// The value of a setting of librdkafka.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Property {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// Any text.
    Text(String),
}

#[cfg(feature = "kafka")]
impl Property {
    /// As librdkafka reads it.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Switch(switch) => switch.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Settings that are not for `properties`, and why.
#[cfg(feature = "kafka")]
const DECIDED: &[(&[&str], &str)] = &[
    (&["transactional.id", "enable.idempotence", "enable.gapless.guarantee"], EXACTLY_ONCE),
    (&["acks", "request.required.acks"], EXACTLY_ONCE),
    (&["message.send.max.retries", "retries"], EXACTLY_ONCE),
    (&["isolation.level", "group.id", "group.instance.id", "group.protocol"], EXACTLY_ONCE),
    (&["enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "enable.partition.eof"], EXACTLY_ONCE),
    (&["transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms", "socket.timeout.ms"], TIMEOUTS),
    (&["request.timeout.ms"], TIMEOUTS),
    (&["partitioner", "sticky.partitioning.linger.ms"], "records of one machine keep to one partition"),
    (&["queuing.strategy", "queue.buffering.max.messages", "queue.buffering.max.kbytes"], MEMORY),
    (
        &["queued.max.messages.kbytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "fetch.max.bytes"],
        MEMORY,
    ),
    (&["message.max.bytes", "batch.size", "batch.num.messages"], "they follow from the topic's max.message.bytes"),
    (&["bootstrap.servers", "metadata.broker.list"], "set `brokers`"),
    (&["compression.codec", "compression.type"], "set `compression`"),
    (&["allow.auto.create.topics"], "set `create`"),
    (&["security.protocol"], "set `tls` and `sasl`"),
    (&["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"], "set `tls`"),
    (&["sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"], "set `sasl`"),
    (&["ssl.key.password", "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret"], SECRET),
    (&["sasl.oauthbearer.config"], SECRET),
    (&["plugin.library.paths", "opaque", "dr_msg_cb"], "it would run other code in the collector"),
];
#[cfg(feature = "kafka")]
const EXACTLY_ONCE: &str = "another value would break exactly-once delivery";
#[cfg(feature = "kafka")]
const TIMEOUTS: &str = "set `timeout_s`";
#[cfg(feature = "kafka")]
const MEMORY: &str = "it bounds the collector's memory";
#[cfg(feature = "kafka")]
const SECRET: &str = "a secret does not stand in the configuration";

/// Checks that a setting is not one that this sink decides.
#[cfg(feature = "kafka")]
pub(super) fn check(name: &str) -> Result<(), String> {
    let plain = name.strip_prefix("topic.").unwrap_or(name);
    if let Some((_, why)) = DECIDED.iter().find(|(names, _)| names.contains(&plain)) {
        return Err(format!("properties: {name:?} cannot be set ({why}); remove it"));
    }
    let is_secure = ["ssl.", "sasl.", "enable.ssl.", "enable.sasl."].iter().any(|prefix| plain.starts_with(prefix));
    if is_secure && !cfg!(feature = "kafka-tls") {
        return Err(format!(
            "properties: {name:?}: this collector was built without the feature `kafka-tls`; build it with `--features \
             kafka-tls`"
        ));
    }
    Ok(())
}
