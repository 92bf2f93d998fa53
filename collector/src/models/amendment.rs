//! Amendments: what people add later to an event of the log.
//!
//! A posted event of type `afferent.amendment.v1`, with the data
//! `{"of":"OFFSET","action":"label|note|acknowledge|shelve|unshelve","reason":"…","note":"…","by":"…","until":TIME}`.

use afferent_host::time::parse;
use afferent_protocol::event::{Body, Derived};
use afferent_protocol::ids::{Offset, Timestamp};
use serde::{Deserialize, Serialize};

use super::shares::{ClaimLimits, ClaimTable, NameEntry, Seriousness};
use super::{LoggedEvent, Name, Order};
pub use crate::kinds::AMENDMENT;
use crate::limits::{MODEL_AMENDED_MAX, MODEL_AMENDMENTS_MAX, MODEL_TEXT_BYTES_MAX};

/// What an amendment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Gives the reason, as the stop reason found later.
    Label,
    /// Adds a text.
    Note,
    /// Marks an alarm as seen.
    Acknowledge,
    /// Shelves an alarm for a time.
    Shelve,
    /// Ends the shelving.
    Unshelve,
}

/// An amendment, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The event that is amended.
    pub of: Offset,
    /// The action.
    pub action: Action,
    /// The reason; may be empty.
    pub reason: String,
    /// The text of a note; may be empty.
    pub note: String,
    /// The author; may be empty.
    pub by: String,
    /// The end of a limited action.
    pub until: Option<Timestamp>,
}

/// An amendment as posted: alone, or as `data` of a posted event.
#[derive(Deserialize)]
struct Document {
    data: Option<Members>,
    #[serde(flatten)]
    plain: Option<Members>,
}

/// The members of an amendment as posted, unchecked.
#[derive(Debug, Deserialize)]
pub struct Members {
    of: RawOffset,
    /// The action.
    pub action: Action,
    /// The reason; may be empty.
    #[serde(default)]
    pub reason: String,
    /// The text of a note; may be empty.
    #[serde(default)]
    pub note: String,
    /// The author; may be empty.
    #[serde(default)]
    pub by: String,
    until: Option<String>,
}

/// An offset, as text (which JSON carries whole) or as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawOffset {
    Text(String),
    Number(u64),
}

/// The text is not an RFC 3339 time of the years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTime;

impl Members {
    /// The event that is amended; `None` when the value is not an offset.
    pub fn of(&self) -> Option<Offset> {
        match &self.of {
            RawOffset::Text(text) => text.parse().ok().map(Offset::new),
            RawOffset::Number(number) => Some(Offset::new(*number)),
        }
    }

    /// The end of a limited action.
    pub fn until(&self) -> Result<Option<Timestamp>, NoTime> {
        self.until.as_ref().map(|text| parse(text, None).ok_or(NoTime)).transpose()
    }
}

impl Amendment {
    /// The amendment in an event. An unreadable amendment stays in the log and has no effect.
    pub fn read(seen: &LoggedEvent<'_>) -> Option<Self> {
        let Body::Derived(Derived { kind: AMENDMENT, json }) = seen.event.body else { return None };
        let document: Document = serde_json::from_str(json).ok()?;
        let members = document.data.or(document.plain)?;
        Some(Self {
            of: members.of()?,
            action: members.action,
            reason: shortened(&members.reason),
            note: shortened(&members.note),
            by: shortened(&members.by),
            until: members.until().unwrap_or_default(),
        })
    }
}

/// How many events with labels or notes are kept. People act through one source, the collector, which has all the room
/// that other sources do not use.
const AMENDED: ClaimLimits = ClaimLimits { count_max: MODEL_AMENDED_MAX, of_one_max: MODEL_AMENDED_MAX };

/// The labels and notes of all events, whatever order they came in, and whether they came before their event or after
/// it. If there are too many, the last ones of each source stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Amendments {
    /// By the offset of the event, sorted by their own order.
    of: ClaimTable<(), Vec<(Order, AmendmentText)>>,
}

/// The text of a label or note, and its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmendmentText {
    /// A label gives the reason, a note adds text.
    pub is_label: bool,
    /// The text.
    pub text: String,
    /// The author; may be empty.
    pub by: String,
}

