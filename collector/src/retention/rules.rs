//! The rules of retention: what may be removed, and when.

use std::fmt;
use std::str::FromStr;

use afferent_protocol::ids::{Offset, Timestamp};
use serde::Deserialize;

use crate::log::Usage;

/// How long something is kept, as people write it: `90d`, `12h`, `2w`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Age {
    text: String,
    micros: i64,
}

/// A text that is no age.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an age; write it in days, hours, minutes or seconds, as 365d, 12h, 90m")]
pub struct AgeError(String);

impl FromStr for Age {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let error = || AgeError(text.chars().take(64).collect());
        let span: jiff::Span = text.parse().map_err(|_| error())?;
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| error())?;
        let micros = i64::try_from(duration.as_micros()).ok().filter(|micros| *micros > 0).ok_or_else(error)?;
        Ok(Self { text: text.trim().to_owned(), micros })
    }
}

impl TryFrom<String> for Age {
    type Error = AgeError;

    fn try_from(text: String) -> Result<Self, AgeError> {
        text.parse()
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Age {
    /// The time that is this long before `now`.
    pub fn before(&self, now: Timestamp) -> Timestamp {
        Timestamp::clamped(now.micros().saturating_sub(self.micros))
    }
}

/// The rules of retention; without any of them everything is kept forever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long an event is kept, counted from its ingest time.
    pub age: Option<Age>,
    /// Limit of the bytes of all files of the log.
    pub bytes: Option<u64>,
    /// How long samples are kept, counted from their ingest time.
    pub samples_age: Option<Age>,
}

/// The result of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Everything before this offset is to be removed.
    pub until: Offset,
    /// The rule, for people.
    pub rule: String,
}

impl Rules {
    /// Whether no rule removes anything.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// The segments to remove by any rule: the oldest ones, whole.
    #[cfg(test)]
    fn cut(&self, usage: &Usage, now: Timestamp) -> Option<Cut> {
        let (by_age, by_size) = (self.cut_by_age(usage, now), self.cut_by_size(usage));
        by_age.into_iter().chain(by_size).max_by_key(|cut| cut.until)
    }

    /// The oldest segments, whole, in which every entry is too old.
    pub fn cut_by_age(&self, usage: &Usage, now: Timestamp) -> Option<Cut> {
        let age = self.age.as_ref()?;
        Some(Cut { until: end_of_older(usage, age.before(now))?, rule: format!("older than {age}") })
    }

    /// The oldest segments, whole, that exceed the limit of bytes.
    pub fn cut_by_size(&self, usage: &Usage) -> Option<Cut> {
        self.bytes.and_then(|bytes_max| {
            let mut bytes = usage.bytes;
            let too_many = usage.segments.iter().take_while(|segment| {
                let is_too_much = bytes > bytes_max;
                bytes = bytes.saturating_sub(segment.bytes);
                is_too_much
            });
            let rule = format!("more than {} MiB", bytes_max >> 20);
            too_many.last().map(|segment| Cut { until: segment.end, rule })
        })
    }

    /// The segments to empty of samples.
    pub fn cut_samples(&self, usage: &Usage, now: Timestamp) -> Option<Cut> {
        let age = self.samples_age.as_ref()?;
        Some(Cut { until: end_of_older(usage, age.before(now))?, rule: format!("samples older than {age}") })
    }
}

/// The end of the last of the oldest segments in which every entry was appended before this time.
fn end_of_older(usage: &Usage, time: Timestamp) -> Option<Offset> {
    usage.segments.iter().take_while(|segment| segment.newest < time).last().map(|segment| segment.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::FinishedSegment;

    const DAY_US: i64 = 86_400_000_000;

    /// Ten segments of 100 MiB and ten events each, appended on the days 0 to 9, and a newest one of 100 MiB.
    fn usage() -> Usage {
        let segments = (0..10).map(|day| FinishedSegment {
            end: Offset::new(day * 10 + 10),
            bytes: 100 << 20,
            newest: Timestamp::clamped(day as i64 * DAY_US),
        });
        Usage { bytes: 1100 << 20, segments: segments.collect() }
    }

    fn cut(rules: &Rules, day: i64) -> Option<(u64, String)> {
        rules.cut(&usage(), Timestamp::clamped(day * DAY_US)).map(|cut| (cut.until.get(), cut.rule))
    }

    fn age(text: &str) -> Option<Age> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn without_rules_everything_is_kept() {
        assert!(Rules::default().is_off());
        assert_eq!(cut(&Rules::default(), 1_000_000), None);
    }

    #[test]
    fn what_is_older_goes_in_whole_segments_and_the_newest_one_stays() {
        let rules = Rules { age: age("3d"), ..Rules::default() };
        assert_eq!(cut(&rules, 3), None, "three days are not more than three days");
        assert_eq!(cut(&rules, 4), Some((10, "older than 3d".to_owned())));
        assert_eq!(cut(&rules, 8), Some((50, "older than 3d".to_owned())));
        assert_eq!(cut(&rules, 1000), Some((100, "older than 3d".to_owned())));
    }

    #[test]
    fn a_segment_with_something_young_holds_those_behind_it() {
        let mut usage = usage();
        usage.segments[1].newest = Timestamp::clamped(50 * DAY_US);
        let rules = Rules { age: age("3d"), ..Rules::default() };
        assert_eq!(rules.cut(&usage, Timestamp::clamped(20 * DAY_US)).unwrap().until, Offset::new(10));
    }

    #[test]
    fn what_is_too_much_goes_and_the_rule_that_reaches_further_counts() {
        let size = |mib: u64| Rules { bytes: Some(mib << 20), ..Rules::default() };
        assert_eq!(cut(&size(1100), 0), None);
        assert_eq!(cut(&size(1099), 0), Some((10, "more than 1099 MiB".to_owned())));
        assert_eq!(cut(&size(250), 0), Some((90, "more than 250 MiB".to_owned())));
        let both = Rules { age: age("3d"), ..size(500) };
        assert_eq!(cut(&both, 5), Some((60, "more than 500 MiB".to_owned())));
        assert_eq!(cut(&both, 12), Some((90, "older than 3d".to_owned())));
    }

    #[test]
    fn samples_have_an_age_of_their_own() {
        let rules = Rules { samples_age: age("12h"), ..Rules::default() };
        let now = Timestamp::clamped(2 * DAY_US);
        assert_eq!(rules.cut(&usage(), now), None);
        assert_eq!(rules.cut_samples(&usage(), now).unwrap().until, Offset::new(20));
    }

    #[test]
    fn an_age_is_what_people_write_and_nothing_else() {
        for (text, micros) in [("90d", 90 * DAY_US), ("12h", DAY_US / 2), ("2w", 14 * DAY_US), ("1s", 1_000_000)] {
            assert_eq!(text.parse::<Age>().unwrap().micros, micros, "{text}");
        }
        for text in ["", "90", "d", "-1d", "0s", "1y", "2 months", "soon", "99999999999999d"] {
            let error = text.parse::<Age>().unwrap_err().to_string();
            assert!(error.contains("365d"), "{text:?}: {error}");
        }
    }
}
