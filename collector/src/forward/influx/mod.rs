//! The InfluxDB sink: events as lines of line protocol over HTTP, for InfluxDB, VictoriaMetrics and others. At
//! least once; a repeated event overwrites itself, as its series and its time to the nanosecond are always the same.
//!
//! - `config`: `[forward.influx]`
//! - `line`: from an event to a line; `escape`: texts in lines; `time`: nanoseconds
//! - `sink`: requests; `answer`: what the status of an answer means

mod answer;
mod config;
mod destination;
mod escape;
mod line;
mod sink;
mod time;

pub use config::InfluxConfig;
