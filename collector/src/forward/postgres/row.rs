//! An event as a row of a binary `COPY`: per column a length, and the value in PostgreSQL's binary format.

use std::collections::BTreeSet;

use afferent_protocol::event::Value;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::LogId;
use serde_json::{Map, Value as Json};

use super::super::event::{Content, ForwardEvent};
use super::super::sink::Rejection;
use super::schema::COLUMNS;
use crate::cloud_event::names;

/// What a binary `COPY` begins with: signature, flags, and the length of an extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of −1 columns.
pub(super) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_2000_US: i64 = 946_684_800_000_000;
pub(super) const DAY_US: i64 = 86_400_000_000;
/// Bytes from the beginning of a row to the id of its log.
const LOG_AT: usize = 2 + 4;
/// The length of a value that is missing.
const NULL: i32 = -1;

/// Attributes that have a column.
const IN_COLUMNS: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "subject",
    "time",
    "correctedtime",
    "type",
    "datacontenttype",
    "ingesttime",
    "partition",
    "offset",
    "severitynumber",
    "data",
    "data_base64",
];

/// The rows of a part.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// Where each row begins.
    starts: Vec<usize>,
    /// The days of their ingest times, counted from 1970.
    days: BTreeSet<i64>,
    /// The first offset.
    first: Option<Offset>,
}

impl Rows {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.days.clear();
        self.first = None;
    }

    pub fn count(&self) -> usize {
        self.starts.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn first(&self) -> Option<Offset> {
        self.first
    }

    pub fn days(&self) -> &BTreeSet<i64> {
        &self.days
    }

    /// Takes all rows as the body of a `COPY`, with the id of their log, and leaves none.
    pub fn take(&mut self, log: LogId) -> Vec<u8> {
        for start in &self.starts {
            self.bytes[start + LOG_AT..start + LOG_AT + log.len()].copy_from_slice(&log);
        }
        let mut body = std::mem::take(&mut self.bytes);
        body.extend_from_slice(TRAILER);
        self.clear();
        body
    }

    /// Adds an event.
    pub fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        let start = self.bytes.len();
        if let Err(rejection) = put(&mut self.bytes, event) {
            self.bytes.truncate(start);
            return Err(rejection);
        }
        self.starts.push(start);
        self.first = self.first.or(Some(event.address.offset));
        self.days.insert(ingest_of(event).micros().div_euclid(DAY_US));
        Ok(())
    }
}

/// The ingest time; 1970-01-01 for events that the log has lost, as the table is partitioned by it.
fn ingest_of(event: &ForwardEvent<'_>) -> Timestamp {
    event.ingest.unwrap_or_default()
}

fn put(out: &mut Vec<u8>, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
    out.extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
    put_bytes(out, &LogId::default());
    let partition = i32::try_from(event.address.partition.get());
    let partition = partition.map_err(|_| Rejection("its partition is more than an integer can hold".to_owned()))?;
    put_bytes(out, &partition.to_be_bytes());
    put_count(out, "offset", Some(event.address.offset.get()))?;
    put_text(out, "source", Some(event.source))?;
    put_text(out, "id", Some(event.id))?;
    put_text(out, "type", Some(event.kind))?;
    put_text(out, "subject", event.subject)?;
    put_text(out, "machine", Some(event.machine()))?;
    for time in [event.time, event.corrected, event.recorded, Some(ingest_of(event))] {
        put_time(out, time);
    }
    put_text(out, "stream", event.lane.map(|(stream, _, _)| stream.name()))?;
    put_epoch(out, event);
    put_count(out, "sequence", event.lane.map(|(_, _, sequence)| sequence.get()))?;
    put_bytes(out, &i16::from(event.severity).to_be_bytes());
    put_sample(out, event)?;
    put_data(out, event)
}

/// `value`, `wholevalue`, `unit` and `quality`.
fn put_sample(out: &mut Vec<u8>, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
    let sample = event.sample();
    let (value, whole) = match sample.map(|sample| sample.value) {
        Some(Value::Float(value)) => (Some(value), None),
        Some(Value::Integer(whole)) => (Some(whole as f64), Some(whole)),
        Some(Value::Bool(_) | Value::Text(_)) | None => (None, None),
    };
    put_number(out, value.map(f64::to_be_bytes));
    put_number(out, whole.map(i64::to_be_bytes));
    put_text(out, "unit", sample.map(|sample| sample.unit))?;
    put_text(out, "quality", sample.map(|sample| names::quality(sample.quality)))
}

/// `data`, `datacontenttype` and `extensions`.
fn put_data(out: &mut Vec<u8>, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
    let from = out.len();
    put_null(out);
    let content_type = event.put_data(out);
    let len = i32::try_from(out.len() - from - 4).expect("an event is smaller than 2 GiB");
    if len > 0 {
        out[from..from + 4].copy_from_slice(&len.to_be_bytes());
    }
    put_text(out, "datacontenttype", Some(&content_type))?;
    match &event.content {
        Content::Posted { .. } => put_extensions(out, event),
        Content::Record { .. } | Content::Unreadable { .. } | Content::Hole { .. } => {
            put_null(out);
            Ok(())
        }
    }
}

/// The attributes of a posted event that have no column.
fn put_extensions(out: &mut Vec<u8>, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
    let mut json = Vec::new();
    event.put_json(&mut json);
    let mut attributes: Map<String, Json> =
        serde_json::from_slice(&json).map_err(|error| Rejection(error.to_string()))?;
    attributes.retain(|name, _| !IN_COLUMNS.contains(&name.as_str()));
    if attributes.is_empty() {
        put_null(out);
    } else {
        put_bytes(out, &serde_json::to_vec(&attributes).expect("keys are texts"));
    }
    Ok(())
}

fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&NULL.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    let len = i32::try_from(value.len()).expect("an event is smaller than 2 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

fn put_number<const N: usize>(out: &mut Vec<u8>, value: Option<[u8; N]>) {
    match value {
        Some(value) => put_bytes(out, &value),
        None => put_null(out),
    }
}

/// A text. PostgreSQL has no zero character in texts.
fn put_text(out: &mut Vec<u8>, column: &str, value: Option<&str>) -> Result<(), Rejection> {
    let Some(value) = value else {
        put_null(out);
        return Ok(());
    };
    if value.as_bytes().contains(&0) {
        return Err(Rejection(format!("its {column} has a zero character, which PostgreSQL cannot store in a text")));
    }
    put_bytes(out, value.as_bytes());
    Ok(())
}

/// A number that only counts up. PostgreSQL has no unsigned ones.
fn put_count(out: &mut Vec<u8>, column: &str, value: Option<u64>) -> Result<(), Rejection> {
    let signed = value.map(|value| {
        let signed = i64::try_from(value);
        signed.map_err(|_| Rejection(format!("its {column} is {value}, which is more than a bigint can hold")))
    });
    put_number(out, signed.transpose()?.map(i64::to_be_bytes));
    Ok(())
}

fn put_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    put_number(out, time.map(|time| (time.micros() - EPOCH_2000_US).to_be_bytes()));
}

/// The epoch as everywhere outside the protocol: sixteen hexadecimal digits.
fn put_epoch(out: &mut Vec<u8>, event: &ForwardEvent<'_>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = event.lane.map(|(_, epoch, _)| {
        let mut digits = [0; 16];
        for (at, digit) in digits.iter_mut().enumerate() {
            *digit = DIGITS[(epoch.get() >> (60 - 4 * at)) as usize & 0xf];
        }
        digits
    });
    put_number(out, digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::address::{Addresses, Partition};

    fn addresses(first: u64) -> Addresses {
        Addresses { partition: Partition::new(3), offsets: Offset::new(first)..Offset::new(first.saturating_add(5)) }
    }

    fn event<'a>(addresses: &'a Addresses, source: &'a str) -> ForwardEvent<'a> {
        ForwardEvent {
            address: addresses.first(),
            source,
            id: "hole-7",
            kind: "afferent.unreadable.v1",
            subject: None,
            time: None,
            corrected: None,
            recorded: None,
            ingest: None,
            lane: None,
            severity: 17,
            content: Content::Hole { addresses, reason: "lost" },
        }
    }

    /// The values of all rows, as PostgreSQL's documentation of `COPY` says where they are.
    fn read(body: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
        assert_eq!(&body[..11], b"PGCOPY\n\xff\r\n\0");
        assert_eq!(body[11..19], [0; 8]);
        let (mut at, mut rows) = (19, Vec::new());
        let number = |from: usize| i32::from_be_bytes(body[from..from + 4].try_into().unwrap());
        loop {
            let columns = i16::from_be_bytes(body[at..at + 2].try_into().unwrap());
            at += 2;
            if columns == -1 {
                assert_eq!(at, body.len());
                return rows;
            }
            rows.push(Vec::new());
            for _ in 0..columns {
                let len = number(at);
                at += 4;
                let value = (len >= 0).then(|| body[at..at + len as usize].to_vec());
                at += value.as_ref().map_or(0, Vec::len);
                rows.last_mut().unwrap().push(value);
            }
        }
    }

    #[test]
    fn a_row_has_a_value_for_each_column_and_the_id_of_its_log() {
        let (first, second) = (addresses(7), addresses(12));
        let mut rows = Rows::default();
        rows.add(&event(&first, "log")).unwrap();
        rows.add(&event(&second, "log")).unwrap();
        assert_eq!((rows.count(), rows.first(), rows.days().clone()), (2, Some(Offset::new(7)), BTreeSet::from([0])));
        let read = read(&rows.take([0xab; 16]));
        assert_eq!((rows.count(), rows.bytes(), rows.first()), (0, 0, None), "nothing is left");
        for (row, offset) in read.iter().zip([7_i64, 12]) {
            assert_eq!(row.len(), COLUMNS.len());
            for (value, column) in row.iter().zip(&COLUMNS) {
                assert!(value.is_some() || !column.2, "{} always has a value", column.0);
            }
            assert_eq!(row[0].as_deref(), Some(&[0xab; 16][..]));
            assert_eq!(row[1].as_deref(), Some(&3_i32.to_be_bytes()[..]));
            assert_eq!(row[2].as_deref(), Some(&offset.to_be_bytes()[..]));
            assert_eq!(row[7].as_deref(), Some(&b"log"[..]), "without a subject the source counts");
            assert_eq!(row[11].as_deref(), Some(&(-EPOCH_2000_US).to_be_bytes()[..]), "1970 in place of no time");
        }
    }

    #[test]
    fn what_postgresql_cannot_hold_is_refused_and_leaves_nothing() {
        let mut rows = Rows::default();
        rows.add(&event(&addresses(1), "log")).unwrap();
        let before = rows.bytes();
        let zero = rows.add(&event(&addresses(2), "a\0b")).unwrap_err();
        assert!(zero.0.contains("its source has a zero character"), "{zero}");
        let large = rows.add(&event(&addresses(1 << 63), "log")).unwrap_err();
        assert!(large.0.contains("its offset is 9223372036854775808"), "{large}");
        assert_eq!((rows.count(), rows.bytes()), (1, before));
        assert_eq!(read(&rows.take([0; 16])).len(), 1);
    }
}
