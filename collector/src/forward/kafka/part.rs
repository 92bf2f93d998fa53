//! The records of one transaction, in one buffer.
//!
//! Each record is its key, its headers (for each: length of the name in two bytes and of the value in four, little
//! endian, then both) and its value, one behind the other.

use rdkafka::message::{Header, OwnedHeaders};

/// The records that are sent next.
#[derive(Default)]
pub(super) struct RecordPart {
    bytes: Vec<u8>,
    records: Vec<Bounds>,
}

/// Where the pieces of a record end in the buffer.
#[derive(Clone, Copy)]
struct Bounds {
    key_end: usize,
    headers_end: usize,
    end: usize,
    header_count: usize,
    has_value: bool,
    timestamp_ms: Option<i64>,
}

/// A record as it is sent.
pub(super) struct SentRecord<'a> {
    pub key: &'a [u8],
    /// `None` for an event without data.
    pub value: Option<&'a [u8]>,
    pub headers: OwnedHeaders,
    /// `None` leaves the time to the producer.
    pub timestamp_ms: Option<i64>,
}

impl RecordPart {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<Bounds>()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Begins a record; nothing of it is kept until [`NewRecord::finish`].
    pub fn begin(&mut self, key: &str) -> NewRecord<'_> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(key.as_bytes());
        let (key_end, header_count) = (self.bytes.len(), 0);
        NewRecord { part: self, from, key_end, header_count, is_finished: false }
    }

    /// The record at an index.
    pub fn get(&self, index: usize) -> SentRecord<'_> {
        let from = index.checked_sub(1).map_or(0, |before| self.records[before].end);
        let Bounds { key_end, headers_end, end, header_count, has_value, timestamp_ms } = self.records[index];
        let mut headers = OwnedHeaders::new_with_capacity(header_count);
        let mut rest = &self.bytes[key_end..headers_end];
        while let Some((name, value, behind)) = next_header(rest) {
            headers = headers.insert(Header { key: name, value: Some(value) });
            rest = behind;
        }
        assert!(rest.is_empty(), "headers are written whole");
        let value = has_value.then(|| &self.bytes[headers_end..end]);
        SentRecord { key: &self.bytes[from..key_end], value, headers, timestamp_ms }
    }

    /// Bytes of the record at an index.
    pub fn record_bytes(&self, index: usize) -> usize {
        let from = index.checked_sub(1).map_or(0, |before| self.records[before].end);
        self.records[index].end - from
    }
}

/// Splits the first header off: its name, its value, and the rest.
fn next_header(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (name_len, rest) = bytes.split_first_chunk::<2>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len).into())?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    Some((std::str::from_utf8(name).ok()?, value, rest))
}

/// A record that is being written: headers first, then the value.
pub(super) struct NewRecord<'a> {
    part: &'a mut RecordPart,
    from: usize,
    key_end: usize,
    header_count: usize,
    is_finished: bool,
}

impl NewRecord<'_> {
    /// Adds a header; `put` appends its value.
    pub fn header_with(&mut self, name: &str, put: impl FnOnce(&mut Vec<u8>)) {
        let bytes = &mut self.part.bytes;
        let name_len = u16::try_from(name.len()).expect("the log bounds the names of attributes");
        bytes.extend_from_slice(&name_len.to_le_bytes());
        let at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(name.as_bytes());
        let from = bytes.len();
        put(bytes);
        let value_len = u32::try_from(bytes.len() - from).expect("the log bounds an event");
        bytes[at..at + 4].copy_from_slice(&value_len.to_le_bytes());
        self.header_count += 1;
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: &str) {
        self.header_with(name, |bytes| bytes.extend_from_slice(value.as_bytes()));
    }

    /// Ends the record with its value, which `put` appends; `put` returns whether there is one.
    pub fn finish(mut self, timestamp_ms: Option<i64>, put: impl FnOnce(&mut Vec<u8>) -> bool) {
        let part = &mut *self.part;
        let headers_end = part.bytes.len();
        let has_value = put(&mut part.bytes);
        let (key_end, header_count, end) = (self.key_end, self.header_count, part.bytes.len());
        part.records.push(Bounds { key_end, headers_end, end, header_count, has_value, timestamp_ms });
        self.is_finished = true;
    }
}

impl Drop for NewRecord<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.part.bytes.truncate(self.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;

    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_and_unfinished_ones_leave_nothing() {
        let mut part = RecordPart::default();
        let mut first = part.begin("88-C");
        first.header("ce_id", "1");
        first.header("ce_subject", "");
        first.finish(Some(7), |bytes| {
            bytes.extend_from_slice(b"{}");
            true
        });
        let bytes = part.memory();
        let mut dropped = part.begin("never");
        dropped.header("ce_id", "2");
        drop(dropped);
        assert_eq!(part.memory(), bytes);
        part.begin("").finish(None, |_| false);

        assert_eq!(part.len(), 2);
        let record = part.get(0);
        assert_eq!((record.key, record.value, record.timestamp_ms), (&b"88-C"[..], Some(&b"{}"[..]), Some(7)));
        let headers: Vec<_> = record.headers.as_borrowed().iter().map(|header| (header.key, header.value)).collect();
        assert_eq!(headers, [("ce_id", Some(&b"1"[..])), ("ce_subject", Some(&b""[..]))]);
        let record = part.get(1);
        assert_eq!((record.key, record.value, record.timestamp_ms), (&b""[..], None, None));
        part.clear();
        assert_eq!((part.len(), part.memory()), (0, 0));
    }
}
