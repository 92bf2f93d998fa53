//! Events that were posted to the collector: derived events of its own source, whose JSON document holds what their maker
//! said of them: `source`, `id`, extensions, `datacontenttype`, and `data` or `data_base64`.
//!
//! They are given back as the CloudEvents that they were, with the attributes that the log adds: `offset`, `ingesttime`, and
//! `correctedtime` where their time is not believed.

use afferent_protocol::ids::{Offset, Timestamp};
use serde::Deserialize;

use super::text::{put_decimal, put_json_string};
use crate::rfc3339::put_rfc3339;

/// Attributes that the log gives, and that nobody can post.
pub const OF_THE_LOG: [&str; 3] = ["offset", "ingesttime", "correctedtime"];

/// What readers ask of a posted event before they have it rendered.
#[derive(Debug, Deserialize)]
pub struct Posted<'a> {
    /// Who made it.
    #[serde(borrow)]
    pub source: std::borrow::Cow<'a, str>,
    /// Its maker's name for it.
    #[serde(borrow)]
    pub id: std::borrow::Cow<'a, str>,
    /// On OpenTelemetry's scale.
    #[serde(default)]
    pub severitynumber: u8,
}

impl<'a> Posted<'a> {
    /// Reads the document of a posted event; `None` when it is none.
    pub fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// What the log knows of a posted event.
pub(super) struct Envelope<'a> {
    pub subject: &'a str,
    pub time: Timestamp,
    pub corrected: Option<Timestamp>,
    pub kind: &'a str,
    pub offset: Offset,
    pub ingest: &'a [u8],
}

/// Appends the CloudEvent: the members of its document follow those of the log as they are.
pub(super) fn put(out: &mut Vec<u8>, envelope: &Envelope<'_>, json: &str) {
    out.extend_from_slice(br#"{"specversion":"1.0","subject":"#);
    put_json_string(out, envelope.subject);
    out.extend_from_slice(br#","time":""#);
    put_rfc3339(out, envelope.time);
    super::put_corrected(out, envelope.corrected);
    out.extend_from_slice(br#"","type":"#);
    put_json_string(out, envelope.kind);
    out.extend_from_slice(br#","ingesttime":""#);
    out.extend_from_slice(envelope.ingest);
    out.extend_from_slice(br#"","offset":""#);
    put_decimal(out, envelope.offset.get());
    out.extend_from_slice(br#"","#);
    out.extend_from_slice(json.strip_prefix('{').unwrap_or("}").as_bytes());
}
