//! The share of a reader: which sources' events it gets of those that several readers divide among themselves.

use afferent_protocol::event::Body;
use afferent_protocol::ids::Offset;

use crate::cloud_event::posted::Posted;

/// Whether an event of this source at this offset belongs to the share.
type Takes = Box<dyn Fn(&str, Offset) -> bool + Send>;

/// Events of some sources, each from an offset of its own on; of all sources by default.
#[derive(Default)]
pub(super) struct Share(Option<Takes>);

impl Share {
    /// The events to whose source and offset `takes` agrees.
    pub fn of(takes: impl Fn(&str, Offset) -> bool + Send + 'static) -> Self {
        Self(Some(Box::new(takes)))
    }

    /// Whether what is of a source, at this offset, belongs to it.
    pub fn takes(&self, source: &str, offset: Offset) -> bool {
        self.0.as_ref().is_none_or(|takes| takes(source, offset))
    }

    /// Whether an event belongs to it; a posted one by who has made it.
    #[inline]
    pub fn takes_event(&self, source: &str, is_own: bool, body: &Body<'_>, offset: Offset) -> bool {
        let Some(takes) = &self.0 else { return true };
        match body {
            Body::Derived(derived) if is_own => {
                let posted = Posted::read(derived.json);
                takes(posted.as_ref().map_or(source, |posted| &posted.source), offset)
            }
            _ => takes(source, offset),
        }
    }
}
