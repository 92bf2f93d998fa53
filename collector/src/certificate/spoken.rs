//! The origin of an event that a source, or the collector, has sent about itself or others.

use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Offset, Sequence};
use afferent_protocol::segment::EntryHead;

/// An event's origin: its source, lane and entry.
pub(super) struct EventOrigin<'a> {
    pub head: &'a EntryHead,
    pub header: &'a Header,
    pub offset: Offset,
    pub sequence: Sequence,
}
