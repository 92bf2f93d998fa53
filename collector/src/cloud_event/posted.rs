//! Events that were posted to the collector: derived events of its own source, whose JSON document holds their maker's
//! attributes: `source`, `id`, extensions, `datacontenttype`, and `data` or `data_base64`.
//!
//! They are rendered as the posted CloudEvents with the attributes that the log adds: `partition`, `offset`,
//! `ingesttime`, and `correctedtime` where their time is not trusted.

use std::borrow::Cow;

use afferent_protocol::ids::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{put_decimal, put_json_string};
use crate::log::address::EventAddress;
use crate::rfc3339::put_rfc3339;

/// Attributes that the log adds; a posted event must not have them.
pub const OF_THE_LOG: [&str; 4] = ["partition", "offset", "ingesttime", "correctedtime"];

/// The attributes of a posted event that filters need before it is rendered.
#[derive(Debug, Deserialize)]
pub struct Posted<'a> {
    /// The maker of the event.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// The maker's id of the event.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Severity on OpenTelemetry's scale.
    #[serde(default)]
    pub severitynumber: u8,
}

impl<'a> Posted<'a> {
    /// Reads the document of a posted event; `None` if it is not such a document.
    pub fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// The log's attributes of a posted event.
pub(super) struct PostedEnvelope<'a> {
    pub subject: &'a str,
    pub time: Timestamp,
    pub corrected: Option<Timestamp>,
    pub kind: &'a str,
    pub address: EventAddress,
    pub ingest: &'a [u8],
}

/// Whether a document has a `partition` of its maker: documents posted before the log added that attribute may.
fn has_own_partition(json: &str) -> bool {
    #[derive(Deserialize)]
    struct OwnAttributes {
        partition: Option<serde::de::IgnoredAny>,
    }
    json.contains(r#""partition""#)
        && serde_json::from_str::<OwnAttributes>(json).is_ok_and(|own| own.partition.is_some())
}

/// Appends the CloudEvent: the log's members, then the members of its document unchanged.
pub(super) fn put(out: &mut Vec<u8>, envelope: &PostedEnvelope<'_>, json: &str) {
    out.extend_from_slice(br#"{"specversion":"1.0","subject":"#);
    put_json_string(out, envelope.subject);
    out.extend_from_slice(br#","time":""#);
    put_rfc3339(out, envelope.time);
    super::put_corrected(out, envelope.corrected);
    out.extend_from_slice(br#"","type":"#);
    put_json_string(out, envelope.kind);
    out.extend_from_slice(br#","ingesttime":""#);
    out.extend_from_slice(envelope.ingest);
    out.push(b'"');
    if !has_own_partition(json) {
        out.extend_from_slice(br#","partition":"#);
        put_decimal(out, envelope.address.partition.get().into());
    }
    out.extend_from_slice(br#","offset":""#);
    put_decimal(out, envelope.address.offset.get());
    out.extend_from_slice(br#"","#);
    out.extend_from_slice(json.strip_prefix('{').unwrap_or("}").as_bytes());
}

/// Appends the JSON of a posted document's `data`, on one line, and returns its `datacontenttype`: a JSON text of base64
/// where the data is binary, nothing where there is none.
pub(crate) fn put_data<'a>(out: &mut Vec<u8>, json: &'a str) -> Cow<'a, str> {
    #[derive(Deserialize)]
    struct DataOf<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        data_base64: Option<&'a RawValue>,
        #[serde(borrow, default)]
        datacontenttype: Option<Cow<'a, str>>,
    }
    let Ok(of) = serde_json::from_str::<DataOf<'_>>(json) else { return super::data::JSON.into() };
    let from = out.len();
    if let Some(data) = of.data.or(of.data_base64) {
        out.extend_from_slice(data.get().as_bytes());
        super::text::escape_line_ends(out, from);
    }
    of.datacontenttype.unwrap_or_else(|| super::data::JSON.into())
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Offset;

    use super::*;
    use crate::log::address::Partition;

    #[test]
    fn the_partition_is_the_logs_but_for_documents_that_have_one_from_before() {
        let rendered = |json: &str| {
            let address = EventAddress { partition: Partition::new(3), offset: Offset::new(9) };
            let (subject, time, corrected, kind, ingest) = ("a", Timestamp::default(), None, "k", &b"T"[..]);
            let mut out = Vec::new();
            put(&mut out, &PostedEnvelope { subject, time, corrected, kind, address, ingest }, json);
            let text = String::from_utf8(out).unwrap();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            (text.matches(r#""partition":"#).count(), read["partition"].clone())
        };
        assert_eq!(rendered(r#"{"id":"1","data":1}"#), (1, 3.into()));
        assert_eq!(rendered(r#"{"id":"1","data":{"partition":8}}"#), (2, 3.into()));
        assert_eq!(rendered(r#"{"id":"1","partition":"their own"}"#), (1, "their own".into()));
    }
}
