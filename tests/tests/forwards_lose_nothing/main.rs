//! The log in other systems: every event is at each destination, once where that is promised, and in the order of its
//! subject, whoever is killed and however a destination misbehaves.

mod certificates;
mod influx;
mod kafka;
mod mqtt;
mod parquet;
mod plant;
mod postgres;
mod webhook;
