//! The MQTT sink: events as messages at another broker, in a tree of topics. At least once; a message is delivered when
//! the broker has confirmed it (QoS 1).
//!
//! - `config`: `[forward.mqtt]`; `topic`: the topic of an event
//! - `connection`: a client of the broker, from its CONNACK to its end
//! - `sink`: parts of messages

mod config;
mod connection;
mod destination;
mod sink;
mod topic;

pub use config::MqttConfig;
