//! What one look found, before it has the agent's name and a time.

use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, Event, Quality, Recovery, Sample, Severity, Value,
};
use afferent_protocol::ids::{NameError, Subject, Timestamp};

/// One thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The subject below the agent's name.
    pub subject: String,
    pub found: Found,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Number { value: f64, unit: &'static str },
    Count { value: i64, unit: &'static str },
    Breakdown { code: &'static str, message: String },
    Recovery { code: &'static str, message: String },
    Raised { condition: &'static str, priority: u16, message: String },
}

impl Reading {
    pub fn event<'a>(&'a self, subject: &'a str, time: Timestamp) -> Result<Event<'a>, NameError> {
        let sample = |value, unit| Body::Sample(Sample { value, unit, quality: Quality::Good });
        let body = match &self.found {
            Found::Number { value, unit } => sample(Value::Float(*value), *unit),
            Found::Count { value, unit } => sample(Value::Integer(*value), *unit),
            Found::Breakdown { code, message } => {
                Body::Breakdown(Breakdown { code, severity: Severity::Error, message })
            }
            Found::Recovery { code, message } => Body::Recovery(Recovery { code, message }),
            Found::Raised { condition, priority, message } => {
                Body::Alarm(Alarm { condition, transition: AlarmTransition::Raised, priority: *priority, message })
            }
        };
        Ok(Event { time, subject: Subject::new(subject)?, body })
    }
}

/// All that one look found.
#[derive(Debug, Default)]
pub struct Readings(Vec<Reading>);

impl Readings {
    /// A measured value; what is not finite is left out.
    pub fn number(&mut self, subject: impl Into<String>, value: f64, unit: &'static str) {
        if value.is_finite() {
            self.push(subject, Found::Number { value, unit });
        }
    }

    /// A counted value.
    pub fn count(&mut self, subject: impl Into<String>, value: u64, unit: &'static str) {
        self.push(subject, Found::Count { value: i64::try_from(value).unwrap_or(i64::MAX), unit });
    }

    /// Anything.
    pub fn push(&mut self, subject: impl Into<String>, found: Found) {
        self.0.push(Reading { subject: subject.into(), found });
    }

    pub fn into_vec(self) -> Vec<Reading> {
        self.0
    }
}

/// A share in percent, with two decimals.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { rounded(part as f64 / whole as f64 * 100.0) }
}

/// With two decimals: more would only be noise, and costs bytes on the way.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A name of the machine as one level of a subject.
pub fn level(name: &str) -> String {
    let name = name.trim_matches(|c: char| c == '/' || c.is_whitespace());
    name.chars().map(|c| if c == '/' || c.is_whitespace() || c.is_control() { '-' } else { c }).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_level() {
        assert_eq!(level("/var/lib x/"), "var-lib-x");
        assert_eq!(level("Package id 0\n"), "Package-id-0");
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let mut readings = Readings::default();
        readings.number("a", f64::NAN, "%");
        assert!(readings.into_vec().is_empty());
        assert_eq!((percent(1, 3), percent(1, 0)), (33.33, 0.0));
    }
}
