//! The Kafka sink: events as records of a topic, exactly once. The checkpoint is a record of a compacted topic, written
//! in the same transaction as the events.
//!
//! - `config`: `[forward.kafka]`; `properties`: settings of librdkafka that pass through
//! - `record`: an event as a record (CloudEvents, Kafka protocol binding); `part`: the records of one transaction
//! - `client`: librdkafka's clients and what they report
//! - `topics`: what the cluster must have; `checkpoints`: the newest committed one
//! - `session`: one producer, from its opening to its first doubtful outcome; `sink`: transactions
//! - `fault`: errors of Kafka with their remedies

mod config;
mod destination;
mod properties;

#[cfg(feature = "kafka")]
mod checkpoints;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod fault;
#[cfg(feature = "kafka")]
mod part;
#[cfg(feature = "kafka")]
mod record;
#[cfg(feature = "kafka")]
mod session;
#[cfg(feature = "kafka")]
mod sink;
#[cfg(feature = "kafka")]
mod topics;

pub use config::{Compression, KafkaConfig, Mode, NewTopicConfig, Sasl, Tls};
pub use properties::Property;

/// Debug builds write the checkpoint in a transaction of its own, behind the next part, when this variable is set: then
/// events come twice after a kill. Release builds ignore it.
pub const PLANTED_CHECKPOINT_OUTSIDE: &str = "AFFERENT_PLANTED_KAFKA_CHECKPOINT_OUTSIDE";
