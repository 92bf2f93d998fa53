//! When a recorded event is due again.

use std::str::FromStr;
use std::time::Duration;

use afferent_protocol::ids::Timestamp;
use serde::Deserialize;

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Speed {
    /// As fast as it was recorded.
    Original,
    /// This many times faster than recorded.
    Times(f64),
    /// As fast as it goes.
    Max,
}

/// A text that is no speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a speed; write original, max, or a factor such as 60")]
pub struct SpeedError(String);

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        match text {
            "original" => Ok(Self::Original),
            "max" => Ok(Self::Max),
            _ => match text.trim_end_matches('x').parse() {
                Ok(times) if (1e-6..=1e9).contains(&times) => Ok(Self::Times(times)),
                _ => Err(SpeedError(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Speed {
    type Error = SpeedError;

    fn try_from(text: String) -> Result<Self, SpeedError> {
        text.parse()
    }
}

/// Turns recorded times into times since the start of the replay.
#[derive(Clone, Debug)]
pub struct Pace {
    speed: Speed,
    first: Option<Timestamp>,
}

impl Pace {
    /// Begins with the first event that it is asked for.
    pub fn new(speed: Speed) -> Self {
        Self { speed, first: None }
    }

    /// How long after the start an event of this recorded time is due; at once when it lies before the first.
    pub fn due(&mut self, time: Timestamp) -> Duration {
        let first = *self.first.get_or_insert(time);
        let passed = Duration::from_micros(u64::try_from(time.micros() - first.micros()).unwrap_or(0));
        // Ten years: longer than any replay, and within the range of clocks.
        let longest = Duration::from_secs(10 * 365 * 86_400);
        let due = match self.speed {
            Speed::Original => passed,
            Speed::Times(times) => Duration::try_from_secs_f64(passed.as_secs_f64() / times).unwrap_or(longest),
            Speed::Max => Duration::ZERO,
        };
        due.min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_by_their_distance_from_the_first() {
        let at = |seconds: i64| Timestamp::clamped(seconds * 1_000_000);
        for (speed, expected) in [("original", 60_000), ("60", 1_000), ("60x", 1_000), ("0.5", 120_000), ("max", 0)] {
            let mut pace = Pace::new(speed.parse().unwrap());
            assert_eq!(pace.due(at(1000)), Duration::ZERO);
            assert_eq!(pace.due(at(1060)), Duration::from_millis(expected), "{speed}");
            assert_eq!(pace.due(at(900)), Duration::ZERO);
        }
    }

    #[test]
    fn a_speed_is_a_positive_number() {
        for text in ["", "0", "-1", "nan", "inf", "fast", "1e300"] {
            assert!(Speed::from_str(text).is_err(), "{text}");
        }
    }
}
