//! Filters of events by subject, type, source, severity and event time.

use std::ops::RangeInclusive;

use afferent_protocol::batch::Header;
use afferent_protocol::event::{Body, Event, Kind, Severity, TYPE_PREFIX, TYPE_SUFFIX};
use afferent_protocol::ids::{Stream, Subject, Timestamp};
use globset::{GlobBuilder, GlobMatcher};

use super::facts::{Facts, LineKind};
use super::severity;
use crate::cloud_event::posted::Posted;
use crate::cloud_event::type_of;
use crate::kinds::{self, TYPES, UNREADABLE};
use crate::limits::{QUERY_NAMES_MAX, QUERY_TEXT_BYTES_MAX, REFUSED_TEXT_CHARS_MAX};
use crate::log::{Kinds, NameHash, Wanted};

/// A filter of events; by default it passes all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these patterns; if empty, all subjects.
    subject: Vec<GlobMatcher>,
    /// The first level of the subject pattern, if that level has no wildcard.
    machine: Option<String>,
    types: Vec<String>,
    sources: Vec<String>,
    severity: Option<RangeInclusive<u8>>,
    /// Event times from the first one on and before the second one.
    event: Option<(Timestamp, Timestamp)>,
}

/// The severity of an unreadable event: that of an error.
pub(crate) const UNREADABLE_SEVERITY: u8 = 17;

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The subject pattern cannot be read.
    #[error(
        "the subject pattern {pattern:?} is invalid ({reason}); `*` matches one level, `**` any number, `[…]` and \
         `{{…,…}}` alternatives"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The error of the pattern.
        reason: String,
    },
    /// The severity cannot be read.
    #[error(
        "the severity {0:?} is invalid; use debug, info, warning, error or fatal, `warning..` for warning and above, \
         `..info` for info and below"
    )]
    Severity(String),
    /// No event has ever had this type, and none will.
    #[error(
        "there is no type {given:?}{}; the types are {}; write a type of your own in full, as com.example.wear.v1",
        near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)")),
        kinds::short_names().join(", "),
    )]
    Type {
        /// The given type.
        given: String,
        /// The most similar type, if one is similar.
        near: Option<&'static str>,
    },
    /// A type is compared as a whole.
    #[error("the type {0:?} has a wildcard, and types have none; list those that are wanted, separated by commas")]
    Wildcard(String),
    /// More than a filter may contain.
    #[error("{what} has {given}; the limit is {taken}")]
    TooMuch {
        /// The name of the parts.
        what: &'static str,
        /// The given number.
        given: usize,
        /// The largest number.
        taken: usize,
    },
}

/// The similarity (Jaro-Winkler, 0 to 1) from which on the error suggests an existing type.
const ALIKE_MIN: f64 = 0.8;

impl Filter {
    /// Reads a filter: a pattern of subjects, and types and sources separated by commas. A type may be short, as
    /// `breakdown` for `afferent.breakdown.v1`; an unknown type with the prefix `afferent.` is refused.
    pub fn new(subject: Option<&str>, types: Option<&str>, sources: Option<&str>) -> Result<Self, FilterError> {
        let filter = Self::kept(subject, types, sources)?;
        filter.types.iter().try_for_each(|name| check_type(name))?;
        Ok(filter)
    }

    /// Reads a stored filter, which may have types that were known when it was stored.
    pub(super) fn kept(subject: Option<&str>, types: Option<&str>, sources: Option<&str>) -> Result<Self, FilterError> {
        let machine = subject.and_then(machine_of).map(str::to_owned);
        let subject = subject.map(patterns).transpose()?.unwrap_or_default();
        let types = names("the list of types", types)?;
        let types = types
            .into_iter()
            .map(|name| if name.contains('.') { name } else { format!("{TYPE_PREFIX}{name}{TYPE_SUFFIX}") });
        let sources = names("the list of sources", sources)?;
        Ok(Self { subject, machine, types: types.collect(), sources, severity: None, event: None })
    }

    /// Only these severities, as `warning..`.
    pub fn with_severity(self, text: &str) -> Result<Self, FilterError> {
        let severity = severity::parse(text).ok_or_else(|| FilterError::Severity(text.chars().take(64).collect()))?;
        Ok(Self { severity: Some(severity), ..self })
    }

