//! An event as a sink takes it: the attributes of a CloudEvent as typed values, and its renderings on request.

use std::borrow::Cow;
use std::cell::RefCell;

use afferent_protocol::batch::Header;
use afferent_protocol::event::{Body, Sample};
use afferent_protocol::ids::{Epoch, Sequence, Stream, Timestamp};
use afferent_protocol::record::Record;

use crate::cloud_event::{EventRenderer, data, posted};
use crate::log::address::{Addresses, EventAddress};

/// An event, or what stands for events that the log cannot return.
pub struct ForwardEvent<'a> {
    /// Its address; of a range of events the first one.
    pub address: EventAddress,
    /// The CloudEvents `source`; with `id` it is the idempotency key of every sink.
    pub source: &'a str,
    /// The CloudEvents `id`.
    pub id: &'a str,
    /// The CloudEvents `type`.
    pub kind: &'a str,
    /// Its subject; `None` for offsets that the log has lost.
    pub subject: Option<&'a str>,
    /// Event time by the source's clock; `None` for offsets that the log has lost.
    pub time: Option<Timestamp>,
    /// Event time by the collector's clock, where the source's is not trusted.
    pub corrected: Option<Timestamp>,
    /// When the source made its batch; `None` for posted events.
    pub recorded: Option<Timestamp>,
    /// When the collector appended it; `None` for offsets that the log has lost.
    pub ingest: Option<Timestamp>,
    /// Its place in its source's stream; `None` for posted events and for offsets that the log has lost.
    pub lane: Option<(Stream, Epoch, Sequence)>,
    /// Severity on OpenTelemetry's scale, 1 to 24.
    pub severity: u8,
    pub(super) content: Content<'a>,
}

/// What an event is rendered from.
pub(super) enum Content<'a> {
    /// An event of an agent or of the collector.
    Record { record: &'a Record<'a>, renderer: &'a RefCell<EventRenderer> },
    /// A posted event.
    Posted { record: &'a Record<'a>, renderer: &'a RefCell<EventRenderer>, document: &'a str },
    /// The rest of a batch, from this index on, that cannot be decoded.
    Unreadable { header: &'a Header, renderer: &'a RefCell<EventRenderer>, index: u32, reason: Cow<'a, str> },
    /// Offsets that the log cannot return.
    Hole { addresses: &'a Addresses, reason: &'a str },
}

impl<'a> ForwardEvent<'a> {
    /// The machine: the first level of the subject, or the source where there is no subject. Events of one machine keep
    /// their order at every sink.
    pub fn machine(&self) -> &'a str {
        let subject = self.subject.unwrap_or(self.source);
        subject.split('/').next().unwrap_or(subject)
    }

    /// The best known event time: corrected, else by the source's clock, else the time of appending.
    pub fn best_time(&self) -> Option<Timestamp> {
        self.corrected.or(self.time).or(self.ingest)
    }

    /// The typed content; `None` for posted events and for events that cannot be read.
    pub fn body(&self) -> Option<&'a Body<'a>> {
        match self.content {
            Content::Record { record, .. } => Some(&record.event.body),
            Content::Posted { .. } | Content::Unreadable { .. } | Content::Hole { .. } => None,
        }
    }

    /// The sample, if it is one.
    pub fn sample(&self) -> Option<&'a Sample<'a>> {
        match self.body() {
            Some(Body::Sample(sample)) => Some(sample),
            _ => None,
        }
    }

    /// Appends the whole CloudEvent in structured JSON, on one line and without a line end: the same bytes as in every
    /// other output.
    pub fn put_json(&self, out: &mut Vec<u8>) {
        match &self.content {
            Content::Record { record, renderer } | Content::Posted { record, renderer, .. } => {
                renderer.borrow_mut().put(out, record);
            }
            Content::Unreadable { header, renderer, index, reason } => {
                renderer.borrow_mut().put_unreadable(out, header, *index, reason);
            }
            Content::Hole { addresses, reason } => crate::cloud_event::put_hole(out, addresses, reason),
        }
    }

    /// Appends the JSON of `data`, on one line, and returns its `datacontenttype`; of a posted event without `data` it
    /// appends nothing. Data that is not JSON is a JSON text: of a derived event itself, of a posted one in base64.
    pub fn put_data(&self, out: &mut Vec<u8>) -> Cow<'a, str> {
        match &self.content {
            Content::Record { record, .. } => data::put(out, &record.event.body).into(),
            Content::Posted { document, .. } => posted::put_data(out, document),
            Content::Unreadable { header, index, reason, .. } => {
                crate::cloud_event::put_missing(out, u64::from(header.count.saturating_sub(*index)), reason);
                data::JSON.into()
            }
            Content::Hole { addresses, reason } => {
                crate::cloud_event::put_missing(out, addresses.count(), reason);
                data::JSON.into()
            }
        }
    }
}
