//! The topic of an event, by a template as `works/{source}/{subject}/{type}`.
//!
//! The first level is always of the template: no event decides whose tree it lands in. The tree `afferent`, in which
//! agents publish and collectors read, cannot be chosen, so that nothing that a collector publishes is an input of one.

use crate::kinds::short_name;
use crate::limits::MQTT_TOPIC_BYTES_MAX;

use super::super::event::ForwardEvent;
use super::super::sink::Rejection;

/// The tree of agents and collectors.
const OWN_TREE: &str = "afferent";

/// A template of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Machine,
    Source,
    /// As many levels as the subject has.
    Subject,
    Type,
}

impl TopicTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it cannot give a topic for every event, or gives one in the wrong tree.
    pub fn new(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("topic {text:?} {why}; write it as works/{{source}}/{{subject}}/{{type}}");
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| wrong("has a { without }"))?;
            pieces.push(Piece::Literal(literal.to_owned()));
            pieces.push(match name {
                "machine" => Piece::Machine,
                "source" => Piece::Source,
                "subject" => Piece::Subject,
                "type" => Piece::Type,
                _ => return Err(wrong("names something other than {machine}, {source}, {subject} and {type}")),
            });
            rest = behind;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        let literal: String = pieces.iter().map(|piece| piece.literal().unwrap_or("x")).collect();
        if literal.split('/').any(str::is_empty) {
            return Err(wrong("has an empty level"));
        }
        if literal.chars().any(|c| is_unsafe(c) || c == '}') {
            return Err(wrong("has a character that topics cannot have: #, +, %, } or a control character"));
        }
        let first = text.split('/').next().unwrap_or_default();
        if first.contains('{') || first.starts_with('$') {
            return Err(wrong("must begin with a level of its own, which no event decides and brokers do not reserve"));
        }
        if first == OWN_TREE {
            return Err(wrong("is in the tree of agents and collectors; choose another first level"));
        }
        Ok(Self(pieces))
    }

    /// The topic of an event.
    ///
    /// # Errors
    /// When it is longer than a topic can be.
    pub fn fill(&self, event: &ForwardEvent<'_>) -> Result<String, Rejection> {
        let mut topic = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => topic.push_str(literal),
                Piece::Machine => put_level(&mut topic, event.machine()),
                Piece::Source => put_level(&mut topic, event.source),
                Piece::Type => put_level(&mut topic, short_name(event.kind)),
                Piece::Subject => {
                    let subject = event.subject.unwrap_or(event.source);
                    for (at, level) in subject.split('/').filter(|level| !level.is_empty()).enumerate() {
                        topic.push_str(if at == 0 { "" } else { "/" });
                        put_level(&mut topic, level);
                    }
                }
            }
        }
        if topic.len() > MQTT_TOPIC_BYTES_MAX {
            let bytes = topic.len();
            return Err(Rejection(format!("its topic has {bytes} bytes; MQTT takes {MQTT_TOPIC_BYTES_MAX} at most")));
        }
        Ok(topic)
    }
}

impl Piece {
    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(literal) => Some(literal),
            _ => None,
        }
    }
}

/// Characters that are wildcards, mark an escape, or that brokers close the connection for.
fn is_unsafe(character: char) -> bool {
    let number = u32::from(character);
    let is_noncharacter = number & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&number);
    matches!(character, '#' | '+' | '%') || character.is_control() || is_noncharacter
}

/// Appends one level; what it cannot hold is percent-encoded, and an empty one is `%`.
fn put_level(topic: &mut String, level: &str) {
    use std::fmt::Write as _;
    if level.is_empty() {
        topic.push('%');
    }
    for character in level.chars() {
        if is_unsafe(character) || character == '/' {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(topic, "%{byte:02X}").expect("a growing text takes any text");
            }
        } else {
            topic.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Offset;

    use super::super::super::event::Content;
    use super::*;
    use crate::log::address::{Addresses, Partition};

    fn topic(template: &str, source: &'static str, subject: Option<&'static str>) -> Result<String, Rejection> {
        let addresses = Addresses { partition: Partition::EMBEDDED, offsets: Offset::new(7)..Offset::new(9) };
        TopicTemplate::new(template).unwrap().fill(&ForwardEvent {
            address: addresses.first(),
            source,
            id: "hole-7",
            kind: "afferent.unreadable.v1",
            subject,
            time: None,
            corrected: None,
            recorded: None,
            ingest: None,
            lane: None,
            severity: 17,
            content: Content::Hole { addresses: &addresses, reason: "lost" },
        })
    }

    #[test]
    fn a_subject_is_a_branch_and_nothing_in_it_is_a_wildcard() {
        let standard = "works/{source}/{subject}/{type}";
        let of = |source, subject| topic(standard, source, subject).unwrap();
        assert_eq!(of("press-88", Some("88-C/spindle/Öl 3")), "works/press-88/88-C/spindle/Öl 3/unreadable");
        assert_eq!(of("/a/b", Some("#/+/$SYS/100%")), "works/%2Fa%2Fb/%23/%2B/$SYS/100%25/unreadable");
        assert_eq!(of("a\0\u{85}\u{FFFE}", None), "works/a%00%C2%85%EF%BF%BE/a%00%C2%85%EF%BF%BE/unreadable");
        assert_eq!(topic("a/{machine}-{type}", "x", Some("88-C/y")).unwrap(), "a/88-C-unreadable");
        let long: &'static str = "#".repeat(MQTT_TOPIC_BYTES_MAX / 3).leak();
        assert!(topic(standard, long, Some("a")).unwrap_err().0.contains("MQTT takes 65535 at most"));
    }

    #[test]
    fn a_template_gives_a_topic_for_every_event_and_never_one_of_our_own_tree() {
        for (template, why) in [
            ("", "empty level"),
            ("a//b", "empty level"),
            ("/a", "empty level"),
            ("a/{subject}/", "empty level"),
            ("a/#", "characters"),
            ("a/+/b", "character"),
            ("a/}b", "character"),
            ("a/{subject", "without }"),
            ("a/{id}", "other than"),
            ("{source}/a", "level of its own"),
            ("x{source}/a", "level of its own"),
            ("$SYS/a", "level of its own"),
            ("afferent/v1/{source}", "tree of agents"),
        ] {
            let error = TopicTemplate::new(template).unwrap_err();
            assert!(error.contains(why.trim_end_matches('s')) && error.contains("works/"), "{template}: {error}");
        }
        assert!(TopicTemplate::new("afferent-uns/{subject}").is_ok());
    }
}
