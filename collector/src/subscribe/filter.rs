//! Which events a reader wants: by subject, type and source.

use afferent_protocol::batch::Header;
use afferent_protocol::ids::Stream;
use globset::{GlobBuilder, GlobMatcher};

use crate::cloud_event::UNREADABLE;
use crate::limits::{QUERY_NAMES_MAX, QUERY_TEXT_BYTES_MAX};

/// The type of all events of the stream `samples`, and of those alone.
const SAMPLE_TYPE: &str = "afferent.sample.v1";

/// Which events a reader wants; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    subject: Option<GlobMatcher>,
    types: Vec<String>,
    sources: Vec<String>,
}

/// A filter that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The subject pattern cannot be read.
    #[error(
        "the subject pattern {pattern:?} cannot be read ({reason}); `*` stands for one level, `**` for several, \
         `[…]` and `{{…,…}}` for alternatives"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong about it.
        reason: String,
    },
    /// More than a filter may say.
    #[error("{what} has {given}, and at most {taken} are taken")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// What was given.
        given: usize,
        /// What is taken.
        taken: usize,
    },
}

impl Filter {
    /// Reads a filter: a pattern of subjects, and types and sources separated by commas. A type may be short, as
    /// `breakdown` for `afferent.breakdown.v1`.
    pub fn new(subject: Option<&str>, types: Option<&str>, sources: Option<&str>) -> Result<Self, FilterError> {
        let subject = subject.map(pattern).transpose()?;
        let types = names("the list of types", types)?;
        let types = types.into_iter().map(|name| if name.contains('.') { name } else { format!("afferent.{name}.v1") });
        Ok(Self { subject, types: types.collect(), sources: names("the list of sources", sources)? })
    }

    /// Whether it lets everything through.
    pub fn is_open(&self) -> bool {
        self.subject.is_none() && self.types.is_empty() && self.sources.is_empty()
    }

    /// Whether any event of this batch can be wanted: what can be told without decoding it.
    pub fn takes_batch(&self, batch: &Header) -> bool {
        let source = self.sources.is_empty() || self.sources.iter().any(|name| name == batch.source.as_str());
        let of_stream = |name: &String| {
            let samples = name == SAMPLE_TYPE;
            name == UNREADABLE || samples == (batch.stream == Stream::Samples)
        };
        source && (self.types.is_empty() || self.types.iter().any(of_stream))
    }

    /// Whether a hole in the log is wanted: nobody knows what was in it, so only those who ask for types may miss it.
    pub fn takes_hole(&self) -> bool {
        self.types.is_empty() || self.types.iter().any(|name| name == UNREADABLE)
    }

    /// Whether an event of a batch that [`Filter::takes_batch`] is wanted.
    pub fn takes_event(&self, subject: &str, kind: &str) -> bool {
        (self.types.is_empty() || self.types.iter().any(|name| name == kind))
            && self.subject.as_ref().is_none_or(|pattern| pattern.is_match(subject))
    }
}

fn pattern(text: &str) -> Result<GlobMatcher, FilterError> {
    if text.len() > QUERY_TEXT_BYTES_MAX {
        let (given, taken) = (text.len(), QUERY_TEXT_BYTES_MAX);
        return Err(FilterError::TooMuch { what: "the subject pattern, in bytes,", given, taken });
    }
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    let glob = glob.map_err(|e| FilterError::Pattern { pattern: text.into(), reason: e.kind().to_string() })?;
    Ok(glob.compile_matcher())
}

fn names(what: &'static str, list: Option<&str>) -> Result<Vec<String>, FilterError> {
    let names: Vec<String> =
        list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
    if names.len() > QUERY_NAMES_MAX {
        return Err(FilterError::TooMuch { what, given: names.len(), taken: QUERY_NAMES_MAX });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(pattern: &str) -> Filter {
        Filter::new(Some(pattern), None, None).unwrap()
    }

    #[test]
    fn a_star_stands_for_one_level_and_two_stars_for_several() {
        for (pattern, path, taken) in [
            ("88-C", "88-C", true),
            ("88-C", "88-C/spindle", false),
            ("88-C/*", "88-C/spindle", true),
            ("88-C/*", "88-C/spindle/temperature", false),
            ("88-C/**", "88-C/spindle/temperature", true),
            ("**/temperature", "88-C/spindle/temperature", true),
            ("*/spindle/{speed,load}", "88-C/spindle/load", true),
            ("Halle 3/*", "Halle 3/Öl", true),
        ] {
            assert_eq!(subject(pattern).takes_event(path, "x"), taken, "{pattern} on {path}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_read_or_are_too_long_are_refused() {
        for pattern in ["[", "{a", &"x".repeat(257)] {
            assert!(Filter::new(Some(pattern), None, None).is_err(), "{pattern}");
        }
        assert!(Filter::new(None, Some(&"a,".repeat(33)), None).is_err());
    }

    #[test]
    fn types_may_be_short_and_several() {
        let filter = Filter::new(None, Some("breakdown, com.example.wear.v1"), None).unwrap();
        assert!(filter.takes_event("88-C", "afferent.breakdown.v1"));
        assert!(filter.takes_event("88-C", "com.example.wear.v1"));
        assert!(!filter.takes_event("88-C", "afferent.alarm.v1"));
    }
}
