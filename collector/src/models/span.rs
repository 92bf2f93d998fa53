//! A span of event time, as figures are asked for it.

use afferent_protocol::ids::Timestamp;

/// The first moment of the span, and the first one behind it; without them it is open to that side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The first moment behind it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether it is all of time.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}
