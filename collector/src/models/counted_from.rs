//! The first offset that a model counts from.

use afferent_protocol::ids::{Offset, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time_text;

/// The first offset that a model counts from: its figures exclude earlier events, because retention had removed them
/// when the model was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedFrom {
    /// The first offset that the model has seen.
    pub offset: Offset,
    /// When the entry at that offset was appended; `None` before the model has seen one.
    pub time: Option<Timestamp>,
    /// The end of the last batch whose samples retention had removed when the model read it, and when that batch was
    /// appended: samples count from there.
    pub samples: Option<(Offset, Timestamp)>,
}

impl CountedFrom {
    /// Counts from this offset.
    pub fn at(offset: Offset) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Records an entry that was appended at `stamp` and ends at `end`.
    pub(super) fn passed(&mut self, stamp: Timestamp, end: Offset, is_emptied: bool) {
        self.time.get_or_insert(stamp);
        if is_emptied {
            self.samples = Some((end, stamp));
        }
    }

    /// The same for readers.
    pub fn view(&self) -> CountedFromView {
        let samples = self.samples.map(|(offset, at)| SamplesFrom { offset: offset.to_string(), time: time_text(at) });
        CountedFromView { offset: self.offset.to_string(), samples, time: self.time.map(time_text) }
    }
}

/// The start of a model's figures in the log. Offsets are strings, as JSON's numbers end at 2^53.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedFromView {
    /// The first offset that the model has read.
    pub offset: String,
    /// The start of the samples, if retention had removed older ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub samples: Option<SamplesFrom>,
    /// Time at which the entry at that offset was appended; null before the model has read one.
    pub time: Option<String>,
}

/// The start of the samples in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SamplesFrom {
    /// The first offset after the last batch whose samples were removed.
    pub offset: String,
    /// Time at which that batch was appended.
    pub time: String,
}
