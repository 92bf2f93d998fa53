//! An event as a record: CloudEvents, Kafka protocol binding 1.0.
//!
//! | part of the record | binary mode | structured mode |
//! |---|---|---|
//! | key | the machine | the machine |
//! | headers | `ce_` and the name of each attribute; `content-type` of the data | `content-type` of the event |
//! | value | the data; none if the event has none | the event in JSON |
//! | time | ingest time | ingest time |
//!
//! Data is JSON; a text whose content type is not JSON is the text itself, and binary data its bytes.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::event::ForwardEvent;
use super::super::sink::Rejection;
use super::config::Mode;
use super::part::{NewRecord, RecordPart};
use crate::rfc3339::put_rfc3339;

const CONTENT_TYPE: &str = "content-type";
/// The content type of a whole event.
const EVENT_JSON: &str = "application/cloudevents+json; charset=utf-8";

/// Adds an event to a part.
///
/// # Errors
/// When it has no form as a record; then nothing was added.
pub(super) fn put(part: &mut RecordPart, event: &ForwardEvent<'_>, mode: Mode) -> Result<(), Rejection> {
    let timestamp_ms = event.ingest.map(|time| time.micros().div_euclid(1000));
    let mut record = part.begin(event.machine());
    if mode == Mode::Structured {
        record.header(CONTENT_TYPE, EVENT_JSON);
        record.finish(timestamp_ms, |bytes| {
            event.put_json(bytes);
            true
        });
        return Ok(());
    }
    if event.body().is_none() {
        return put_by_json(record, event, timestamp_ms);
    }
    put_attributes(&mut record, event);
    let mut data = Vec::new();
    let content_type = event.put_data(&mut data);
    record.header(CONTENT_TYPE, &content_type);
    let text = if is_json(&content_type) { None } else { serde_json::from_slice::<String>(&data).ok() };
    record.finish(timestamp_ms, |bytes| {
        bytes.extend_from_slice(text.as_ref().map_or(&data, |text| text.as_bytes()));
        true
    });
    Ok(())
}

/// The attributes of an event of an agent or of the collector, from its typed values.
fn put_attributes(record: &mut NewRecord<'_>, event: &ForwardEvent<'_>) {
    record.header("ce_specversion", "1.0");
    record.header("ce_id", event.id);
    record.header("ce_source", event.source);
    record.header("ce_type", event.kind);
    if let Some(subject) = event.subject {
        record.header("ce_subject", subject);
    }
    let times = [
        ("ce_time", event.time),
        ("ce_correctedtime", event.corrected),
        ("ce_recordedtime", event.recorded),
        ("ce_ingesttime", event.ingest),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            record.header_with(name, |bytes| put_rfc3339(bytes, time));
        }
    }
    if let Some((stream, epoch, sequence)) = event.lane {
        record.header_with("ce_sequence", |bytes| put_text(bytes, format_args!("{:020}", sequence.get())));
        record.header_with("ce_epoch", |bytes| put_text(bytes, format_args!("{epoch}")));
        record.header("ce_stream", stream.name());
    }
    record.header_with("ce_partition", |bytes| put_text(bytes, format_args!("{}", event.address.partition)));
    record.header_with("ce_offset", |bytes| put_text(bytes, format_args!("{}", event.address.offset)));
    record.header_with("ce_severitynumber", |bytes| put_text(bytes, format_args!("{}", event.severity)));
}

fn put_text(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    bytes.write_fmt(text).expect("a growing buffer takes any text");
}

/// An event with attributes of its maker, from its JSON.
fn put_by_json(
    mut record: NewRecord<'_>,
    event: &ForwardEvent<'_>,
    timestamp_ms: Option<i64>,
) -> Result<(), Rejection> {
    let mut json = Vec::new();
    event.put_json(&mut json);
    let attributes: Map<String, Value> = serde_json::from_slice(&json)
        .map_err(|error| Rejection(format!("the event is not a CloudEvent in JSON: {error}")))?;
    for (name, value) in &attributes {
        if ["data", "data_base64", "datacontenttype"].contains(&name.as_str()) || value.is_null() {
            continue;
        }
        let name = format!("ce_{name}");
        if name.len() > usize::from(u16::MAX) {
            return Err(Rejection("an attribute has a name that no header can have".to_owned()));
        }
        match value {
            Value::String(text) => record.header(&name, text),
            other => record.header(&name, &other.to_string()),
        }
    }
    let binary = attributes.get("data_base64").and_then(Value::as_str).map(|base64| STANDARD.decode(base64));
    let binary = binary.transpose().map_err(|error| Rejection(format!("data_base64: {error}")))?;
    let mut data = Vec::new();
    let content_type = event.put_data(&mut data);
    if binary.is_some() || !data.is_empty() {
        record.header(CONTENT_TYPE, &content_type);
    }
    let text = match attributes.get("data") {
        Some(Value::String(text)) if !is_json(&content_type) => Some(text.as_bytes()),
        _ => None,
    };
    let value = binary.as_deref().or(text).unwrap_or(&data);
    let has_value = binary.is_some() || text.is_some() || !data.is_empty();
    record.finish(timestamp_ms, |bytes| {
        bytes.extend_from_slice(value);
        has_value
    });
    Ok(())
}

/// Whether data of a content type is JSON (CloudEvents, JSON format, section 3.1).
fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = media.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    subtype == "json" || subtype.ends_with("+json")
}

#[cfg(test)]
mod tests;
