//! Events as CloudEvents 1.0 in structured JSON: the format of every output except the protocol.
//!
//! One event is one JSON object on one line:
//!
//! | attribute | value |
//! |---|---|
//! | `specversion` | `1.0` |
//! | `id` | `{stream}-{epoch}-{sequence}`, as `critical-00000000000000a1-42` |
//! | `source` | the agent's plain name, as `press-88`: its characters make it a relative URI reference |
//! | `subject` | the event's subject |
//! | `time` | event time, RFC 3339 in UTC with six decimals |
//! | `correctedtime` | event time by the collector's clock; only if the source's clock is not trusted: [`corrected`] |
//! | `type` | `afferent.sample.v1` and so on; of a derived event its maker's type |
//! | `datacontenttype` | `application/json`; `text/plain` for a derived event whose text is no JSON |
//! | `sequence` | twenty decimal digits, a string: the CloudEvents extension asks for one that sorts as text |
//! | `epoch` | sixteen hexadecimal digits |
//! | `stream` | `critical` or `samples` |
//! | `recordedtime` | the agent's clock when it made the batch |
//! | `ingesttime` | the collector's clock when it appended the batch |
//! | `partition` | the partition of the log, a number: 0 of the embedded engine; with `offset` the event's address |
//! | `offset` | decimal, a string: a CloudEvents Integer has 32 bits, and typed readers refuse more |
//! | `severitynumber` | OpenTelemetry's scale, 1 to 24 |
//! | `data` | an object per kind, see [`data`]; of a derived event its JSON itself |
//!
//! Posted events are rendered with the `source`, `id` and extensions of their maker ([`posted`]). `source` and `id`
//! together are the idempotency key. A batch that cannot be decoded is not skipped: it becomes one event of the type
//! [`UNREADABLE`].

pub mod data;
mod followed;
mod life_cycle;
pub mod names;
pub mod posted;
pub(crate) mod text;

use std::ops::Range;

use afferent_protocol::batch::Header;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;

pub use crate::kinds::UNREADABLE;
use crate::log::address::{Addresses, EventAddress, Partition};
use crate::models::order::{Correction, corrected};
use crate::rfc3339::Times;
pub use crate::rfc3339::put_rfc3339;
use text::{Decimal, put_decimal, put_json_string};

/// The `source` of the event that reports offsets lost by the log.
pub const HOLE_SOURCE: &str = "log";
/// The end of the `id` of an event that reports that a batch cannot be decoded.
const UNREADABLE_SUFFIX: &str = "-unreadable";

/// Renders the events of an entry one after the other; the part that they share is rendered once.
#[derive(Debug, Default)]
pub struct EventRenderer {
    /// The bytes up to the sequence in the id.
    opening: Vec<u8>,
    /// The bytes from the end of the id up to the subject.
    origin: Vec<u8>,
    /// The bytes from the end of the sequence up to the offset.
    lineage: Vec<u8>,
    first_sequence: u64,
    partition: Partition,
    first_offset: u64,
    /// The entry's ingest time.
    ingest: Vec<u8>,
    /// The clock offsets that correct the times of its events.
    clocks: Option<(Header, EntryHead)>,
    times: Times,
    sequence: Decimal,
    offset: Decimal,
    /// Whether the collector itself wrote the entry, so that its derived events were posted.
    is_own: bool,
}

impl EventRenderer {
    /// A writer without an entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the collector itself wrote the next entry.
    pub fn set_own(&mut self, is_own: bool) {
        self.is_own = is_own;
    }

