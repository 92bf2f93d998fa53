//! From where in the log a model counts.

use afferent_protocol::ids::{Offset, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::time;

/// From where in the log a model counts: figures say nothing about what was before, because retention had removed it when
/// the model was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedFrom {
    /// The first offset that it has seen.
    pub offset: Offset,
    /// When the entry at that offset was appended; `None` before it has seen one.
    pub time: Option<Timestamp>,
    /// The end of the last batch whose samples retention had removed when the model came to it, and when that batch was
    /// appended: samples count from here on.
    pub samples: Option<(Offset, Timestamp)>,
}

impl CountedFrom {
    /// From this offset on.
    pub fn at(offset: Offset) -> Self {
        Self { offset, ..Self::default() }
    }

    /// An entry was passed on that was appended then and ends there.
    pub(super) fn passed(&mut self, stamp: Timestamp, end: Offset, is_emptied: bool) {
        self.time.get_or_insert(stamp);
        if is_emptied {
            self.samples = Some((end, stamp));
        }
    }

    /// For readers: offsets as text, for JSON's numbers end at 2^53.
    pub fn view(&self) -> Value {
        let place =
            |offset: Offset, at: Option<Timestamp>| json!({ "offset": offset.to_string(), "time": at.map(time) });
        let mut view = place(self.offset, self.time);
        if let Some((offset, at)) = self.samples {
            view["samples"] = place(offset, Some(at));
        }
        view
    }
}
