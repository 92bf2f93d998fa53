//! What filters ask of an event that was rendered.

use afferent_protocol::ids::Timestamp;

/// What a line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// An event.
    Event,
    /// A batch that cannot be decoded.
    Batch,
    /// Offsets that the log has lost.
    Hole,
}

/// What filters ask of an event.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub line: LineKind,
    pub time: Timestamp,
    pub subject: String,
    pub kind: String,
    /// Who has made it.
    pub source: String,
    pub severity: u8,
}
