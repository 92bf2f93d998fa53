//! What an amendment must name to mean something: its event, its action, and its author.

use afferent_protocol::ids::Offset;
use serde_json::value::RawValue;

use super::given::{EventRefusal, PostedJson, refused};
use crate::models::amendment::{AMENDMENT, Action, Members};

/// The example in refusals of malformed amendments.
const EXAMPLE: &str = r#"{"of":"OFFSET","action":"label|note|acknowledge|shelve|unshelve","by":"NAME"}"#;

/// The event of an amendment, and its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amended {
    /// The offset of the event.
    pub of: Offset,
    /// The action.
    pub action: Action,
}

impl Amended {
    /// The amendment in an event; `None` when it is none.
    ///
    /// # Errors
    /// When the amendment lacks its event, its action or its author.
    pub fn of(given: &PostedJson<'_>) -> Result<Option<Self>, EventRefusal> {
        let is_amendment = given.attributes.get("type").and_then(|kind| kind.as_str()) == Some(AMENDMENT);
        if is_amendment { Self::read(given.data).map(Some) } else { Ok(None) }
    }

    fn read(data: Option<&RawValue>) -> Result<Self, EventRefusal> {
        let wrong = |why: String| refused("data", why);
        let data = data.ok_or(EventRefusal::Missing("data"))?;
        let data: Members = serde_json::from_str(data.get())
            .map_err(|error| wrong(format!("is not an amendment ({error}); write {EXAMPLE}")))?;
        if data.by.trim().is_empty() {
            return Err(wrong("has no name in `by`: give the name of the person who amends the log".to_owned()));
        }
        let said = match data.action {
            Action::Label => Some(("reason", &data.reason)),
            Action::Note => Some(("note", &data.note)),
            Action::Acknowledge | Action::Shelve | Action::Unshelve => None,
        };
        if let Some((name, _)) = said.filter(|(_, text)| text.trim().is_empty()) {
            return Err(wrong(format!("has an empty `{name}`, which this action needs")));
        }
        if data.until().is_err() {
            return Err(wrong("has an `until` that is not an RFC 3339 time of the years 1970 to 9999".to_owned()));
        }
        let no_offset = || wrong("has an `of` that is not an offset: give the event's `offset`".to_owned());
        let of = data.of().ok_or_else(no_offset)?;
        Ok(Self { of, action: data.action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Result<Option<Amended>, EventRefusal> {
        let json = format!(r#"{{"specversion":"1.0","type":"{AMENDMENT}","data":{data}}}"#);
        Amended::of(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn an_amendment_names_its_event_and_its_author() {
        let taken = |data| read(data).unwrap().unwrap();
        let of = Offset::new(42);
        let by_text = r#"{"of":"42","action":"acknowledge","by":"Ada"}"#;
        assert_eq!(taken(by_text), Amended { of, action: Action::Acknowledge });
        let by_number = r#"{"of":42,"action":"label","reason":"belt","by":"Ada","more":1}"#;
        assert_eq!(taken(by_number), Amended { of, action: Action::Label });
        let other = r#"{"specversion":"1.0","type":"com.example.wear.v1"}"#;
        assert_eq!(Amended::of(&serde_json::from_str(other).unwrap()), Ok(None));
    }

    #[test]
    fn one_that_means_nothing_or_that_nobody_said_is_refused_in_words() {
        for (data, why) in [
            (r#"{"of":"42","action":"acknowledge"}"#, "has no name in `by`"),
            (r#"{"of":"42","action":"acknowledge","by":" \u00a0"}"#, "has no name in `by`"),
            (r#"{"of":"42","action":"burn","by":"Ada"}"#, "is not an amendment"),
            (r#"{"action":"note","note":"n","by":"Ada"}"#, "is not an amendment"),
            (r#"{"of":"a","action":"unshelve","by":"Ada"}"#, "not an offset"),
            (r#"{"of":"42","action":"label","by":"Ada"}"#, "has an empty `reason`"),
            (r#"{"of":"42","action":"note","reason":"r","by":"Ada"}"#, "has an empty `note`"),
            (r#"{"of":"42","action":"shelve","by":"Ada","until":"noon"}"#, "`until`"),
            ("[]", "is not an amendment"),
        ] {
            let refusal = read(data).unwrap_err().to_string();
            assert!(refusal.contains(why), "{data}: {refusal}");
        }
        let bare = format!(r#"{{"specversion":"1.0","type":"{AMENDMENT}"}}"#);
        let refusal = Amended::of(&serde_json::from_str(&bare).unwrap());
        assert_eq!(refusal, Err(EventRefusal::Missing("data")));
    }
}