    /// Sets the entry of the next events.
    pub fn entry(&mut self, partition: Partition, head: &EntryHead, batch: &Header) {
        self.first_sequence = batch.first.get();
        self.partition = partition;
        self.first_offset = head.ordinal;
        self.clocks = Some((*batch, *head));
        let epoch = format!("{}", batch.epoch);
        self.opening.clear();
        self.opening.extend_from_slice(br#"{"specversion":"1.0","id":""#);
        put_all(&mut self.opening, &[batch.stream.name(), "-", &epoch, "-"]);
        self.origin.clear();
        put_all(&mut self.origin, &[r#"","source":""#, batch.source.as_str(), r#"","subject":"#]);
        self.lineage.clear();
        put_all(&mut self.lineage, &[r#"","epoch":""#, &epoch, r#"","stream":""#, batch.stream.name()]);
        self.lineage.extend_from_slice(br#"","recordedtime":""#);
        put_rfc3339(&mut self.lineage, batch.clock.wall);
        self.lineage.extend_from_slice(br#"","ingesttime":""#);
        self.ingest.clear();
        put_rfc3339(&mut self.ingest, head.stamp);
        self.lineage.extend_from_slice(&self.ingest);
        self.lineage.extend_from_slice(br#"","partition":"#);
        put_decimal(&mut self.lineage, partition.get().into());
        self.lineage.extend_from_slice(br#","offset":""#);
    }

    /// The offset of a record of this entry.
    pub fn offset(&self, record: &Record<'_>) -> Offset {
        Offset::new(self.first_offset + (record.sequence.get() - self.first_sequence))
    }

    /// The corrected time of an event of this entry, where it differs from the source's.
    fn corrected(&self, time: Timestamp) -> Option<Timestamp> {
        let (batch, head) = self.clocks.as_ref()?;
        let (corrected, correction) = corrected(time, batch, head.stamp, head.clock_offset_us());
        (correction != Correction::None).then_some(corrected)
    }

    /// Appends the JSON of a record of this entry, without a line end and without characters that a reader takes for
    /// one.
    pub fn put(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let from = out.len();
        self.put_event(out, record);
        text::escape_line_ends(out, from);
    }

    fn put_event(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let event = &record.event;
        let body = &event.body;
        if let (true, Body::Derived(derived)) = (self.is_own, body) {
            let address = EventAddress { partition: self.partition, offset: self.offset(record) };
            let (subject, time) = (event.subject.as_str(), event.time);
            let (kind, ingest, corrected) = (derived.kind, &self.ingest, self.corrected(time));
            let envelope = posted::PostedEnvelope { subject, time, corrected, kind, address, ingest };
            return posted::put(out, &envelope, derived.json);
        }
        let content = data::content_of(body);
        let envelope = Envelope {
            sequence: record.sequence.get(),
            id_suffix: "",
            subject: event.subject.as_str(),
            time: event.time,
            corrected: self.corrected(event.time),
            kind: type_of(body),
            content_type: content.content_type(),
            offset: self.offset(record).get(),
            severity: body.severity().number(),
        };
        self.put_envelope(out, &envelope);
        content.put(out);
        out.push(b'}');
    }

    /// Appends an event that reports that the entry's batch cannot be decoded from `record` on.
    ///
    /// Its id ends in `-unreadable`, so that it does not replace the real event once a newer reader decodes it.
    pub fn put_unreadable(&mut self, out: &mut Vec<u8>, batch: &Header, index: u32, reason: &str) {
        let envelope = Envelope {
            sequence: self.first_sequence + u64::from(index),
            id_suffix: UNREADABLE_SUFFIX,
            subject: batch.source.as_str(),
            time: batch.time_first,
            corrected: None,
            kind: UNREADABLE,
            content_type: data::JSON,
            offset: self.first_offset + u64::from(index),
            severity: 17,
        };
        self.put_envelope(out, &envelope);
        put_missing(out, u64::from(batch.count.saturating_sub(index)), reason);
        out.push(b'}');
    }

    fn put_envelope(&mut self, out: &mut Vec<u8>, envelope: &Envelope<'_>) {
        self.sequence.turn_to(envelope.sequence);
        self.offset.turn_to(envelope.offset);
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(self.sequence.plain());
        out.extend_from_slice(envelope.id_suffix.as_bytes());
        out.extend_from_slice(&self.origin);
        put_json_string(out, envelope.subject);
        out.extend_from_slice(br#","time":""#);
        out.extend_from_slice(self.times.text(envelope.time));
        put_corrected(out, envelope.corrected);
        out.extend_from_slice(br#"","type":"#);
        put_json_string(out, envelope.kind);
        out.extend_from_slice(br#","datacontenttype":""#);
        out.extend_from_slice(envelope.content_type.as_bytes());
        out.extend_from_slice(br#"","sequence":""#);
        out.extend_from_slice(self.sequence.padded());
        out.extend_from_slice(&self.lineage);
        out.extend_from_slice(self.offset.plain());
        out.extend_from_slice(br#"","severitynumber":"#);
        put_decimal(out, u64::from(envelope.severity));
        out.extend_from_slice(br#","data":"#);
    }
}

fn put_corrected(out: &mut Vec<u8>, corrected: Option<Timestamp>) {
    if let Some(time) = corrected {
        out.extend_from_slice(br#"","correctedtime":""#);
        put_rfc3339(out, time);
    }
}

/// Appends the `data` of an event that stands for events that cannot be read.
pub(crate) fn put_missing(out: &mut Vec<u8>, count: u64, reason: &str) {
    out.extend_from_slice(br#"{"count":"#);
    put_decimal(out, count);
    out.extend_from_slice(br#","reason":"#);
    put_json_string(out, reason);
    out.push(b'}');
}

/// The `id` of an event that reports that a batch cannot be decoded from this index on.
pub(crate) fn unreadable_id(batch: &Header, index: u32) -> String {
    let sequence = batch.first.get() + u64::from(index);
    format!("{}-{}-{sequence}{UNREADABLE_SUFFIX}", batch.stream.name(), batch.epoch)
}

/// The `id` of an event that reports offsets lost by the log.
pub(crate) fn hole_id(addresses: &Addresses) -> String {
    let Addresses { partition, offsets: Range { start: first, end } } = addresses;
    // Holes of partition 0 keep the ids from before there were more partitions.
    let of = if *partition == Partition::EMBEDDED { String::new() } else { format!("{partition}-") };
    format!("hole-{of}{first}-{end}")
}

/// Appends an event that reports offsets lost by the log. The sources and times of their events are unknown: it has no
/// `time`, and its source is the log.
pub fn put_hole(out: &mut Vec<u8>, addresses: &Addresses, reason: &str) {
    let Addresses { partition, offsets: Range { start: first, .. } } = addresses;
    let head = format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{id}","source":"log","type":"{kind}","#,
            r#""datacontenttype":"application/json","partition":{partition},"offset":"{first}","severitynumber":17,"#,
            r#""data":"#
        ),
        id = hole_id(addresses),
        partition = partition,
        first = first,
        kind = UNREADABLE,
    );
    out.extend_from_slice(head.as_bytes());
    put_missing(out, addresses.count(), reason);
    out.push(b'}');
}

/// The attributes that differ from event to event.
struct Envelope<'a> {
    sequence: u64,
    id_suffix: &'static str,
    subject: &'a str,
    time: Timestamp,
    corrected: Option<Timestamp>,
    kind: &'a str,
    content_type: &'static str,
    offset: u64,
    severity: u8,
}

/// The CloudEvents `type`: of a derived event its maker's.
pub fn type_of<'a>(body: &Body<'a>) -> &'a str {
    match body {
        Body::Derived(derived) if !derived.kind.is_empty() => derived.kind,
        _ => body.kind().type_name(),
    }
}

fn put_all(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

#[cfg(test)]
mod tests;
