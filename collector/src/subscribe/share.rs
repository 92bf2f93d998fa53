//! The share of a reader: the sources whose events it gets where several readers divide them.

use afferent_protocol::event::Body;
use afferent_protocol::ids::Offset;

use crate::cloud_event::posted::Posted;

/// Whether an event of this source at this offset belongs to the share.
type Takes = Box<dyn Fn(&str, Offset) -> bool + Send>;

/// Events of some sources, each from its own offset on; of all sources by default.
#[derive(Default)]
pub(super) struct SourceShare(Option<Takes>);

impl SourceShare {
    /// The events whose source and offset `takes` accepts.
    pub fn of(takes: impl Fn(&str, Offset) -> bool + Send + 'static) -> Self {
        Self(Some(Box::new(takes)))
    }

    /// Whether an event of this source at this offset belongs to it.
    pub fn takes(&self, source: &str, offset: Offset) -> bool {
        self.0.as_ref().is_none_or(|takes| takes(source, offset))
    }

    /// Whether an event belongs to it; a posted one by its maker.
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