    /// Only events with event times from `from` on and before `until`.
    pub fn with_event_time(self, from: Timestamp, until: Timestamp) -> Self {
        Self { event: Some((from, until)), ..self }
    }

    /// Whether it passes all events.
    pub fn is_open(&self) -> bool {
        let plain = self.subject.is_empty() && self.types.is_empty() && self.sources.is_empty();
        plain && self.severity.is_none() && self.event.is_none()
    }

    /// The query for the log's indexes.
    pub fn wanted(&self) -> Wanted {
        let of_types = self.types.iter().map(|name| match name.as_str() {
            UNREADABLE => Kinds::ALL,
            name => Kinds::of_type(name),
        });
        let kinds =
            if self.types.is_empty() { Kinds::ALL } else { of_types.fold(Kinds::default(), |all, kind| all | kind) };
        // All samples have the severity info.
        let no_samples = !self.takes_severity(Severity::Info.number());
        let kinds = if no_samples { kinds & Kinds::NO_SAMPLES } else { kinds };
        Wanted {
            kinds,
            machine: self.machine(),
            sources: self.sources.iter().map(|name| NameHash::source(name)).collect(),
            ingest: None,
            event: self.event,
        }
    }

    /// Whether it may pass an event of this batch, as far as the header shows. The header of a batch that the collector
    /// itself wrote (`is_own`) does not have the makers of posted events.
    pub fn takes_batch(&self, batch: &Header, is_own: bool) -> bool {
        let source = is_own || self.takes_source(batch.source.as_str());
        let of_stream = |name: &String| {
            let samples = name == Kind::Sample.type_name();
            name == UNREADABLE || samples == (batch.stream == Stream::Samples)
        };
        let time = self.event.is_none_or(|(from, until)| batch.time_last >= from && batch.time_first < until);
        source && time && (self.types.is_empty() || self.types.iter().any(of_stream))
    }

    /// Whether it may pass an event of a batch with these subjects; if not, the batch need not be decoded further. An
    /// unreadable event has the source as its subject.
    pub fn takes_subjects(&self, subjects: &[Subject<'_>], source: &str) -> bool {
        let fits = |subject: &str| self.is_of_machine(subject) && self.takes_subject(subject);
        fits(source) || subjects.iter().any(|subject| fits(subject.as_str()))
    }

    /// Whether a subject begins with the pattern's machine: a quick test that skips most subjects.
    fn is_of_machine(&self, subject: &str) -> bool {
        self.machine.as_ref().is_none_or(|machine| subject.starts_with(machine.as_str()))
    }

    fn takes_source(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|name| name == source)
    }

    fn takes_severity(&self, number: u8) -> bool {
        self.severity.as_ref().is_none_or(|range| range.contains(&number))
    }

    /// Whether it passes a hole in the log: subjects and sources of its events are unknown and do not exclude it.
    pub fn takes_hole(&self) -> bool {
        (self.types.is_empty() || self.types.iter().any(|name| name == UNREADABLE))
            && self.takes_severity(UNREADABLE_SEVERITY)
            && self.event.is_none()
    }

    /// Whether it passes the event of an unreadable batch.
    pub fn takes_unreadable(&self, batch: &Header) -> bool {
        let source = batch.source.as_str();
        self.takes_event(source, UNREADABLE)
            && self.takes_source(source)
            && self.takes_severity(UNREADABLE_SEVERITY)
            && self.takes_time(batch.time_first)
    }

    fn takes_time(&self, time: Timestamp) -> bool {
        self.event.is_none_or(|(from, until)| (from..until).contains(&time))
    }

    /// Whether it passes an event of a batch that [`Filter::takes_batch`] has passed.
    pub fn takes(&self, event: &Event<'_>, source: &str, is_own: bool) -> bool {
        if !self.takes_time(event.time) || !self.takes_event(event.subject.as_str(), type_of(&event.body)) {
            return false;
        }
        if let (true, Body::Derived(derived)) = (is_own, &event.body) {
            if self.sources.is_empty() && self.severity.is_none() {
                return true;
            }
            return Posted::read(derived.json)
                .is_some_and(|posted| self.takes_source(&posted.source) && self.takes_severity(posted.severitynumber));
        }
        (!is_own || self.takes_source(source)) && self.takes_severity(event.body.severity().number())
    }

    /// The machine that it is limited to, if any.
    pub fn machine(&self) -> Option<NameHash> {
        self.machine.as_deref().map(NameHash::machine)
    }

