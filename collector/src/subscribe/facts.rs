//! The attributes of a rendered event that filters test.

use afferent_protocol::ids::Timestamp;

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// An event.
    Event,
    /// A batch that cannot be decoded.
    Batch,
    /// Offsets that the log has lost.
    Hole,
}

/// The attributes of an event that filters test.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub line: LineKind,
    pub time: Timestamp,
    pub subject: String,
    pub kind: String,
    /// The maker of the event.
    pub source: String,
    pub severity: u8,
}