impl Amendments {
    /// Adds a label or note; ignores other amendments and other events.
    pub fn take(&mut self, seen: &LoggedEvent<'_>) {
        let Some(amendment) = Amendment::read(seen) else { return };
        let (is_label, text) = match amendment.action {
            Action::Label => (true, amendment.reason),
            Action::Note => (false, amendment.note),
            Action::Acknowledge | Action::Shelve | Action::Unshelve => return,
        };
        let of = amendment.of.to_string();
        // Few events are amended: they get no number.
        let taken = self.of.take(seen, Name { id: 0, text: &of }, Seriousness::Derived, AMENDED, drop);
        let Some(all) = taken.and_then(|taken| taken.of_source) else { return };
        let order = seen.order();
        let Err(at) = all.binary_search_by_key(&order, |(order, _)| *order) else { return };
        all.insert(at, (order, AmendmentText { is_label, text, by: amendment.by }));
        if all.len() > MODEL_AMENDMENTS_MAX {
            all.remove(0);
        }
    }

    fn of(&self, offset: u64) -> impl Iterator<Item = &(Order, AmendmentText)> {
        let kept = if self.of.is_empty() { None } else { self.of.get(&offset.to_string()) };
        kept.into_iter().flat_map(NameEntry::of_sources).flatten()
    }

    /// The latest label of the event at this offset.
    pub fn label(&self, offset: u64) -> Option<&str> {
        let labels = self.of(offset).filter(|(_, words)| words.is_label);
        labels.max_by_key(|(order, _)| *order).map(|(_, label)| &*label.text)
    }

    /// Whether the event at this offset has labels or notes.
    pub fn has(&self, offset: u64) -> bool {
        self.of(offset).next().is_some()
    }

    /// All labels and notes of the events at these offsets, in their order.
    pub fn words(&self, offsets: impl Iterator<Item = u64>) -> Vec<&AmendmentText> {
        let mut all: Vec<&(Order, AmendmentText)> = offsets.flat_map(|offset| self.of(offset)).collect();
        all.sort_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, words)| words).collect()
    }

    /// The labels and notes without room, for readers.
    pub fn not_shown_view(&self, at: Timestamp) -> serde_json::Value {
        self.of.not_shown_view(at)
    }
}

/// The beginning of a text, as long as models keep it.
pub fn shortened(text: &str) -> String {
    let mut end = text.len().min(MODEL_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{derived, seen_one};
    use super::*;

    fn read(json: &str) -> Option<Amendment> {
        seen_one(&derived("88-C", AMENDMENT, json), Amendment::read)
    }

    #[test]
    fn an_amendment_is_read_by_itself_and_within_what_was_posted() {
        let plain = r#"{"of":"42","action":"label","reason":"belt","by":"Ada"}"#;
        let amendment = read(plain).unwrap();
        assert_eq!((amendment.of, amendment.action, &*amendment.reason), (Offset::new(42), Action::Label, "belt"));
        assert_eq!(read(&format!(r#"{{"source":"mes","id":"7","data":{plain}}}"#)), Some(amendment));
    }

    #[test]
    fn an_event_that_is_no_amendment_changes_nothing() {
        for json in ["{}", "[]", "nonsense", r#"{"of":"x","action":"label"}"#, r#"{"of":"1","action":"burn"}"#] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn labels_of_events_that_do_not_exist_leave_room_for_the_labels_of_others() {
        use super::super::states::{States, StatesSettings};
        use super::super::testing::breakdown;
        use super::super::testing::{Log, TestEvent, at};
        let label = |of: u64, reason| format!(r#"{{"of":"{of}","action":"label","reason":"{reason}","by":"b"}}"#);
        let made_up: Vec<String> = (0..MODEL_AMENDED_MAX as u64 + 100).map(|n| label(1 << 60 | n, "x")).collect();
        let real = label(0, "worn belt");
        let told = |source, event| TestEvent { source, epoch: 1, event, ingest: at(2) };
        let events = std::iter::once(told("press-88", breakdown(1, "88-C", "E1", "")));
        let events = events.chain(made_up.iter().map(|text| told("stranger", derived("88-C", AMENDMENT, text))));
        let log = Log::from(events.chain([told("collector", derived("88-C", AMENDMENT, &real))]));
        let view = log.fold_any(Box::new(States::new(StatesSettings::default()))).view(at(2));
        assert_eq!(view["machines"]["88-C"]["reason"], "worn belt");
        assert_eq!(view["labels_not_shown"]["sources"][0]["source"], "stranger");
        // The control: by the offset of the event alone this label would be dropped first.
        assert!(made_up.len() > MODEL_AMENDED_MAX);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ö".repeat(MODEL_TEXT_BYTES_MAX);
        assert_eq!(shortened(&text).len(), MODEL_TEXT_BYTES_MAX / 2 * 2);
    }
}