    /// Whether it passes a rendered line.
    pub(super) fn takes_line(&self, facts: &Facts) -> bool {
        if facts.line == LineKind::Hole {
            return self.takes_hole();
        }
        self.takes_time(facts.time)
            && self.takes_source(&facts.source)
            && self.takes_severity(facts.severity)
            && self.takes_event(&facts.subject, &facts.kind)
    }

    /// Whether it passes this subject and type.
    pub fn takes_event(&self, subject: &str, kind: &str) -> bool {
        (self.types.is_empty() || self.types.iter().any(|name| name == kind))
            && self.is_of_machine(subject)
            && self.takes_subject(subject)
    }

    fn takes_subject(&self, subject: &str) -> bool {
        self.subject.is_empty() || self.subject.iter().any(|pattern| pattern.is_match(subject))
    }
}

/// Refuses a wildcard, and an unknown full name with the prefix `afferent.`.
fn check_type(name: &str) -> Result<(), FilterError> {
    if name.contains(['*', '?']) {
        return Err(FilterError::Wildcard(name.chars().take(REFUSED_TEXT_CHARS_MAX).collect()));
    }
    let Some(short) = name.strip_prefix(TYPE_PREFIX) else { return Ok(()) };
    if TYPES.iter().any(|known| known.name == name) {
        return Ok(());
    }
    let short = short.strip_suffix(TYPE_SUFFIX).unwrap_or(short);
    let given: String = short.chars().take(REFUSED_TEXT_CHARS_MAX).collect();
    let alike = kinds::short_names().map(|known| (known, strsim::jaro_winkler(&given, known)));
    let near = alike.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).filter(|(_, alike)| *alike >= ALIKE_MIN);
    Err(FilterError::Type { near: near.map(|(known, _)| known), given })
}

/// The first level of a pattern, if every matching subject begins with it.
fn machine_of(pattern: &str) -> Option<&str> {
    let first = pattern.split('/').next().unwrap_or(pattern);
    (!first.is_empty() && !first.contains(['*', '?', '[', ']', '{', '}', ',', '!', '\\'])).then_some(first)
}

/// The patterns of a text: `88-C/**` matches 88-C itself too, as `88-C/#` does in MQTT.
fn patterns(text: &str) -> Result<Vec<GlobMatcher>, FilterError> {
    let itself = text.strip_suffix("/**").filter(|itself| !itself.is_empty());
    std::iter::once(text).chain(itself).map(pattern).collect()
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
            ("88-C/**", "88-C", true),
            ("88-C/**", "88-CD", false),
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

    #[test]
    fn a_wildcard_in_a_type_is_refused_because_it_would_match_nothing() {
        for (given, named) in
            [("com.example.*", "com.example.*"), ("breakdown,*", "afferent.*.v1"), ("com.a?.v1", "com.a?.v1")]
        {
            let error = Filter::new(None, Some(given), None).unwrap_err();
            assert_eq!(error, FilterError::Wildcard(named.to_owned()), "{given}");
            assert!(Filter::kept(None, Some(given), None).is_ok(), "what was kept from before can still be read");
        }
    }

    #[test]
    fn a_type_that_no_event_has_is_refused_with_those_that_there_are() {
        for wrong in ["breakdowns", "afferent.breakdowns.v1", "afferent.breakdown.v2", "alarm,zzz"] {
            let error = Filter::new(None, Some(wrong), None).unwrap_err().to_string();
            assert!(kinds::short_names().iter().all(|known| error.contains(known)), "{error}");
            assert!(Filter::kept(None, Some(wrong), None).is_ok(), "what was kept from before can still be read");
        }
        let error = Filter::new(None, Some("breakdowns"), None).unwrap_err().to_string();
        assert!(error.contains("did you mean `breakdown`?"), "{error}");
        for right in kinds::short_names() {
            Filter::new(None, Some(right), None).unwrap();
        }
        Filter::new(None, Some("com.example.wear.v1"), None).unwrap();
    }

    #[test]
    fn every_type_that_events_have_can_be_asked_for() {
        for kind in Kind::ALL {
            for name in [kind.name(), kind.type_name()] {
                let filter = Filter::new(None, Some(name), None).unwrap();
                assert!(filter.takes_event("88-C", kind.type_name()), "{name}");
            }
        }
    }
}
