//! What is known of every source: key, lanes, losses, gaps, counts. All of it but the links is rebuilt from the log.

mod view;

pub use view::{LaneView, LinkState, LossView, RangeView, SourceView};

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::SourceId;
use afferent_protocol::segment::EntryHead;

/// Every source that ever spoke, the collector itself included.
#[derive(Clone, Debug)]
pub struct Sources {
    own: SourceId,
}

impl Sources {
    /// Nobody yet. `own` is the collector's name: only what it wrote tells about keys and gaps.
    pub fn new(own: SourceId) -> Self {
        Self { own }
    }

    /// Takes a batch that was found in the log at start. To be called for all of them, in order.
    pub fn rebuild(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let _ = (head, batch, self.own);
    }

    /// All sources by name, as the API shows them.
    pub fn views(&self) -> Vec<SourceView> {
        Vec::new()
    }

    /// One of them.
    pub fn view(&self, source: &SourceId) -> Option<SourceView> {
        let _ = source;
        None
    }
}
