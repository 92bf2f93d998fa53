//! A span of event time.

use afferent_protocol::ids::Timestamp;

/// A span of event time, its end exclusive; without a bound it is open to that side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The first instant behind it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether it is all of time.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}
